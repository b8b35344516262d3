"""Assemble the hypotheses of segments into the translation of an input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from voxlate.audio.prefetch import DecodedAudio
from voxlate.audio.segmentation import Span
from voxlate.decoding.mbr import rerank
from voxlate.decoding.results import Candidate, Segment, Translation
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
    hypotheses: dict[Span, list[Hypothesis]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether all segments have hypotheses."""
        return self.has_all_spans and len(self.hypotheses) == len(self.spans)

    def finish(self, tokenizer: Tokenizer, settings: SearchSettings) -> Translation:
        """Return the translation, with times on the file's clock."""
        audio = self.audio
        segments = tuple(
            Segment(
                audio.clock.seconds(start),
                audio.clock.seconds(end),
                _to_candidates(self.hypotheses[start, end], tokenizer, settings),
            )
            for start, end in self.spans
        )
        lengths = [1 + len(self.hypotheses[span][0].ids) for span in self.spans]  # with the start token
        cut_off = sum(length >= settings.max_length for length in lengths)
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
