"""Which utterances are encoded and searched together, and when: a result does not depend on it.

Shape letters: T samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.prefetch import DecodedAudio, Span
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.output_layer import Vocabulary
from voxlate.decoding.search import Hypothesis, Search
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.cpu.malloc import FreedMemory
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.search_options import SearchOptions

_MEAN_SECONDS = 10.0  # for each utterance of the pool, all counted like the longest: this bounds its memory
_ENCODED_SECONDS = 320.0  # of sound in the encoder at once, with padding
_GROUPS = 4  # the pool is filled up as soon as a quarter of it is free


@dataclass(frozen=True)
class AudioSegment:
    """What is encoded once and searched once for each tag: a span of a sound, translated into the tags' languages."""

    job: int
    span: Span
    sound: DecodedAudio
    tag_ids: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Length of the span."""
        return (self.span[1] - self.span[0]) / SAMPLE_RATE_HZ

    def waveform(self) -> Tensor:
        """Return the samples, (T,)."""
        return torch.from_numpy(self.sound.waveform_T[slice(*self.span)])


class Schedule:
    """Feeds a search, at most `size` utterances at once, with pieces of like length."""

    def __init__(
        self,
        model: SpeechTranslator,
        options: SearchOptions,
        size: int,
        vocabulary: Vocabulary,
        freed: FreedMemory,
    ) -> None:
        self._model, self._size, self._freed = model, size, freed
        self._search = Search(model.decoder, options, vocabulary)
        self._searched: dict[int, tuple[AudioSegment, int]] = {}
        self._numbers = 0
        self._longest_first = True

    def translate(self, pieces: Sequence[AudioSegment]) -> Iterator[tuple[AudioSegment, int, list[Hypothesis]]]:
        """Begin to translate all pieces; yield what is finished by then, of these and of earlier calls.

        Each result is a piece, the number of one of its tags, and the hypotheses.
        """
        ordered = sorted(pieces, key=lambda piece: piece.seconds, reverse=self._longest_first)
        self._longest_first = not self._longest_first  # the next ones begin with the length that these end with
        for group in self._groups(ordered):
            wanted = [(place, tag) for place, piece in enumerate(group) for tag in range(len(piece.tag_ids))]
            together = max(1, self._size // _GROUPS)
            memory = None
            for first in range(0, len(wanted), together):
                part = wanted[first : first + together]
                while self._searched and not self._has_room([group[place] for place, _ in part]):
                    yield from self._step()
                memory = memory or self._remember(group)
                self._add([(group[place], tag) for place, tag in part], _selected(memory, [place for place, _ in part]))
                self._freed.bound()

    def finish(self) -> Iterator[tuple[AudioSegment, int, list[Hypothesis]]]:
        """Yield all that is left."""
        while self._searched:
            yield from self._step()

    def _groups(self, ordered: Sequence[AudioSegment]) -> Iterator[list[AudioSegment]]:
        """Yield what is encoded together."""
        group: list[AudioSegment] = []
        for piece in ordered:
            longest = max([piece.seconds, *(one.seconds for one in group)])
            if group and (len(group) >= self._size // _GROUPS or (len(group) + 1) * longest > _ENCODED_SECONDS):
                yield group
                group = []
            group.append(piece)
        if group:
            yield group

    def _add(self, searched: Sequence[tuple[AudioSegment, int]], memory: CrossAttentionCache) -> None:
        numbers = range(self._numbers, self._numbers + len(searched))
        self._numbers = numbers.stop
        self._searched.update(zip(numbers, searched, strict=True))
        self._search.add(numbers, memory, [piece.tag_ids[tag] for piece, tag in searched])

    def _has_room(self, pieces: Sequence[AudioSegment]) -> bool:
        together = [*(piece for piece, _ in self._searched.values()), *pieces]
        longest = max(piece.seconds for piece in together)
        return len(together) <= self._size and len(together) * longest <= self._size * _MEAN_SECONDS

    def _step(self) -> Iterator[tuple[AudioSegment, int, list[Hypothesis]]]:
        for number, hypotheses in self._search.step():
            piece, tag = self._searched.pop(number)
            yield piece, tag, hypotheses

    @torch.inference_mode()
    def _remember(self, pieces: Sequence[AudioSegment]) -> CrossAttentionCache:
        encoder = self._model.encoder
        waveforms = [piece.waveform() for piece in pieces]
        return self._model.cross_attention_cache(*collate_waveforms(waveforms, normalize=encoder.normalize_waveform))


def _selected(memory: CrossAttentionCache, places: list[int]) -> CrossAttentionCache:
    """Return the memory of some utterances, one as often as it is named; the memory itself where that is all of it."""
    if places == [*range(memory.utterances)]:
        return memory
    return memory.select(torch.tensor(places, device=memory.mask_U11S.device))
