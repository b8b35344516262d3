"""Schedule which segments are encoded and searched together. Results do not depend on the schedule.

Shape letters: T samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.segmentation import Span
from voxlate.decoding.background_encoder import BackgroundEncoder, Encoded
from voxlate.decoding.output_layer import Vocabulary
from voxlate.decoding.search import Hypothesis, Search
from voxlate.decoding.step_graphs import StepGraphs
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.encoder import on_device
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.search_options import SearchOptions

# The caches of a search are padded to its longest segment. This many seconds per segment bound their memory.
_MEAN_SECONDS = 10.0
_ENCODED_SECONDS = 320.0  # of audio in the encoder at a time, with padding
_PADDING_SHARE = 0.05
# New segments join the search as soon as this part of it is free. A quarter of it is encoded at a time.
_CPU_GROUPS, _GPU_GROUPS = 4, 8
_FEED_STEPS = 8  # of the search, after which it looks for new inputs: encoding them one by one is slow
_LIVE_PADDING_SECONDS = 4.0  # in a batch of live segments, whose lengths differ more than those of a window
_CPU_FEED_SECONDS = 60.0  # of live audio that a CPU encodes at a time: whatever comes next waits for it


@dataclass(frozen=True)
class AudioSegment:
    """A stretch of an input. It is encoded once, and searched once for each target language.

    `index` is the index of the input, `span` the first sample and the one after the last, `tag_ids` are the tags of the
    target languages, if there are any, and `wants_words` is whether the times of words are of use.
    """

    index: int
    span: Span
    audio: DecodedAudio
    tag_ids: tuple[int, ...] = ()
    wants_words: bool = True

    @property
    def seconds(self) -> float:
        """Length of the segment in seconds."""
        return (self.span[1] - self.span[0]) / SAMPLE_RATE_HZ

    def waveform(self) -> Tensor:
        """Return the samples, (T,)."""
        return torch.from_numpy(self.audio.waveform_T[slice(*self.span)])


@dataclass(frozen=True)
class SearchedSegment:
    """A segment, the index of its target language in `tag_ids`, and its hypotheses, best first.

    `cross_attention_cache` is that of the search if the schedule keeps caches, else None.
    """

    segment: AudioSegment
    tag: int
    hypotheses: list[Hypothesis]
    cross_attention_cache: CrossAttentionCache | None = None


class SegmentFeed(Protocol):
    """Segments that come at any time. At the moment, there may be none."""

    def __len__(self) -> int:
        """Return 0 if there is none."""

    def take(self, count: int, seconds: float) -> Sequence[AudioSegment]:
        """Remove and return up to `count` segments of about `seconds` in total."""


class _Target(NamedTuple):
    """A segment, the index of its target language in `tag_ids`, and its row in the batch of the encoder."""

    segment: AudioSegment
    tag: int
    row: int


def free_padding(segments: int) -> float:
    """Return how many seconds of padding in a batch cost a GPU no time when so many segments wait.

    The host needs a few milliseconds to launch the encoder, in which a GPU encodes some 20 s of audio (an estimate from
    the number of kernels): splitting one of a few batches takes longer than its padding. With many, the host launches
    the next batch while the GPU computes the last one.
    """
    return 16.0 if segments < 128 else 2.0


def encoder_batches(segments: Sequence[AudioSegment], size: int, free: float = inf) -> Iterator[list[AudioSegment]]:
    """Group segments, in their order, into batches of at most `size` and 320 s of padded audio.

    At most 5 % of a batch is padding, or `free` seconds.
    """
    batch: list[AudioSegment] = []
    for segment in segments:
        seconds = [segment.seconds, *(other.seconds for other in batch)]
        padded = len(seconds) * max(seconds)
        max_padding = max(free, _PADDING_SHARE * padded)
        if batch and (len(batch) >= size or padded > _ENCODED_SECONDS or padded - sum(seconds) > max_padding):
            yield batch
            batch = []
        batch.append(segment)
    if batch:
        yield batch


class Schedule:
    """Keeps a search filled with up to `size` segments, batched by length.

    With `keep_caches`, results come with the cross-attention cache of their search.
    """

    def __init__(
        self,
        model: SpeechTranslator,
        options: SearchOptions,
        size: int,
        vocabulary: Vocabulary,
        *,
        keep_caches: bool = False,
        graphs: StepGraphs | None = None,
    ) -> None:
        self._is_cpu = model.device.type == "cpu"
        self._size, self._keep_caches = size, keep_caches
        self._max_added = max(1, size // (_CPU_GROUPS if self._is_cpu else _GPU_GROUPS))
        self._free_padding = inf  # of the segments that wait
        self._encoder = BackgroundEncoder(model)
        self._search = Search(model.decoder, options, vocabulary, keep_caches=keep_caches, graphs=graphs)
        self._waiting: list[AudioSegment] = []
        self._encoded: Encoded | None = None  # the next batch, from which `_targets` have not joined the search yet
        self._targets: list[_Target] = []
        self._searched: dict[int, _Target] = {}  # by key in the search
        self._next_key = 0
        self._longest_first = False
        self._unfed_steps = 0  # since the feed had nothing left
        self._has_taken_all = False

    def __len__(self) -> int:
        """Return the number of segments whose search is not finished, counted once for each target if it has begun."""
        return len(self._waiting) + len(self._targets) + len(self._searched)

    def put(self, segments: Sequence[AudioSegment]) -> None:
        """Let segments wait for the search, which `translate` and `finish` run."""
        self._waiting = sorted(
            [*self._waiting, *segments], key=lambda segment: segment.seconds, reverse=self._longest_first
        )
        self._free_padding = inf if self._is_cpu else free_padding(len(self._waiting))

    def translate(self, segments: Sequence[AudioSegment]) -> Iterator[SearchedSegment]:
        """Start to translate segments; yield all results completed meanwhile, including those of earlier calls."""
        self._longest_first = not self._longest_first  # so that this window begins with lengths as the last one ended
        self.put(segments)
        while self._waiting or (self._targets and not self._encoder.works_ahead):
            yield from self._advance()

    def finish(self) -> Iterator[SearchedSegment]:
        """Yield all remaining results."""
        while len(self):
            yield from self._advance()

    def advance(self, feed: SegmentFeed) -> Iterator[SearchedSegment]:
        """Encode some segments, of the feed if there is room for them, or run one step of the search; yield results."""
        wanted = max(1, self._size // _CPU_GROUPS) - len(self._waiting)
        has_room = self._encoder.works_ahead or len(self._searched) + self._max_added <= self._size
        self._unfed_steps += 1
        is_due = not self._has_taken_all or self._unfed_steps >= _FEED_STEPS or len(self._searched) < self._max_added
        if wanted > 0 and has_room and is_due and not self._targets:
            self.put(feed.take(wanted, _ENCODED_SECONDS if self._encoder.works_ahead else _CPU_FEED_SECONDS))
            self._unfed_steps, self._has_taken_all = 0, not len(feed)
            self._free_padding = min(self._free_padding, _LIVE_PADDING_SECONDS)
        if len(self):
            yield from self._advance()

    def drop(self, index: int) -> None:
        """Remove the segments of an input, from the running search as well."""
        self._waiting = [segment for segment in self._waiting if segment.index != index]
        self._targets = [target for target in self._targets if target.segment.index != index]
        self._encoded = self._encoded if self._targets else None
        keys = {key for key, target in self._searched.items() if target.segment.index == index}
        self._search.remove(keys)
        for key in keys:
            del self._searched[key]

    def _advance(self) -> Iterator[SearchedSegment]:
        """Let encoded segments join the search if there is room for them; otherwise run a step."""
        if not self._targets and self._waiting:
            batch = next(encoder_batches(self._waiting, max(1, self._size // _CPU_GROUPS), self._free_padding))
            del self._waiting[: len(batch)]
            self._encoded = self._encoder.start([segment.waveform() for segment in batch])
            self._targets = [
                _Target(segment, tag, row) for row, segment in enumerate(batch) for tag in range(len(segment.tag_ids))
            ]
        added = self._targets[: self._max_added]
        if added and (not self._searched or self._has_room(added)):
            del self._targets[: len(added)]
            self._add(added)
        else:
            yield from self._step()

    def _add(self, added: Sequence[_Target]) -> None:
        assert self._encoded is not None
        cross_attention_cache = _select(self._encoded(), [target.row for target in added])
        self._encoded = self._encoded if self._targets else None
        keys = range(self._next_key, self._next_key + len(added))
        self._next_key = keys.stop
        self._searched.update(zip(keys, added, strict=True))
        self._search.add(keys, cross_attention_cache, [target.segment.tag_ids[target.tag] for target in added])

    def _has_room(self, added: Sequence[_Target]) -> bool:
        in_search = [*self._searched.values(), *added]
        longest = max(target.segment.seconds for target in in_search)
        return len(in_search) <= self._size and len(in_search) * longest <= self._size * _MEAN_SECONDS

    def _step(self) -> Iterator[SearchedSegment]:
        for key, hypotheses in self._search.step():
            target = self._searched.pop(key)
            cache = self._search.take_cache(key) if self._keep_caches else None
            yield SearchedSegment(target.segment, target.tag, hypotheses, cache)


def _select(cross_attention_cache: CrossAttentionCache, rows: list[int]) -> CrossAttentionCache:
    """Return the cache of the given rows, which may repeat; the cache itself if they are all rows in order."""
    if rows == [*range(cross_attention_cache.utterances)]:
        return cross_attention_cache
    rows_U = on_device(rows, cross_attention_cache.mask_U11S.device)
    return cross_attention_cache.select(rows_U, cross_attention_cache.states)
