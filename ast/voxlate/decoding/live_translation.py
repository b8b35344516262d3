"""Translate inputs that come and go while the search runs."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.decoding.assembly import PendingTranslation
from voxlate.decoding.fair_turns import FairTurns
from voxlate.decoding.schedule import AudioSegment
from voxlate.decoding.translation_stream import Completed, TranslationStream

Begin: TypeAlias = Callable[[DecodedAudio, str, str | None], tuple[int, PendingTranslation]]

CUT_SECONDS = 60.0  # of speech that is cut into segments at once, which other inputs have to wait for
_REVIEW_STEPS = 8  # of the search, after which a result is reviewed, even if no others have come


class LiveTranslation(TranslationStream):
    """A translation stream whose inputs join the running search at any time and take turns, or leave it.

    `begin` returns the tag of a target language and the translation that collects the segments of an input. Other
    arguments are those of `TranslationStream`. Results do not depend on the other inputs.
    """

    def __init__(self, begin: Begin, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._begin = begin
        self._is_last_window = True  # there are no windows: parts of suspicious segments join the running search
        self._turns = FairTurns()
        self._steps = 0  # since the last review

    def __len__(self) -> int:
        """Return the number of unfinished translations."""
        return len(self._pending)

    def join(self, index: int, audio: DecodedAudio, to: str, source: str | None = None) -> Iterator[Completed]:
        """Add an input; yield its translation if there is nothing to translate. `source` is only recorded."""
        tag_id, translation = self._begin(audio, to, source)
        self._pending[index, 0] = translation
        self._turns.add(index, self._cut(index, translation, tag_id))
        yield from self._finish_if_complete(index, 0)

    def advance(self) -> Iterator[Completed]:
        """Encode some segments, or run one step of the search; yield what is complete."""
        yield from self._collect(self._schedule.advance(self._turns))
        if self._review is None:
            return
        self._steps = self._steps + 1 if len(self._review) else 0
        if len(self._review) and (self._steps >= _REVIEW_STEPS or not len(self._schedule)):
            self._steps = 0
            yield from self._finish_review(self._review)

    def drop(self, index: int) -> None:
        """Remove an input, whose segments leave the search at once."""
        self._pending.pop((index, 0), None)
        self._turns.drop(index)
        self._schedule.drop(index)
        if self._review is not None:
            self._review.drop(index)

    def _cut(self, index: int, translation: PendingTranslation, tag_id: int) -> Iterator[AudioSegment]:
        for span in self._segmenter.segments(translation.audio, whole=self._whole):
            translation.spans.append(span)
            yield AudioSegment(index, span, translation.audio, (tag_id,))
        translation.has_all_spans = True
