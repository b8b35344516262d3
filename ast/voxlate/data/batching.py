"""Utterances to batches of tensors: worker processes decode and pad ahead of the model.

Shape letters: B utterances, T samples of 16 kHz sound or target tokens, L source labels.
"""

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils.data import DataLoader, Dataset

from voxlate.audio.loading import load_audio
from voxlate.data.augmentation import Augmentation
from voxlate.data.batch_sampler import Integers, SamplerState, clips_of
from voxlate.data.corpus import Corpus
from voxlate.errors import AudioError
from voxlate.manifest.utterance import Utterance
from voxlate.text import join_texts
from voxlate.tokenizer import EOS_ID, IGNORED_ID, PAD_ID, Tokenizer
from voxlate_eval.text_normalization import normalize_words

_PREFETCH = 4  # batches that each worker makes ahead

Request = tuple[SamplerState, SamplerState, Integers]  # place, end of its update, utterances of a corpus


@dataclass(frozen=True)
class Batch:
    """Padded utterances as the model takes them, and what could not be read of those asked for.

    tokens_BT is the decoder's input (``</s>``, tag, pieces), labels_BT what it shall say: pieces, ``</s>``. The tag is
    no target: at translation it is given. characters_BL are CTC's labels, 0 after each length.
    """

    place: SamplerState
    end: SamplerState  # where the update ends that the batch is part of
    indices: tuple[int, ...]  # in the corpus
    directions: tuple[str, ...]
    waveform_BT: Tensor
    lengths_B: Tensor
    tokens_BT: Tensor
    labels_BT: Tensor
    characters_BL: Tensor
    character_lengths_B: Tensor
    unreadable: tuple[tuple[int, str], ...] = ()  # index and reason
    seconds: float = 0.0  # of sound, without padding
    states_BSD: Tensor | None = None  # the encoder's, where they are kept: then lengths_B counts frames

    @property
    def target_tokens(self) -> int:
        """Number of positions that have a label."""
        return int((self.labels_BT != IGNORED_ID).sum())

    @property
    def characters(self) -> int:
        """Number of CTC labels."""
        return int(self.character_lengths_B.sum())

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from where a GPU copies it while the processor works on."""
        return self._map(Tensor.pin_memory)

    def rounded(self) -> "Batch":
        """Return the batch padded to sizes that come again; rows beyond its utterances have no text to be learnt.

        For each new size cuDNN plans its convolutions again (pytorch/pytorch#90204).
        """

        def padded(tensor: Tensor, filler: int, dimensions: int = 1) -> Tensor:
            more = [round_up(size) - size for size in tensor.shape[:dimensions]] + [0] * (tensor.ndim - dimensions)
            return F.pad(tensor, [side for size in reversed(more) for side in (0, size)], value=filler)

        return replace(
            self,
            waveform_BT=padded(self.waveform_BT, 0, 2),
            lengths_B=padded(self.lengths_B, 1),
            tokens_BT=padded(self.tokens_BT, PAD_ID),
            labels_BT=padded(self.labels_BT, IGNORED_ID),
            characters_BL=padded(self.characters_BL, 0),
            character_lengths_B=padded(self.character_lengths_B, 0),
            states_BSD=None if self.states_BSD is None else padded(self.states_BSD, 0, 2),
        )

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed = {
            item.name: change(value) for item in fields(self) if isinstance(value := getattr(self, item.name), Tensor)
        }
        return replace(self, **changed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class BatchMaker(Dataset[Batch]):
    """Makes the batch of some utterances of a corpus: decodes, normalises, tokenises, pads. Sent to every worker."""

    corpus: Corpus
    tokenizer: Tokenizer
    targets: Mapping[str, int]  # token of each target language
    normalize: bool  # waveforms to zero mean and unit variance
    characters: Mapping[str, int] = field(default_factory=dict)  # CTC label of each character of the source text
    augmentation: Augmentation | None = None  # of training data
    states: Callable[[int], Tensor] | None = None  # the encoder's states of an utterance, to be taken for its audio
    max_tokens: int | None = None  # of a translation with tag and end: the decoder's positions
    rounds: bool = False  # sizes: see Batch.rounded

    def __getitem__(self, request: Request) -> Batch:
        """Return the batch that is asked for.

        An utterance whose audio cannot be read, or whose translation is too long, is left out and named.
        """
        place, end, indices = request
        kept: list[tuple[int, Utterance, Tensor]] = []  # with its waveform or its states
        unreadable: list[tuple[int, str]] = []
        for clips in clips_of(indices):
            kept += self._joined([found for index in clips for found in self._read(index, place, unreadable)])
        sounds = [sound for _, _, sound in kept]
        states_BSD: Tensor | None = None
        if self.states is None or not sounds:
            waveform_BT, lengths_B = collate_waveforms(sounds or [torch.zeros(1)], normalize=self.normalize)
            seconds = sum(len(waveform_T) for waveform_T in sounds) / 16_000
        else:
            waveform_BT, lengths_B = torch.zeros(len(sounds), 0), torch.tensor([len(sound) for sound in sounds])
            states_BSD = nn.utils.rnn.pad_sequence(sounds, batch_first=True)
            seconds = float(sum(self.corpus.seconds_N[index] for index, _, _ in kept))
        texts = [self._target(utterance) for _, utterance, _ in kept] or [[]]
        spelled = [self._spell(utterance.source_text) for _, utterance, _ in kept] or [[]]
        batch = Batch(
            place,
            end,
            tuple(index for index, _, _ in kept),
            tuple(self.corpus.direction(index) for index, _, _ in kept),
            waveform_BT,
            lengths_B,
            _pad([[EOS_ID, *labels[:-1]] for labels in texts], PAD_ID),
            _pad([[IGNORED_ID, *labels[1:]] for labels in texts], IGNORED_ID),
            _pad(spelled, 0),
            torch.tensor([len(labels) for labels in spelled]),
            tuple(unreadable),
            seconds,
            states_BSD,
        )
        return batch.rounded() if self.rounds else batch

    def _read(
        self, index: int, place: SamplerState, unreadable: list[tuple[int, str]]
    ) -> Iterator[tuple[int, Utterance, Tensor]]:
        """Yield an utterance with its sound, or name why it cannot be learnt from."""
        utterance = self.corpus[index]
        if not self._fits(utterance):
            too_long = f"a translation of more than the {self.max_tokens} tokens that the decoder has positions for"
            unreadable.append((index, f"{utterance.id}: {too_long}"))
            return
        try:
            yield index, utterance, self._sound(index, utterance, place)
        except AudioError as error:
            unreadable.append((index, str(error)))

    def _sound(self, index: int, utterance: Utterance, place: SamplerState) -> Tensor:
        if self.states is not None:
            return self.states(index)
        waveform_T = read_waveform(utterance)
        if self.augmentation is not None:
            changed_T = self.augmentation.change(waveform_T.numpy(), (place.epoch, place.number, index))
            waveform_T = torch.from_numpy(changed_T)
        return waveform_T

    def _joined(self, members: list[tuple[int, Utterance, Tensor]]) -> list[tuple[int, Utterance, Tensor]]:
        """Return clips as one with their texts joined, or as they are where that has too many tokens."""
        if len(members) < 2:
            return members
        index, first, _ = members[0]
        source = join_texts([one.source_text or "" for _, one, _ in members], first.source_language)
        target = join_texts([one.target_text or "" for _, one, _ in members], first.target_language)
        joined = replace(first, source_text=source, target_text=target)
        if not self._fits(joined):
            return members
        return [(index, joined, torch.cat([sound for _, _, sound in members]))]

    def _fits(self, utterance: Utterance) -> bool:
        return self.max_tokens is None or len(self._target(utterance)) <= self.max_tokens

    def _target(self, utterance: Utterance) -> list[int]:
        return self.tokenizer.encode_target(utterance.target_text or "", self.targets[utterance.target_language or ""])

    def _spell(self, text: str | None) -> list[int]:
        return [self.characters[character] for character in ctc_text(text or "") if character in self.characters]


def ctc_text(text: str) -> str:
    """Return what CTC reads of a source text: its words as WER compares them."""
    return normalize_words(text)


def read_batches(
    maker: BatchMaker, requests: Iterable[Request], *, workers: int, pinned: bool = False
) -> Iterator[Batch]:
    """Yield the batches of requests in their order, made ahead by worker processes (in this one if there are none)."""
    loader = DataLoader(
        maker,
        sampler=cast("Any", _Requests(requests)),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        worker_init_fn=_ignore_interrupts,
        pin_memory=pinned,
    )
    return iter(loader)


class _Requests:
    """Requests as a sampler: all that a DataLoader does with one is iterate."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)


def in_order(corpus: Corpus, batch_seconds: float) -> list[Request]:
    """Return requests for every utterance of a corpus once, longest first, `batch_seconds` of padded sound each."""
    order = np.argsort(-np.nan_to_num(corpus.seconds_N, nan=0.0), kind="stable")
    requests: list[Request] = []
    first = 0
    while first < len(order):
        longest = max(float(np.nan_to_num(corpus.seconds_N[order[first]])), 0.1)
        size = max(1, int(min(batch_seconds / longest, len(order))))
        place = SamplerState(number=len(requests))
        requests.append((place, place, order[first : first + size]))
        first += size
    return requests


def collate_waveforms(waveforms: Sequence[Tensor], *, normalize: bool) -> tuple[Tensor, Tensor]:
    """Pad 1-D waveforms to waveform_BT and lengths_B, each normalised on its own samples first.

    Normalisation is to zero mean and unit variance with epsilon 1e-7, as transformers' feature extractor does it;
    fairseq's epsilon is 1e-5, which differs for clips quieter than about -40 dBFS.
    """
    if normalize:
        waveforms = [_standardize(waveform) for waveform in waveforms]
    lengths_B = torch.tensor([waveform.shape[0] for waveform in waveforms])
    return nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True), lengths_B


def _standardize(waveform: Tensor) -> Tensor:
    if not waveform.numel():
        return waveform
    variance, mean = torch.var_mean(waveform, correction=0)
    return (waveform - mean) / torch.sqrt(variance + 1e-7)


def read_waveform(utterance: Utterance) -> Tensor:
    """Return the samples of an utterance, (T,). Raises AudioError, also where it could not be prepared."""
    if utterance.error is not None:
        raise AudioError(utterance.error)
    source = utterance.audio if not hasattr(utterance.audio, "read") else utterance.audio.read()
    return torch.from_numpy(load_audio(source, name=utterance.id).waveform)


def round_up(size: int) -> int:
    """Return the next size with four significant bits: at most an eighth more."""
    step = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step


def _pad(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    width = max(1, *map(len, rows)) if rows else 1
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])


def _ignore_interrupts(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process decides when to stop
