"""Align hypotheses with the speech: when is each token and each word spoken?

One teacher-forced pass of the decoder gives the cross-attention of its upper half, where the alignment of source and
target emerges (Garg et al. 2019, arXiv:1909.02074; whisper's default `alignment_heads` are the same half). Dynamic
programming finds the best monotonic path of the tokens through the speech, as in whisper's `timing.py`.

Two things differ from whisper. Attention is divided by its mean over the tokens, because most of it rests on a few
states that say nothing about time (attention sinks; Xiao et al. 2024, arXiv:2309.17453). And each head is weighted by
how well it follows the order of the tokens in this hypothesis, so that no list of heads is needed for a model.

Shape letters: U utterances, T tokens, S encoder states, H heads of all chosen layers, K tokens of one hypothesis without
tag and ``</s>``, F frames of speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from voxlate.models.caches import CrossAttentionCache
from voxlate.models.encoder import valid_mask
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.tokenizer import EOS_ID, PAD_ID

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

    Times never decrease, and each token ends before the next starts. `attention_S` is the share of the attention of
    all tokens that each encoder state receives.
    """

    starts_K: Floats
    ends_K: Floats
    attention_S: Floats
    state_seconds: float


@dataclass(frozen=True)
class SpokenHypothesis:
    """A hypothesis to align: ids with tag and ``</s>``, characters of each token without those two, and its speech.

    `speech_F` are probabilities of speech in frames of 32 ms; without them, all of the segment's `seconds` count as
    speech.
    """

    ids: Sequence[int]
    characters: Sequence[int]
    seconds: float
    speech_F: Floats | None = field(default=None)


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
        return np.interp(seconds_S, self.centers_F, (np.arange(len(self.centers_F)) + 0.5) * self.frame)

    @property
    def seconds(self) -> float:
        return len(self.centers_F) * self.frame


@torch.inference_mode()
def align(
    model: SpeechTranslator, cross_cache: CrossAttentionCache, hypotheses: Sequence[SpokenHypothesis]
) -> list[Alignment]:
    """Return the alignments of hypotheses, one for each utterance of a cross-attention cache."""
    decoder, state_seconds = model.decoder, model.state_seconds
    lengths = [len(spoken.characters) for spoken in hypotheses]
    rows = [[EOS_ID, *spoken.ids[:-1]] for spoken in hypotheses]
    width = max(map(len, rows))
    tokens_UT = torch.tensor([row + [PAD_ID] * (width - len(row)) for row in rows], device=model.device)
    layers = range(len(decoder.layers) // 2, len(decoder.layers))
    weights_UHTS = decoder.cross_attention(tokens_UT, cross_cache, layers)[:, :, 1 : 1 + max(lengths)]
    clocks = [_SpeechClock.of(spoken) for spoken in hypotheses]
    centers_S = (np.arange(weights_UHTS.shape[3]) + 0.5) * state_seconds
    expected_UTS = np.zeros((len(rows), weights_UHTS.shape[2], weights_UHTS.shape[3]), np.float32)
    for index, (spoken, clock) in enumerate(zip(hypotheses, clocks, strict=True)):
        offsets_KS = clock.position(centers_S) - _expected(spoken, clock)[:, None]
        expected_UTS[index, : lengths[index]] = np.exp(-_squared(offsets_KS, clock))
    lengths_U = torch.tensor(lengths, device=model.device)
    scores_UTS = _scores(
        weights_UHTS, torch.from_numpy(expected_UTS).to(model.device), lengths_U, cross_cache.mask_U11S
    )
    tokens_UHT1 = valid_mask(lengths_U, weights_UHTS.shape[2])[:, None, :, None]
    attention_US = (weights_UHTS * tokens_UHT1).sum(2).mean(1) / lengths_U.clamp(min=1)[:, None]
    states = cross_cache.mask_U11S.sum(3).flatten().tolist()
    scores, attention = scores_UTS.cpu().numpy(), attention_US.cpu().numpy()
    return [
        _path(spoken, clock, scores[index, : lengths[index], :size], attention[index, :size], state_seconds)
        for index, (spoken, clock, size) in enumerate(zip(hypotheses, clocks, states, strict=True))
    ]


def _expected(spoken: SpokenHypothesis, clock: _SpeechClock) -> Floats:
    """Return the position of each token, (K,), if speech were as fast as text is long."""
    lengths_K = np.maximum(np.asarray(spoken.characters, float), 0.01)
    return (np.cumsum(lengths_K) - lengths_K / 2) / max(lengths_K.sum(), 0.01) * clock.seconds


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


def _path(
    spoken: SpokenHypothesis, clock: _SpeechClock, scores_KS: Floats, attention_S: Floats, state_seconds: float
) -> Alignment:
    """Return the alignment with the best monotonic path of the tokens through the frames of speech."""
    if not len(scores_KS):
        return Alignment(np.zeros(0), np.zeros(0), attention_S, state_seconds)
    states_F = (clock.centers_F / state_seconds - 0.5).clip(0, scores_KS.shape[1] - 1)
    left_F = states_F.astype(int)
    right_F = np.minimum(left_F + 1, scores_KS.shape[1] - 1)
    scores_KF = scores_KS[:, left_F] * (1 - states_F + left_F) + scores_KS[:, right_F] * (states_F - left_F)
    positions_F = (np.arange(len(clock.centers_F)) + 0.5) * clock.frame
    scores_KF = scores_KF - _squared(positions_F - _expected(spoken, clock)[:, None], clock)
    first_K = monotonic_path(scores_KF)
    first_K = np.maximum(first_K - round(_LEAD_SECONDS / clock.frame), np.arange(len(first_K)))
    last_K = np.append(first_K[1:], len(positions_F)) - 1
    starts_K = clock.centers_F[first_K] - clock.frame / 2
    return Alignment(
        starts_K, np.minimum(clock.centers_F[last_K] + clock.frame / 2, spoken.seconds), attention_S, state_seconds
    )


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
