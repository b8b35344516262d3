"""Joining hypotheses with references: by id, by the name of the audio file, or line by line.

Files that do not match each other are errors.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.audio_names import join_by_audio_name
from voxlate_eval.foreign_outputs import check_stated_references
from voxlate_eval.hypothesis_files import read_hypotheses
from voxlate_eval.metrics import Metric
from voxlate_eval.policy import CHARACTERS, primary_code, tokenizers
from voxlate_eval.published import split_rows
from voxlate_eval.recording_sentences import Resegmentation, divide_one_recording, divide_recordings
from voxlate_eval.reference_files import read_references
from voxlate_eval.rows import Hypotheses, HypothesisRow, ReferenceRow, References, raise_if_any
from voxlate_eval.strict_json import shorten

__all__ = [
    "Hypotheses",
    "HypothesisRow",
    "Records",
    "ReferenceRow",
    "References",
    "join",
    "read_hypotheses",
    "read_references",
]

_SHOWN = 5


@dataclass(frozen=True)
class Records:
    """Hypotheses and references of one direction, in the references' order."""

    hypotheses_path: Path
    references_path: Path
    direction: str | None  # "fr-en", if the references state it
    target_language: str
    split: str | None
    rows: list[tuple[HypothesisRow, ReferenceRow]]
    meta: dict[str, Any]
    resegmentation: Resegmentation | None = None

    @property
    def hypotheses(self) -> list[str]:
        """The texts to score; empty for clips that failed."""
        return [hypothesis.text for hypothesis, _ in self.rows]

    @property
    def references(self) -> list[str]:
        """The reference texts."""
        return [reference.target_text for _, reference in self.rows]

    @property
    def sources(self) -> list[str]:
        """The transcripts, empty where there is none."""
        return [reference.source_text or "" for _, reference in self.rows]

    def signature(self, metric: Metric) -> str:
        """Return the signature of a metric, with the method of resegmentation if there was one."""
        return metric.signature + (f"|reseg:{self.resegmentation.signature}" if self.resegmentation else "")

    @property
    def official_n(self) -> int | None:
        """The official number of rows of the split, if it is one of CoVoST-2."""
        if self.resegmentation is not None:
            return None
        synthetic = any("/spoken_" in reference.id for _, reference in self.rows[:1])
        return None if synthetic else split_rows(self.direction, self.split)


def join(
    hypotheses: Hypotheses, references: References, target_language: str | None = None, *, resegment: bool = False
) -> Records:
    """Join by id or by the names of audio files, or line by line if one of the two is plain text.

    Translations of recordings are divided among the sentences of their references. With `resegment`, all hypotheses
    are the translation of one recording, and all references its sentences.

    Raises EvaluationError for missing, extra or duplicate rows, different languages, or empty files.
    """
    for file in (hypotheses, references):
        if not file.rows:
            raise EvaluationError(f"{file.path} is empty; expected one line for each sentence")
    hypotheses = _select_language(hypotheses, references, target_language)
    for file in (hypotheses, references):
        raise_if_any(_duplicates(row.id for row in file.rows), file.path, "ids occur twice")
    direction, target = _languages(hypotheses, references, target_language)
    hypotheses = replace(hypotheses, rows=[_join_segments(row, target) for row in hypotheses.rows])
    splits = {reference.split for reference in references.rows}
    split = splits.pop() if len(splits) == 1 else None
    resegmentation: Resegmentation | None
    if resegment and sum(bool(row.sentences) for row in references.rows) <= 1:
        rows, resegmentation = divide_one_recording(hypotheses, references, target)
    else:
        rows, resegmentation = divide_recordings(_pairs(hypotheses, references), target)
    raise_if_any(_duplicates(row.id for _, row in rows), references.path, "ids occur twice")
    meta = hypotheses.meta | ({"resegmentation": resegmentation.as_json()} if resegmentation else {})
    return Records(hypotheses.path, references.path, direction, target, split, rows, meta, resegmentation)


def _pairs(hypotheses: Hypotheses, references: References) -> list[tuple[HypothesisRow, ReferenceRow]]:
    if hypotheses.has_ids and not references.has_ids:
        raise EvaluationError(
            f"{hypotheses.path} has ids, {references.path} has none; give the manifest as references, or plain text as "
            "hypotheses"
        )
    if hypotheses.has_ids:
        return _by_id(hypotheses, references)
    if hypotheses.has_names:
        return join_by_audio_name(hypotheses, references)
    if len(hypotheses.rows) != len(references.rows):
        raise EvaluationError(
            f"{hypotheses.path} has {len(hypotheses.rows):,} lines, {references.path} {len(references.rows):,}; "
            "expected one for each, with an empty line where a sentence failed (translate prints one line per segment "
            "for a single input; --format json keeps its text together); if the text is that of one recording, "
            "--resegment divides it among the references"
        )
    pairs = list(zip(hypotheses.rows, references.rows, strict=True))
    check_stated_references(hypotheses.path, pairs)
    return pairs


def _join_segments(row: HypothesisRow, target_language: str) -> HypothesisRow:
    """Join the segments of a clip, with spaces if the language has them between words."""
    if not row.segments:
        return row
    separator = "" if tokenizers(target_language)[0] == CHARACTERS else " "
    return replace(row, text=separator.join(text for text in row.segments if text), segments=())


def _select_language(hypotheses: Hypotheses, references: References, target_language: str | None) -> Hypotheses:
    """Select the hypotheses in the target language. Raises EvaluationError if there are several and none is given."""
    found = {primary_code(row.language): row.language for row in hypotheses.rows if row.language}
    if not found:
        return hypotheses
    if len(found) == 1:
        return replace(hypotheses, meta=hypotheses.meta | {"target_language": next(iter(found.values()))})
    targets = {
        primary_code(language) for row in references.rows if (language := target_language or row.target_language)
    }
    if len(targets) != 1 or not targets <= found.keys():
        listed = ", ".join(map(shorten, sorted(found)[:_SHOWN]))
        raise EvaluationError(
            f"{hypotheses.path} has several target languages ({listed}); add --target-language with "
            "one of them, and references in it"
        )
    rows = [row for row in hypotheses.rows if row.language and primary_code(row.language) in targets]
    return replace(hypotheses, rows=rows)


def _by_id(hypotheses: Hypotheses, references: References) -> list[tuple[HypothesisRow, ReferenceRow]]:
    found = {row.id: row for row in hypotheses.rows}
    expected = {row.id for row in references.rows}
    if not found.keys() & expected:
        raise EvaluationError(
            f"{hypotheses.path} and {references.path} have no id in common ({shorten(next(iter(found)))} against "
            f"{shorten(references.rows[0].id)}); they belong to different splits"
        )
    what = f"{hypotheses.path} does not fit {references.path}"
    missing = [row.id for row in references.rows if row.id not in found]
    extra = [row.id for row in hypotheses.rows if row.id not in expected]
    raise_if_any(missing, what, "ids have no hypothesis", "a clip that failed has an empty text and an error")
    raise_if_any(extra, what, "ids have no reference", "they belong to another split")
    return [(found[row.id], row) for row in references.rows]


def _languages(hypotheses: Hypotheses, references: References, target_language: str | None) -> tuple[str | None, str]:
    """Return direction and target language. Raises EvaluationError if there are several targets, or none."""
    pairs = {(row.source_language, row.target_language) for row in references.rows}
    if len(pairs) > 1:
        shown = ", ".join(sorted(shorten(f"{source}-{target}") for source, target in pairs)[:_SHOWN])
        raise EvaluationError(f"{references.path}: several directions ({shown}); expected one direction per manifest")
    [(source, target)] = pairs
    stated = {
        "the references": target,
        "--target-language": target_language,
        "the hypotheses": hypotheses.meta.get("target_language"),
    }
    known = {where: language for where, language in stated.items() if language}
    if not known:
        raise EvaluationError(f"{references.path} has no target language; add --target-language, such as de or zh")
    if len({primary_code(language) for language in known.values()}) > 1:
        listed = ", ".join(f"{shorten(language)} ({where})" for where, language in known.items())
        raise EvaluationError(f"{hypotheses.path}: target languages differ: {listed}; expected one")
    language = next(iter(known.values()))
    return (f"{primary_code(source)}-{primary_code(language)}" if source else None), language


def _duplicates(ids: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(ids).items() if count > 1]
