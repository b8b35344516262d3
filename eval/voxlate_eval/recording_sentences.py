"""Rows of recordings: the translation of a recording becomes one row for each sentence of its reference."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.policy import CHARACTERS, tokenizers
from voxlate_eval.resegmentation import resegment, signature
from voxlate_eval.rows import Hypotheses, HypothesisRow, ReferenceRow, References

Pair = tuple[HypothesisRow, ReferenceRow]


@dataclass(frozen=True)
class Resegmentation:
    """How many recordings were divided among how many sentences, and by which method."""

    target_language: str
    recordings: int
    sentences: int

    @property
    def signature(self) -> str:
        """The method, its units and its version, for signatures of metrics."""
        return signature(self.target_language)

    def as_json(self) -> dict[str, Any]:
        """Return the entry of a recipe."""
        method, units, version = self.signature.split(".")
        return {
            "tool": "voxlate_eval",
            "method": method,
            "version": int(version),
            "units": units,
            "recordings": self.recordings,
            "sentences": self.sentences,
        }


def divide_recordings(rows: Iterable[Pair], target_language: str) -> tuple[list[Pair], Resegmentation | None]:
    """Replace each recording by its sentences, with ids such as talk#3; other rows stay as they are."""
    result: list[Pair] = []
    recordings = sentences = 0
    for hypothesis, reference in rows:
        if not reference.sentences:
            result.append((hypothesis, reference))
            continue
        parts = _divide(hypothesis, _sentence_rows(reference), target_language)
        recordings, sentences = recordings + 1, sentences + len(parts)
        result += parts
    return result, Resegmentation(target_language, recordings, sentences) if recordings else None


def divide_one_recording(
    hypotheses: Hypotheses, references: References, target_language: str
) -> tuple[list[Pair], Resegmentation]:
    """Divide the lines of a file, which translate one recording, among all references.

    Raises EvaluationError if the file has the translations of several inputs.
    """
    if (hypotheses.has_ids or hypotheses.has_names) and len(hypotheses.rows) > 1:
        raise EvaluationError(
            f"{hypotheses.path} has hypotheses of {len(hypotheses.rows):,} inputs, --resegment expects the translation "
            "of one recording; for several, give a manifest with a row for each, whose target_text is a list of "
            "sentences"
        )
    separator = "" if tokenizers(target_language)[0] == CHARACTERS else " "
    text = separator.join(row.text for row in hypotheses.rows if row.text)
    whole = replace(hypotheses.rows[0], text=text)
    rows = [sentence for row in references.rows for sentence in (_sentence_rows(row) if row.sentences else [row])]
    return _divide(whole, rows, target_language), Resegmentation(target_language, 1, len(rows))


def _divide(hypothesis: HypothesisRow, references: Sequence[ReferenceRow], target_language: str) -> list[Pair]:
    parts = resegment(hypothesis.text, [row.target_text for row in references], target_language)
    return [(HypothesisRow(row.id, part, hypothesis.error), row) for row, part in zip(references, parts, strict=True)]


def _sentence_rows(recording: ReferenceRow) -> list[ReferenceRow]:
    """Return a row for each sentence of a recording. Neither its audio nor its duration are those of the sentence."""
    sources: Sequence[str | None] = recording.source_sentences or [None] * len(recording.sentences)
    return [
        replace(
            recording,
            id=f"{recording.id}#{number}",
            target_text=text,
            source_text=source,
            seconds=None,
            audio=None,
            sentences=(),
            source_sentences=(),
        )
        for number, (text, source) in enumerate(zip(recording.sentences, sources, strict=True), 1)
    ]
