"""Collect the segments of transcripts, which are computed in any order."""

from collections.abc import Callable, Iterator

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.segmentation import Span
from voxlate.decoding.results import Segment, SpanResult
from voxlate.decoding.schedule import AudioSegment
from voxlate.decoding.segment_journal import KnownSegments, ResumableSegments
from voxlate.decoding.segmenting import Segmenter


class PendingTranscripts:
    """Reports the segments of each input in order, as soon as they are done, and keeps them for a rerun.

    `on_segment` is called with the index of an input, None for the target language, and a segment. What `resume` knows
    is not computed again.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        on_segment: Callable[[int, None, Segment], None] | None = None,
        resume: ResumableSegments | None = None,
    ) -> None:
        self._segmenter, self._on_segment, self._resume = segmenter, on_segment, resume
        self._spans: dict[int, list[Span]] = {}  # by the index of an input, as are the others
        self._finished: dict[int, dict[Span, Segment]] = {}
        self._reported: dict[int, int] = {}

    def unknown_spans(self, index: int, audio: DecodedAudio) -> Iterator[Span]:
        """Cut an input into segments; yield the spans of those whose transcripts must be computed."""
        known = self._resume.known(index, audio.seconds) if self._resume else KnownSegments()
        results = next(iter(known.finished.values()), {})
        spans, finished = self._spans.setdefault(index, []), self._finished.setdefault(index, {})
        for span in self._segmenter.resumed(index, audio, known, self._resume):
            spans.append(span)
            if span in results:
                [finished[span]] = results[span].segments
                self._report(index)
            else:
                yield span

    def add(self, segment: AudioSegment, transcript: Segment) -> None:
        """Store the transcript of a segment."""
        self._finished[segment.index][segment.span] = transcript
        if self._resume:
            self._resume.put_span(segment.index, None, segment.span, SpanResult((transcript,)))
        self._report(segment.index)

    def drop(self, index: int) -> None:
        """Forget an input."""
        for table in (self._spans, self._finished, self._reported):
            table.pop(index, None)

    def pop(self, index: int) -> dict[Span, Segment]:
        """Return the segments of a complete input, in order."""
        segments = {span: self._finished[index][span] for span in self._spans[index]}
        self.drop(index)
        return segments

    def _report(self, index: int) -> None:
        """Report the next segments, up to the first that is not done."""
        spans, finished = self._spans[index], self._finished[index]
        reported = self._reported.get(index, 0)
        while reported < len(spans) and spans[reported] in finished:
            if self._on_segment:
                self._on_segment(index, None, finished[spans[reported]])
            reported += 1
        self._reported[index] = reported
