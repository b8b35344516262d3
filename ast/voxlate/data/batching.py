"""From utterances to batches of tensors, decoded and padded by worker processes ahead of the model.

Shape letters: B utterances, T samples of 16 kHz audio or target tokens, L source labels, S encoder frames, D width.
"""

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils.data import DataLoader, Dataset

from voxlate.audio.loading import SAMPLE_RATE_HZ, load_audio
from voxlate.data.augmentation import Augmentation
from voxlate.data.batch_sampler import Integers, SamplerState, split_joined
from voxlate.data.corpus import Corpus
from voxlate.errors import AudioError
from voxlate.manifest.utterance import Utterance
from voxlate.text import join_texts
from voxlate.tokenizer import IGNORED_ID, PAD_ID, Tokenizer
from voxlate_eval.text_normalization import normalize_words

_ON_HOST = ("lengths_B", "characters_BL", "character_lengths_B")  # see Batch
_PREFETCH = 4  # batches that each worker prepares ahead


class BatchRequest(NamedTuple):
    """The utterances to put into a batch, and the state of the sampler."""

    sampler_state: SamplerState  # of the batch
    next_state: SamplerState  # where to resume after the update that the batch is part of
    indices: Integers  # of utterances in the corpus; see `split_joined` for joined clips


@dataclass(frozen=True)
class Batch:
    """Padded utterances as input of the model, and the utterances of the request that were skipped.

    tokens_BT is the decoder's input (``</s>``, tag, pieces), labels_BT its targets: pieces, ``</s>``. The tag is not a
    target because it is given at inference. characters_BL are CTC labels, padded with 0. Lengths and characters stay on
    the host when a batch is moved to a device, so that the host can read them without waiting for it.
    """

    sampler_state: SamplerState
    next_state: SamplerState  # see BatchRequest
    indices: tuple[int, ...]  # in the corpus
    directions: tuple[str, ...]
    waveform_BT: Tensor
    lengths_B: Tensor  # samples, or encoder frames if there are states_BSD
    tokens_BT: Tensor
    labels_BT: Tensor
    targets_N: Tensor  # positions in the flattened labels_BT that have a label
    characters_BL: Tensor
    character_lengths_B: Tensor
    skipped: tuple[tuple[int, str], ...] = ()  # index and reason
    seconds: float = 0.0  # of audio, without padding
    states_BSD: Tensor | None = None  # cached encoder states, which replace the waveforms

    @property
    def target_tokens(self) -> int:
        """Number of positions with a label."""
        return len(self.targets_N)

    @property
    def characters(self) -> int:
        """Number of CTC labels."""
        return int(self.character_lengths_B.sum())

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on a device, except lengths and characters."""
        on_host = {name: getattr(self, name) for name in _ON_HOST}
        return replace(self._map(lambda tensor: tensor.to(device, non_blocking=True)), **on_host)

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which copies to a GPU are asynchronous."""
        return self._map(Tensor.pin_memory)

    def with_rounded_sizes(self) -> "Batch":
        """Return the batch padded to fewer distinct sizes; rows beyond its utterances have no labels.

        cuDNN replans its convolutions for each new size (pytorch/pytorch#90204).
        """

        def pad(tensor: Tensor, value: int, dimensions: int = 1) -> Tensor:
            extra = [round_up(size) - size for size in tensor.shape[:dimensions]] + [0] * (tensor.ndim - dimensions)
            return F.pad(tensor, [side for size in reversed(extra) for side in (0, size)], value=value)

        return replace(
            self,
            waveform_BT=pad(self.waveform_BT, 0, 2),
            lengths_B=pad(self.lengths_B, 1),
            tokens_BT=pad(self.tokens_BT, PAD_ID),  # no label depends on it, whatever the layout of the ids
            labels_BT=pad(self.labels_BT, IGNORED_ID),
            characters_BL=pad(self.characters_BL, 0),
            character_lengths_B=pad(self.character_lengths_B, 0),
            states_BSD=None if self.states_BSD is None else pad(self.states_BSD, 0, 2),
        )

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed = {
            item.name: change(value) for item in fields(self) if isinstance(value := getattr(self, item.name), Tensor)
        }
        return replace(self, **changed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Example:
    """One clip of a batch: its utterance, and its waveform (T,) or cached encoder states (S, D)."""

    index: int
    utterance: Utterance
    features: Tensor


@dataclass(frozen=True)
class BatchMaker(Dataset[Batch]):
    """Makes the batch for a request: decodes, normalizes, tokenizes and pads. Every worker process gets a copy."""

    corpus: Corpus
    tokenizer: Tokenizer
    targets: Mapping[str, int]  # token id of each target language
    normalize: bool  # whether to normalize waveforms to zero mean and unit variance
    characters: Mapping[str, int] = field(default_factory=dict)  # CTC label of each character of the source texts
    augmentation: Augmentation | None = None
    max_tokens: int | None = None  # in a target, including tag and </s>: the number of positions of the decoder
    round_sizes: bool = False  # see Batch.with_rounded_sizes

    def __getitem__(self, request: BatchRequest) -> Batch:
        """Return the batch for a request.

        Utterances whose audio cannot be read, or whose translation is too long, are skipped and listed in `skipped`.
        """
        skipped: list[tuple[int, str]] = []
        examples: list[Example] = []
        for clip in split_joined(request.indices):
            read = (self._read(index, request.sampler_state, skipped) for index in clip)
            examples += self._join([example for example in read if example is not None], request.sampler_state)
        utterances = [example.utterance for example in examples]
        targets = [self._target(utterance) for utterance in utterances] or [[]]
        labels = [self._ctc_labels(utterance.source_text) for utterance in utterances] or [[]]
        waveform_BT, lengths_B, states_BSD = self.collate([example.features for example in examples])
        labels_BT = _pad([[IGNORED_ID, *target[1:]] for target in targets], IGNORED_ID)
        batch = Batch(
            sampler_state=request.sampler_state,
            next_state=request.next_state,
            indices=tuple(example.index for example in examples),
            directions=tuple(self.corpus.direction(example.index) for example in examples),
            waveform_BT=waveform_BT,
            lengths_B=lengths_B,
            tokens_BT=_pad([[self.tokenizer.eos_id, *target[:-1]] for target in targets], self.tokenizer.pad_id),
            labels_BT=labels_BT,
            targets_N=(labels_BT.flatten() != IGNORED_ID).nonzero()[:, 0],
            characters_BL=_pad(labels, 0),
            character_lengths_B=torch.tensor([len(row) for row in labels]),
            skipped=tuple(skipped),
            seconds=self.seconds(examples),
            states_BSD=states_BSD,
        )
        return batch.with_rounded_sizes() if self.round_sizes else batch

    def load(self, index: int, utterance: Utterance, sampler_state: SamplerState) -> Tensor:
        """Return the features of an utterance, here its waveform (T,), augmented. AudioError if it cannot be read."""
        waveform_T = read_waveform(utterance)
        if self.augmentation is None:
            return waveform_T
        key = (sampler_state.epoch, sampler_state.number, index)
        return torch.from_numpy(self.augmentation.apply(waveform_T.numpy(), key))

    def collate(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return waveform_BT, lengths_B and states_BSD (here none) of the features of a batch, which may be empty."""
        return *collate_waveforms(features or [torch.zeros(1)], normalize=self.normalize), None

    def seconds(self, examples: Sequence[Example]) -> float:
        """Return the seconds of audio, without padding."""
        return sum(len(example.features) for example in examples) / SAMPLE_RATE_HZ

    def _read(self, index: int, sampler_state: SamplerState, skipped: list[tuple[int, str]]) -> Example | None:
        """Return an utterance with its features, or None after adding the reason why not to `skipped`."""
        utterance = self.corpus[index]
        if not self._fits(utterance):
            too_long = f"its translation has more than {self.max_tokens} tokens, the maximum of the decoder"
            skipped.append((index, f"{utterance.id}: {too_long}"))
            return None
        try:
            return Example(index, utterance, self.load(index, utterance, sampler_state))
        except AudioError as error:
            skipped.append((index, str(error)))
            return None

    def _join(self, examples: list[Example], sampler_state: SamplerState) -> list[Example]:
        """Return clips joined into one, with their texts, or unchanged if that would have too many tokens."""
        if len(examples) < 2:
            return examples
        first = examples[0].utterance
        source = join_texts([each.utterance.source_text or "" for each in examples], first.source_language)
        target = join_texts([each.utterance.target_text or "" for each in examples], first.target_language)
        joined = replace(first, source_text=source, target_text=target)
        if not self._fits(joined):
            return examples
        key = (sampler_state.epoch, sampler_state.number, examples[0].index)
        waveform_T = (self.augmentation or Augmentation()).join([each.features.numpy() for each in examples], key)
        return [Example(examples[0].index, joined, torch.from_numpy(waveform_T))]

    def _fits(self, utterance: Utterance) -> bool:
        return self.max_tokens is None or len(self._target(utterance)) <= self.max_tokens

    def _target(self, utterance: Utterance) -> list[int]:
        return self.tokenizer.encode_target(utterance.target_text or "", self.targets[utterance.target_language or ""])

    def _ctc_labels(self, text: str | None) -> list[int]:
        return [self.characters[character] for character in ctc_text(text or "") if character in self.characters]


@dataclass(frozen=True, kw_only=True)
class CachedStatesBatchMaker(BatchMaker):
    """Makes batches with precomputed encoder states instead of waveforms."""

    states: Callable[[int], Tensor]  # maps the index of an utterance to (S, D)

    def load(self, index: int, utterance: Utterance, sampler_state: SamplerState) -> Tensor:  # noqa: ARG002
        """Return the encoder states of an utterance, (S, D). AudioError if its audio could not be read."""
        return self.states(index)

    def collate(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return an empty waveform_BT, lengths_B in frames, and states_BSD."""
        if not features:
            return super().collate(features)
        lengths_B = torch.tensor([len(states_SD) for states_SD in features])
        return torch.zeros(len(features), 0), lengths_B, nn.utils.rnn.pad_sequence(list(features), batch_first=True)

    def seconds(self, examples: Sequence[Example]) -> float:
        """Return the seconds of audio according to the manifest."""
        return float(sum(self.corpus.seconds_N[example.index] for example in examples))


def ctc_text(text: str) -> str:
    """Return the text that CTC is trained on: the words of a source text as WER compares them."""
    return normalize_words(text)


def read_batches(
    maker: BatchMaker, requests: Iterable[BatchRequest], *, workers: int, pin_memory: bool = False
) -> Iterator[Batch]:
    """Yield the batches of requests in order, prepared ahead by worker processes (0: by this process, on demand)."""
    loader = DataLoader(
        maker,
        sampler=cast("Any", _RequestSampler(requests)),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        worker_init_fn=_ignore_interrupts,
        pin_memory=pin_memory,
    )
    return iter(loader)


class _RequestSampler:
    """Adapts requests to the sampler interface of DataLoader, which only iterates over it."""

    def __init__(self, requests: Iterable[BatchRequest]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[BatchRequest]:
        return iter(self._requests)


def requests_by_length(corpus: Corpus, batch_seconds: float) -> list[BatchRequest]:
    """Return requests that cover every utterance once, longest first, with up to `batch_seconds` of padded audio."""
    order = np.argsort(-np.nan_to_num(corpus.seconds_N, nan=0.0), kind="stable")
    requests: list[BatchRequest] = []
    start = 0
    while start < len(order):
        longest = max(float(np.nan_to_num(corpus.seconds_N[order[start]])), 0.1)
        size = max(1, int(min(batch_seconds / longest, len(order))))
        state = SamplerState(number=len(requests))
        requests.append(BatchRequest(state, state, order[start : start + size]))
        start += size
    return requests


def collate_waveforms(waveforms: Sequence[Tensor], *, normalize: bool) -> tuple[Tensor, Tensor]:
    """Return 1-D waveforms, each normalized by its own statistics, padded to waveform_BT, and their lengths_B.

    Normalization is to zero mean and unit variance with epsilon 1e-7, like transformers' feature extractor; fairseq
    uses 1e-5, which differs for clips quieter than about -40 dBFS.
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
    """Return the samples of an utterance, (T,). AudioError if it cannot be read, or has an error in the manifest."""
    if utterance.error is not None:
        raise AudioError(utterance.error)
    source = utterance.audio if not hasattr(utterance.audio, "read") else utterance.audio.read()
    return torch.from_numpy(load_audio(source, name=utterance.id).waveform)


def round_up(size: int) -> int:
    """Round a size up to four significant bits, which adds at most an eighth."""
    step = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step


def _pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Return rows padded with a value to the longest one, or to one column if all are empty."""
    width = max(1, *map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def _ignore_interrupts(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to stop
