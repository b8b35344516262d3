"""Translate a stream of decoded inputs: cut them into segments, search, assemble."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.decoding.assembly import PendingTranslation, ranked
from voxlate.decoding.results import Segment, Translation
from voxlate.decoding.review import BATCH_SEGMENTS, Review, ReviewedPart, ReviewedSegment
from voxlate.decoding.schedule import AudioSegment, Schedule, SearchedSegment
from voxlate.decoding.segment_journal import KnownSegments, ResumableSegments
from voxlate.decoding.segmenting import Segmenter
from voxlate.progress import AudioProgress
from voxlate.search_options import SearchSettings
from voxlate.tokenizer import Tokenizer

_WINDOW_BATCHES = 4  # batches that are read before the first is translated, so that similar lengths share a batch
_FIRST_WINDOW = 16  # segments of a recording, so that its first results come soon
_RECORDING_SECONDS = 60.0

Completed = tuple[int, Translation]  # with the index of its input
OnSegment = Callable[[int, str, Segment], None]


class TranslationStream:
    """Collects the segments of inputs in windows, so that similar lengths share a batch, and assembles their results.

    `finish` assembles a complete translation, and `batch_size` is that of `schedule`, which must keep caches if there
    is a `review`. `progress` is called with the seconds of audio done and read so far, `on_segment` with the index of
    an input, a target language, and its segments in order, as soon as they are done. What `resume` knows is not
    computed again.
    """

    def __init__(
        self,
        schedule: Schedule,
        segmenter: Segmenter,
        tokenizer: Tokenizer,
        settings: SearchSettings,
        finish: Callable[[PendingTranslation], Translation],
        batch_size: int,
        *,
        review: Review | None = None,
        whole: bool = False,
        progress: Callable[[float, float], None] | None = None,
        on_segment: OnSegment | None = None,
        resume: ResumableSegments | None = None,
    ) -> None:
        self._schedule, self._segmenter = schedule, segmenter
        self._finish_translation, self._review = finish, review
        self._tokenizer, self._settings, self._whole = tokenizer, settings, whole
        self._report, self._on_segment, self._resume = AudioProgress(progress), on_segment, resume
        self._batch_size, self._window = batch_size, batch_size * _WINDOW_BATCHES
        self._has_results = self._is_last_window = False
        self._waiting: list[AudioSegment] = []
        self._pending: dict[tuple[int, int], PendingTranslation] = {}  # (index of the input, index of its language)

    def add(
        self, index: int, audio: DecodedAudio, tag_ids: Sequence[int], translations: Sequence[PendingTranslation]
    ) -> Iterator[Completed]:
        """Cut an input into segments, and translate those of full windows; yield what is complete.

        `tag_ids` and `translations` are those of its target languages.
        """
        self._report.add(read=audio.seconds)
        if audio.seconds > _RECORDING_SECONDS and not self._has_results:
            self._window = min(_FIRST_WINDOW, self._window)
        self._pending.update({(index, tag): translation for tag, translation in enumerate(translations)})
        known = self._resume.known(index, audio.seconds) if self._resume else KnownSegments()
        new_seconds = 0.0
        for span in self._segmenter.resumed(index, audio, known, self._resume, whole=self._whole):
            results = [known.finished.get(translation.target_language, {}).get(span) for translation in translations]
            for tag, (translation, result) in enumerate(zip(translations, results, strict=True)):
                translation.spans.append(span)
                if result is not None and None not in results:
                    translation.finished[span] = result
                    self._take_segments(index, tag)
            if None in results:
                self._waiting.append(AudioSegment(index, span, audio, tuple(tag_ids)))
                new_seconds += self._waiting[-1].seconds
            if len(self._waiting) >= self._window:
                yield from self._translate_window()
        self._report.add(done=audio.seconds - new_seconds)
        for tag, translation in enumerate(translations):
            translation.has_all_spans = True
            yield from self._finish_if_complete(index, tag)

    def finish(self) -> Iterator[Completed]:
        """Translate the remaining segments; yield all remaining translations."""
        self._is_last_window = True
        waiting, self._waiting = self._waiting, []
        yield from self._complete(self._schedule.translate(waiting))
        yield from self._complete(self._schedule.finish())

    def _translate_window(self) -> Iterator[Completed]:
        waiting, self._waiting = self._waiting, []
        yield from self._complete(self._schedule.translate(waiting))
        if self._window < self._batch_size:  # do not wait until the search is full
            yield from self._complete(self._schedule.finish())
        self._window = min(4 * self._window, self._batch_size * _WINDOW_BATCHES)

    def _complete(self, results: Iterator[SearchedSegment]) -> Iterator[Completed]:
        yield from self._collect(results)
        if self._review is not None:
            yield from self._finish_review(self._review)

    def _collect(self, results: Iterator[SearchedSegment]) -> Iterator[Completed]:
        for found in results:
            self._has_results = True
            searched = replace(found, hypotheses=ranked(found.hypotheses, self._tokenizer, self._settings))
            if self._review is None:
                part = ReviewedPart(searched.segment.span, searched.hypotheses)
                yield from self._store(ReviewedSegment(searched.segment, searched.tag, (part,)))
                continue
            self._review.add(searched)
            enough = min(BATCH_SEGMENTS, len(self._schedule)) if self._is_last_window else BATCH_SEGMENTS
            if len(self._review) >= enough:
                yield from self._finish_review(self._review)

    def _finish_review(self, review: Review) -> Iterator[Completed]:
        for reviewed in review.finish_batch():
            yield from self._store(reviewed)
        if self._is_last_window:
            self._schedule.put(review.retries)  # join the running search
        else:
            self._waiting += review.retries
        review.retries.clear()

    def _store(self, reviewed: ReviewedSegment) -> Iterator[Completed]:
        segment, tag = reviewed.segment, reviewed.tag
        self._report.add(done=segment.seconds / len(segment.tag_ids))
        translation = self._pending[segment.index, tag]
        result = translation.add(reviewed, self._tokenizer, self._settings)
        if self._resume:
            self._resume.put_span(segment.index, translation.target_language, segment.span, result)
        self._take_segments(segment.index, tag)
        yield from self._finish_if_complete(segment.index, tag)

    def _take_segments(self, index: int, tag: int) -> None:
        translation = self._pending[index, tag]
        for segment in translation.take_segments():
            if self._on_segment:
                self._on_segment(index, translation.target_language, segment)

    def _finish_if_complete(self, index: int, tag: int) -> Iterator[Completed]:
        if self._pending[index, tag].is_complete:
            yield index, self._finish_translation(self._pending.pop((index, tag)))
