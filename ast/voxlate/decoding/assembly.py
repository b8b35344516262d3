"""Assemble the hypotheses of segments into the translation of an input."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from voxlate.audio.prefetch import DecodedAudio
from voxlate.audio.segmentation import Span
from voxlate.decoding.mbr import rerank
from voxlate.decoding.results import Candidate, Segment, SpanResult, Translation
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

    def add(
        self, span: Span, hypotheses: Sequence[Hypothesis], tokenizer: Tokenizer, settings: SearchSettings
    ) -> SpanResult:
        """Store the hypotheses of a span, with times on the file's clock."""
        start, end = map(self.audio.clock.seconds, span)
        length = 1 + len(hypotheses[0].ids)  # with the start token
        segment = Segment(start, end, _to_candidates(hypotheses, tokenizer, settings))
        self.finished[span] = SpanResult((segment,), cut_off=int(length >= settings.max_length))
        return self.finished[span]

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
        notes = (_cut_off_note(cut_off, len(segments), settings.max_length),) if cut_off else ()
        if not segments:
            notes = (empty_result_note(audio.speech, self.segmentation),)
        return Translation(
            audio.name,
            audio.end_seconds,
            self.target_language,
            segments,
            self.source_language,
            audio.warnings,
            notes=audio.notes + notes,
            left_out=left_out(audio, self.spans),
            recipe=self.recipe,
        )


def _to_candidates(
    hypotheses: Sequence[Hypothesis], tokenizer: Tokenizer, settings: SearchSettings
) -> tuple[Candidate, ...]:
    candidates = [Candidate(tokenizer.decode(hypothesis.ids), hypothesis.score) for hypothesis in hypotheses]
    if settings.mbr:
        texts = [candidate.text for candidate in candidates]
        log_probs = [hypothesis.log_prob for hypothesis in hypotheses]
        candidates = [candidates[index] for index in rerank(texts, log_probs)]
    return tuple(candidates[: settings.n_best])


def _cut_off_note(cut_off: int, segments: int, max_length: int) -> str:
    subject = "its translation" if segments == 1 else f"the translation of {cut_off} of its {segments} segments"
    return f"{subject} reached the maximum length, {max_length} tokens, and may be cut off; see --max-length"
