"""Schedule which segments are encoded and searched together. Results do not depend on the schedule.

Shape letters: T samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.prefetch import DecodedAudio
from voxlate.audio.segmentation import Span
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.output_layer import Vocabulary
from voxlate.decoding.search import Hypothesis, Search
from voxlate.hardware import to_device
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.search_options import SearchOptions

# The caches of a search are padded to its longest segment. This many seconds per segment bound their memory.
_MEAN_SECONDS = 10.0
_ENCODED_SECONDS = 320.0  # of audio in the encoder at a time, with padding
_GROUPS = 4  # new segments join the search as soon as a quarter of it is free


@dataclass(frozen=True)
class AudioSegment:
    """A stretch of an input. It is encoded once, and searched once for each target language.

    `index` is the index of the input, `span` the first sample and the one after the last, `tag_ids` are the tags of the
    target languages, if there are any.
    """

    index: int
    span: Span
    audio: DecodedAudio
    tag_ids: tuple[int, ...] = ()

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


def encoder_batches(segments: Sequence[AudioSegment], size: int) -> Iterator[list[AudioSegment]]:
    """Group segments, in their order, into batches of at most `size` and 320 s of padded audio."""
    batch: list[AudioSegment] = []
    for segment in segments:
        longest = max([segment.seconds, *(other.seconds for other in batch)])
        if batch and (len(batch) >= size or (len(batch) + 1) * longest > _ENCODED_SECONDS):
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
    ) -> None:
        self._model, self._size, self._keep_caches = model, size, keep_caches
        self._search = Search(model.decoder, options, vocabulary, keep_caches=keep_caches)
        self._searched: dict[int, tuple[AudioSegment, int]] = {}  # key in the search -> segment, index of its tag
        self._next_key = 0
        self._longest_first = True

    def translate(self, segments: Sequence[AudioSegment]) -> Iterator[SearchedSegment]:
        """Start to translate segments; yield all results completed meanwhile, including those of earlier calls."""
        ordered = sorted(segments, key=lambda segment: segment.seconds, reverse=self._longest_first)
        self._longest_first = not self._longest_first  # so that the next window begins with similar lengths
        max_added = max(1, self._size // _GROUPS)
        for batch in encoder_batches(ordered, self._size // _GROUPS):
            targets = [(row, tag) for row, segment in enumerate(batch) for tag in range(len(segment.tag_ids))]
            encoded = None
            for first in range(0, len(targets), max_added):
                added = targets[first : first + max_added]
                while self._searched and not self._has_room([batch[row] for row, _ in added]):
                    yield from self._step()
                encoded = encoded or self._encode(batch)
                self._add([(batch[row], tag) for row, tag in added], _select(encoded, [row for row, _ in added]))

    def finish(self) -> Iterator[SearchedSegment]:
        """Yield all remaining results."""
        while self._searched:
            yield from self._step()

    def _add(self, targets: Sequence[tuple[AudioSegment, int]], cross_attention_cache: CrossAttentionCache) -> None:
        keys = range(self._next_key, self._next_key + len(targets))
        self._next_key = keys.stop
        self._searched.update(zip(keys, targets, strict=True))
        self._search.add(keys, cross_attention_cache, [segment.tag_ids[tag] for segment, tag in targets])

    def _has_room(self, segments: Sequence[AudioSegment]) -> bool:
        in_search = [*(segment for segment, _ in self._searched.values()), *segments]
        longest = max(segment.seconds for segment in in_search)
        return len(in_search) <= self._size and len(in_search) * longest <= self._size * _MEAN_SECONDS

    def _step(self) -> Iterator[SearchedSegment]:
        for key, hypotheses in self._search.step():
            segment, tag = self._searched.pop(key)
            cache = self._search.take_cache(key) if self._keep_caches else None
            yield SearchedSegment(segment, tag, hypotheses, cache)

    @torch.inference_mode()
    def _encode(self, segments: Sequence[AudioSegment]) -> CrossAttentionCache:
        waveforms = [segment.waveform() for segment in segments]
        normalize = self._model.encoder.normalize_waveform
        return self._model.cross_attention_cache(*collate_waveforms(waveforms, normalize=normalize))


def _select(cross_attention_cache: CrossAttentionCache, rows: list[int]) -> CrossAttentionCache:
    """Return the cache of the given rows, which may repeat; the cache itself if they are all rows in order."""
    if rows == [*range(cross_attention_cache.utterances)]:
        return cross_attention_cache
    rows_U = to_device(rows, cross_attention_cache.mask_U11S.device)
    return cross_attention_cache.select(rows_U, cross_attention_cache.states)
