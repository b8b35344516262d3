"""Align hypotheses with the speech: when is each token and each word spoken?

One teacher-forced pass of the decoder gives the cross-attention of its upper half, where the alignment of source and
target emerges (Garg et al. 2019, arXiv:1909.02074; whisper's default `alignment_heads` are the same half). Dynamic
programming finds the best monotonic path of the tokens through the speech, as in whisper's `timing.py`.

Two things differ from whisper. Attention is divided by its mean over the tokens, because most of it rests on a few
states that say nothing about time (attention sinks; Xiao et al. 2024, arXiv:2309.17453). And each head is weighted by
how well it follows the order of the tokens in this hypothesis, so that no list of heads is needed for a model.

Shape letters: U utterances, T tokens, S encoder states, H heads of all chosen layers, K tokens of one hypothesis
without tag and ``</s>``, N of them that are spoken (no punctuation), F frames of speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from voxlate.hardware import without_cudnn_attention
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.encoder import valid_mask
from voxlate.models.speech_translator import SpeechTranslator

Floats = npt.NDArray[np.floating]

SPEECH_FRAME_SECONDS = 0.032
_GRID_SECONDS = 0.04
_LEAD_SECONDS = 0.12  # attention reaches its peak this long after a token begins
_FLOOR = 0.1  # of attention relative to its mean, below which differences are noise
_DEVIATION = 0.25  # of a token from its expected position, in seconds after a second; it grows with the square root
_MIN_HEAD_WEIGHT = 1e-4


@dataclass(frozen=True)
class Alignment:
    """When the K tokens of a hypothesis, without tag and ``</s>``, are spoken, in seconds from the segment's start.

    Times never decrease, and each token ends before the next starts. Punctuation takes no time.
    """

    starts_K: Floats
    ends_K: Floats


@dataclass(frozen=True)
class Attention:
    """What the tokens of a hypothesis attend to.

    `strongest_S` is the largest attention, averaged over the heads, that any token pays to each encoder state,
    `state_seconds` the time from one state to the next. `scores_KS` are high where a token is spoken (None if they
    were not asked for).
    """

    strongest_S: Floats
    state_seconds: float
    scores_KS: Floats | None


@dataclass(frozen=True)
class SpokenHypothesis:
    """A hypothesis to align: ids with tag and ``</s>``, spoken characters of each token without those, and its speech.

    `speech_F` are probabilities of speech in frames of 32 ms; without them, all of the segment's `seconds` count as
    speech.
    """

    ids: Sequence[int]
    characters: Sequence[int]
    seconds: float
    speech_F: Floats | None = None


@dataclass(frozen=True)
class _SpeechClock:
    """The frames of a segment that hold speech: their centers in seconds, and the length of one."""

    centers_F: Floats
    frame: float

    @classmethod
    def of(cls, spoken: SpokenHypothesis) -> "_SpeechClock":
        frame, tokens = _GRID_SECONDS, max(1, len(spoken.characters))
        speech = np.ones(1) if spoken.speech_F is None or not len(spoken.speech_F) else spoken.speech_F
        if not (speech >= 0.5).any():
            speech = np.ones(1)
        while True:
            centers_F = (np.arange(max(1, round(spoken.seconds / frame))) + 0.5) * frame
            indices_F = (centers_F / SPEECH_FRAME_SECONDS).astype(int).clip(max=len(speech) - 1)
            centers_F = centers_F[speech[indices_F] >= 0.5]
            if len(centers_F) >= tokens:
                return cls(centers_F, frame)
            frame /= 2

    def position(self, seconds_S: Floats) -> Floats:
        """Return how much speech there is before each time, in seconds."""
        return np.asarray(np.interp(seconds_S, self.centers_F, (np.arange(len(self.centers_F)) + 0.5) * self.frame))

    @property
    def seconds(self) -> float:
        return len(self.centers_F) * self.frame


@torch.inference_mode()
@without_cudnn_attention()
def attend(
    model: SpeechTranslator,
    cross_cache: CrossAttentionCache,
    hypotheses: Sequence[SpokenHypothesis],
    *,
    with_scores: bool = True,
) -> list[Attention]:
    """Return what hypotheses attend to, one for each utterance of a cross-attention cache."""
    config = model.decoder.config
    rows = [[config.eos_id, *spoken.ids[:-1]] for spoken in hypotheses]
    width = max(map(len, rows))
    tokens_UT = torch.tensor([row + [config.pad_id] * (width - len(row)) for row in rows], device=model.device)
    layers = range(len(model.decoder.layers) // 2, len(model.decoder.layers))
    weights_UHTS = model.decoder.cross_attention(tokens_UT, cross_cache, layers)[:, :, 1:]  # without that of the tag
    lengths_U = torch.tensor([len(spoken.characters) for spoken in hypotheses], device=model.device)
    with_end_UT11 = valid_mask(lengths_U + 1, width - 1)[:, :, None]
    strongest = weights_UHTS.mean(1).masked_fill(~with_end_UT11, 0.0).amax(1).cpu().numpy()
    scores = None
    if with_scores and width > 2:
        shape = len(rows), width - 2, weights_UHTS.shape[3]
        expected_UTS = torch.from_numpy(_expected_states(hypotheses, shape, model.state_seconds)).to(model.device)
        scores = _scores(weights_UHTS[:, :, :-1], expected_UTS, lengths_U, cross_cache.mask_U11S).cpu().numpy()
    return [
        Attention(
            strongest[index, :states],
            model.state_seconds,
            None if scores is None else scores[index, : len(spoken.characters), :states],
        )
        for index, (spoken, states) in enumerate(
            zip(hypotheses, cross_cache.mask_U11S.sum(3).flatten().tolist(), strict=True)
        )
    ]


def align(spoken: SpokenHypothesis, attention: Attention) -> Alignment:
    """Return the alignment with the best monotonic path of the tokens through the frames of speech."""
    tokens = len(spoken.characters)
    spoken_N = np.flatnonzero(np.asarray(spoken.characters))
    if not len(spoken_N):
        return Alignment(np.zeros(tokens), np.zeros(tokens))
    assert attention.scores_KS is not None
    clock = _SpeechClock.of(spoken)
    scores_NS = attention.scores_KS[spoken_N]
    states_F = (clock.centers_F / attention.state_seconds - 0.5).clip(0, scores_NS.shape[1] - 1)
    left_F = states_F.astype(int)
    right_F = np.minimum(left_F + 1, scores_NS.shape[1] - 1)
    scores_NF = scores_NS[:, left_F] * (1 - states_F + left_F) + scores_NS[:, right_F] * (states_F - left_F)
    positions_F = (np.arange(len(clock.centers_F)) + 0.5) * clock.frame
    scores_NF = scores_NF - _squared(positions_F - _expected(spoken, clock)[spoken_N, None], clock)
    first_N = monotonic_path(scores_NF)
    first_N = np.maximum(first_N - round(_LEAD_SECONDS / clock.frame), np.arange(len(first_N)))
    last_N = np.append(first_N[1:], len(positions_F)) - 1
    starts_N = clock.centers_F[first_N] - clock.frame / 2
    ends_N = np.minimum(clock.centers_F[last_N] + clock.frame / 2, spoken.seconds)
    # Punctuation takes no time: it is where the token before it ends, or where the first one starts.
    before_K = np.searchsorted(spoken_N, np.arange(tokens), side="right") - 1
    starts_K = np.where(before_K < 0, starts_N[0], ends_N[before_K.clip(0)])
    ends_K = starts_K.copy()
    starts_K[spoken_N], ends_K[spoken_N] = starts_N, ends_N
    return Alignment(starts_K, ends_K)


def _expected_states(
    hypotheses: Sequence[SpokenHypothesis], shape: tuple[int, int, int], state_seconds: float
) -> npt.NDArray[np.float32]:
    """Return how likely each token is at each state, (U, T, S), by the length of the text before it alone."""
    expected_UTS = np.zeros(shape, np.float32)
    centers_S = (np.arange(shape[2]) + 0.5) * state_seconds
    for index, spoken in enumerate(hypotheses):
        clock = _SpeechClock.of(spoken)
        offsets_KS = clock.position(centers_S) - _expected(spoken, clock)[:, None]
        expected_UTS[index, : len(offsets_KS)] = np.exp(-_squared(offsets_KS, clock))
    return expected_UTS


def _expected(spoken: SpokenHypothesis, clock: _SpeechClock) -> Floats:
    """Return the position of each token, (K,), if speech were as fast as text is long."""
    lengths_K = np.asarray(spoken.characters, float)
    return np.asarray((np.cumsum(lengths_K) - lengths_K / 2) / max(lengths_K.sum(), 1.0) * clock.seconds)


def _squared(offsets: Floats, clock: _SpeechClock) -> Floats:
    """Return the penalty of an offset from the expected position: deviations of the tempo add up as a random walk."""
    return 0.5 * offsets**2 / (_DEVIATION**2 * max(clock.seconds, 0.1))


def _scores(weights_UHTS: Tensor, expected_UTS: Tensor, lengths_U: Tensor, mask_U11S: Tensor) -> Tensor:
    """Return the score of each token at each state, (U, T, S), 0 on average over tokens and over states."""
    valid_UHTS = valid_mask(lengths_U, weights_UHTS.shape[2])[:, None, :, None] & mask_U11S
    tokens_U = lengths_U.clamp(min=1)[:, None, None, None]
    states_U = mask_U11S.sum(3, keepdim=True)
    mean_UH1S = (weights_UHTS * valid_UHTS).sum(2, keepdim=True) / tokens_U
    relative_UHTS = torch.log(weights_UHTS / mean_UH1S.clamp(min=1e-12) + _FLOOR) * valid_UHTS
    relative_UHTS = (relative_UHTS - relative_UHTS.sum(2, keepdim=True) / tokens_U) * valid_UHTS
    relative_UHTS = (relative_UHTS - relative_UHTS.sum(3, keepdim=True) / states_U) * valid_UHTS
    expected_UTS = expected_UTS * valid_UHTS[:, 0]
    expected_UTS = expected_UTS / expected_UTS.sum(2, keepdim=True).clamp(min=1e-12)
    agreement_UH = torch.einsum("uhts,uts->uh", relative_UHTS, expected_UTS) / tokens_U[:, :, 0, 0]
    head_weights_UH = agreement_UH.clamp(min=_MIN_HEAD_WEIGHT)
    head_weights_UH = head_weights_UH / head_weights_UH.sum(1, keepdim=True)
    return torch.einsum("uh,uhts->uts", head_weights_UH, relative_UHTS)


def monotonic_path(scores_KF: Floats) -> npt.NDArray[np.int_]:
    """Return the first frame of each of K tokens, (K,), so that the sum of scores over all frames is greatest.

    Every token has at least one of the F >= K frames, in order, and every frame belongs to a token.
    """
    tokens, frames = scores_KF.shape
    best_K = np.full(tokens, -np.inf)
    best_K[0] = scores_KF[0, 0]
    begins_FK = np.zeros((frames, tokens), bool)
    for frame in range(1, frames):
        before_K = np.concatenate([[-np.inf], best_K[:-1]])
        begins_FK[frame] = before_K > best_K
        best_K = np.maximum(before_K, best_K) + scores_KF[:, frame]
    first_K = np.zeros(tokens, int)
    token = tokens - 1
    for frame in range(frames - 1, 0, -1):
        if begins_FK[frame, token]:
            first_K[token] = frame
            token -= 1
    return first_K
