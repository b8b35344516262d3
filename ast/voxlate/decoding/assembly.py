"""Assemble the hypotheses of segments into the translation of an input."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.resampling import SAMPLE_RATE_HZ
from voxlate.audio.segmentation import Span
from voxlate.decoding.aligned_words import group_words
from voxlate.decoding.coverage import coverage_note, cut_off_note
from voxlate.decoding.mbr import rerank
from voxlate.decoding.results import Candidate, Segment, SpanResult, Translation, Word
from voxlate.decoding.review import ReviewedPart, ReviewedSegment
from voxlate.decoding.search import Hypothesis
from voxlate.decoding.segmenting import SegmentationOptions, empty_result_note, left_out
from voxlate.search_options import SearchSettings
from voxlate.tokenizer import Tokenizer


@dataclass
class PendingTranslation:
    """An unfinished translation of one input into one language, which collects hypotheses in any order of segments.

    `spans` are the segments so far, in order; `has_all_spans` is set when there are no more.
    """

    audio: DecodedAudio
    target_language: str
    source_language: str | None
    recipe: Mapping[str, object]
    segmentation: SegmentationOptions
    spans: list[Span] = field(default_factory=list)
    has_all_spans: bool = False
    finished: dict[Span, SpanResult] = field(default_factory=dict)
    taken: int = 0  # spans whose segments have been taken

    @property
    def is_complete(self) -> bool:
        """Whether all spans have a result."""
        return self.has_all_spans and len(self.finished) == len(self.spans)

    def add(self, reviewed: ReviewedSegment, tokenizer: Tokenizer, settings: SearchSettings) -> SpanResult:
        """Store the translation of a span, with times on the file's clock."""
        segments = tuple(self._segment(part, tokenizer, settings) for part in reviewed.parts)
        lengths = [1 + len(part.hypotheses[0].ids) for part in reviewed.parts]  # with the start token
        cut_off = sum(length >= settings.max_length for length in lengths)
        self.finished[reviewed.segment.span] = SpanResult(segments, cut_off)
        return self.finished[reviewed.segment.span]

    def _segment(self, part: ReviewedPart, tokenizer: Tokenizer, settings: SearchSettings) -> Segment:
        clock, first = self.audio.clock, part.span[0]
        candidates = tuple(
            Candidate(tokenizer.decode(hypothesis.ids), hypothesis.score)
            for hypothesis in part.hypotheses[: settings.n_best]
        )
        words: tuple[Word, ...] = ()
        if part.alignment is not None:
            words = group_words(
                part.pieces,
                part.alignment,
                self.target_language,
                lambda seconds: clock.seconds(first + round(seconds * SAMPLE_RATE_HZ)),
            )
        start, end = map(clock.seconds, part.span)
        return Segment(start, end, candidates, words, warnings=part.warnings)

    def take_segments(self) -> Iterator[Segment]:
        """Yield the next segments, up to the first span without a result."""
        while self.taken < len(self.spans) and self.spans[self.taken] in self.finished:
            yield from self.finished[self.spans[self.taken]].segments
            self.taken += 1

    def finish(self, settings: SearchSettings) -> Translation:
        """Return the translation."""
        audio = self.audio
        results = [self.finished[span] for span in self.spans]
        segments = tuple(segment for result in results for segment in result.segments)
        cut_off = sum(result.cut_off for result in results)
        notes = [cut_off_note(cut_off, len(segments), settings.max_length)] if cut_off else []
        if note := coverage_note(segments):
            notes.append(note)
        if not segments:
            notes = [empty_result_note(audio.speech, self.segmentation)]
        return Translation(
            audio.name,
            audio.end_seconds,
            self.target_language,
            segments,
            self.source_language,
            audio.warnings,
            notes=(*audio.notes, *notes),
            left_out=left_out(audio, self.spans),
            recipe=self.recipe,
        )


def ranked(hypotheses: list[Hypothesis], tokenizer: Tokenizer, settings: SearchSettings) -> list[Hypothesis]:
    """Return hypotheses in the order of the search, or by minimum Bayes risk if the settings ask for it."""
    if not settings.mbr:
        return hypotheses
    texts = [tokenizer.decode(hypothesis.ids) for hypothesis in hypotheses]
    return [hypotheses[index] for index in rerank(texts, [hypothesis.log_prob for hypothesis in hypotheses])]
