"""Translate a stream of decoded inputs: cut them into segments, search, assemble."""

from collections.abc import Callable, Iterator, Sequence

from voxlate.audio.prefetch import DecodedAudio
from voxlate.decoding.assembly import PendingTranslation
from voxlate.decoding.results import Translation
from voxlate.decoding.schedule import AudioSegment, Schedule
from voxlate.decoding.search import Hypothesis
from voxlate.decoding.segmenting import Segmenter
from voxlate.progress import AudioProgress

_WINDOW_BATCHES = 4  # batches that are read before the first is translated, so that similar lengths share a batch
_FIRST_WINDOW = 16  # segments of a recording, so that its first results come soon
_RECORDING_SECONDS = 60.0

Completed = tuple[int, Translation]  # with the index of its input


class TranslationStream:
    """Collects the segments of inputs in windows, so that similar lengths share a batch, and assembles their results.

    `finish` assembles a complete translation, `batch_size` is that of `schedule`, and `progress` is called with the
    seconds of audio done and read so far.
    """

    def __init__(
        self,
        schedule: Schedule,
        segmenter: Segmenter,
        finish: Callable[[PendingTranslation], Translation],
        batch_size: int,
        *,
        whole: bool = False,
        progress: Callable[[float, float], None] | None = None,
    ) -> None:
        self._schedule, self._segmenter = schedule, segmenter
        self._finish_translation, self._whole = finish, whole
        self._report = AudioProgress(progress)
        self._batch_size, self._window = batch_size, batch_size * _WINDOW_BATCHES
        self._has_results = False
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
        segmented_seconds = 0.0
        for span in self._segmenter.segments(audio, whole=self._whole):
            for translation in translations:
                translation.spans.append(span)
            self._waiting.append(AudioSegment(index, span, audio, tuple(tag_ids)))
            segmented_seconds += self._waiting[-1].seconds
            if len(self._waiting) >= self._window:
                yield from self._translate_window()
        self._report.add(done=audio.seconds - segmented_seconds)
        for tag, translation in enumerate(translations):
            translation.has_all_spans = True
            yield from self._finish_if_complete(index, tag)

    def finish(self) -> Iterator[Completed]:
        """Translate the remaining segments; yield all remaining translations."""
        yield from self._complete(self._schedule.translate(self._waiting))
        yield from self._complete(self._schedule.finish())

    def _translate_window(self) -> Iterator[Completed]:
        waiting, self._waiting = self._waiting, []
        yield from self._complete(self._schedule.translate(waiting))
        if self._window < self._batch_size:  # do not wait until the search is full
            yield from self._complete(self._schedule.finish())
        self._window = min(4 * self._window, self._batch_size * _WINDOW_BATCHES)

    def _complete(self, results: Iterator[tuple[AudioSegment, int, list[Hypothesis]]]) -> Iterator[Completed]:
        for segment, tag, hypotheses in results:
            self._has_results = True
            self._report.add(done=segment.seconds / len(segment.tag_ids))
            self._pending[segment.index, tag].hypotheses[segment.span] = hypotheses
            yield from self._finish_if_complete(segment.index, tag)

    def _finish_if_complete(self, index: int, tag: int) -> Iterator[Completed]:
        if self._pending[index, tag].is_complete:
            yield index, self._finish_translation(self._pending.pop((index, tag)))
