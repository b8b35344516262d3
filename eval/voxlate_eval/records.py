"""Hypotheses joined with their references; what does not fit together is refused.

They meet by id, by the audio file that they were made from, or line by line.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.hypothesis_files import read_hypotheses
from voxlate_eval.names import by_name
from voxlate_eval.policy import CHARACTERS, primary_code, tokenizers
from voxlate_eval.published import split_rows
from voxlate_eval.reference_files import read_references
from voxlate_eval.sentences import Hypotheses, Hypothesis, Reference, References
from voxlate_eval.strict_json import cut

__all__ = [
    "Hypotheses",
    "Hypothesis",
    "Records",
    "Reference",
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
    direction: str | None  # "fr-en", where the references say it
    target_language: str
    split: str | None
    rows: list[tuple[Hypothesis, Reference]]
    meta: dict[str, Any]

    @property
    def hypotheses(self) -> list[str]:
        """The texts to score; that of a clip that failed is empty."""
        return [hypothesis.text for hypothesis, _ in self.rows]

    @property
    def references(self) -> list[str]:
        """What they are compared with."""
        return [reference.target_text for _, reference in self.rows]

    @property
    def sources(self) -> list[str]:
        """Transcripts, empty where there is none."""
        return [reference.source_text or "" for _, reference in self.rows]

    @property
    def official_n(self) -> int | None:
        """How many rows the split has officially, where it is one of CoVoST-2."""
        synthetic = any("/spoken_" in reference.id for _, reference in self.rows[:1])
        return None if synthetic else split_rows(self.direction, self.split)


def join(hypotheses: Hypotheses, references: References, target_language: str | None = None) -> Records:
    """Join by id or by the names of audio files, or line by line where one of the two is plain text.

    EvaluationError where some are missing, too many, or there twice, where languages differ, or where nothing is left.
    """
    for file in (hypotheses, references):
        if not file.rows:
            raise EvaluationError(f"{file.path} is empty; expected one line for each sentence")
    hypotheses = _of_one_language(hypotheses, references, target_language)
    for file in (hypotheses, references):
        _refuse(file.path, "ids occur twice", _twice(row.id for row in file.rows))
    direction, target = _languages(hypotheses, references, target_language)
    hypotheses = replace(hypotheses, rows=[_whole(row, target) for row in hypotheses.rows])
    splits = {reference.split for reference in references.rows}
    split = splits.pop() if len(splits) == 1 else None
    rows = _pairs(hypotheses, references)
    return Records(hypotheses.path, references.path, direction, target, split, rows, hypotheses.meta)


def _pairs(hypotheses: Hypotheses, references: References) -> list[tuple[Hypothesis, Reference]]:
    if hypotheses.has_ids and not references.has_ids:
        raise EvaluationError(
            f"{hypotheses.path} has ids, {references.path} has none; give the manifest as references, or plain text as "
            "hypotheses"
        )
    if hypotheses.has_ids:
        return _by_id(hypotheses, references)
    if hypotheses.has_names:
        return by_name(hypotheses, references)
    if len(hypotheses.rows) != len(references.rows):
        raise EvaluationError(
            f"{hypotheses.path} has {len(hypotheses.rows):,} lines, {references.path} {len(references.rows):,}; "
            "expected one for each, with an empty line where a sentence failed (a line for each segment, as translate "
            "prints a single input, is not that: --format json keeps its text together)"
        )
    return list(zip(hypotheses.rows, references.rows, strict=True))


def _whole(row: Hypothesis, target_language: str) -> Hypothesis:
    """Join the segments of a clip, with spaces where the language puts them between words."""
    if not row.segments:
        return row
    joint = "" if tokenizers(target_language)[0] == CHARACTERS else " "
    return replace(row, text=joint.join(text for text in row.segments if text), segments=())


def _of_one_language(hypotheses: Hypotheses, references: References, asked: str | None) -> Hypotheses:
    """Take the hypotheses of the target language where a file has several; EvaluationError where that is not known."""
    found = {primary_code(row.language): row.language for row in hypotheses.rows if row.language}
    if not found:
        return hypotheses
    if len(found) == 1:
        return replace(hypotheses, meta=hypotheses.meta | {"target_language": next(iter(found.values()))})
    wanted = {primary_code(language) for row in references.rows if (language := asked or row.target_language)}
    if len(wanted) != 1 or not wanted <= found.keys():
        listed = ", ".join(map(cut, sorted(found)[:_SHOWN]))
        raise EvaluationError(
            f"{hypotheses.path} has several target languages ({listed}); add --target-language with "
            "one of them, and references in it"
        )
    rows = [row for row in hypotheses.rows if row.language and primary_code(row.language) in wanted]
    return replace(hypotheses, rows=rows)


def _by_id(hypotheses: Hypotheses, references: References) -> list[tuple[Hypothesis, Reference]]:
    found = {row.id: row for row in hypotheses.rows}
    wanted = {row.id for row in references.rows}
    if not found.keys() & wanted:
        raise EvaluationError(
            f"{hypotheses.path} and {references.path} have no id in common ({cut(next(iter(found)))} against "
            f"{cut(references.rows[0].id)}); they are not of one split"
        )
    what = f"{hypotheses.path} does not fit {references.path}"
    missing = [row.id for row in references.rows if row.id not in found]
    extra = [row.id for row in hypotheses.rows if row.id not in wanted]
    _refuse(what, "ids have no hypothesis", missing, "; a clip that failed has an empty text and an error")
    _refuse(what, "ids have no reference", extra, "; they are of another split")
    return [(found[row.id], row) for row in references.rows]


def _languages(hypotheses: Hypotheses, references: References, asked: str | None) -> tuple[str | None, str]:
    """Return direction and target language; EvaluationError where there are several, or none."""
    pairs = {(row.source_language, row.target_language) for row in references.rows}
    if len(pairs) > 1:
        shown = ", ".join(sorted(cut(f"{source}-{target}") for source, target in pairs)[:_SHOWN])
        raise EvaluationError(
            f"{references.path}: several directions ({shown}); expected one, in a manifest of its own"
        )
    [(source, target)] = pairs
    stated = {
        "the references": target,
        "--target-language": asked,
        "the hypotheses": hypotheses.meta.get("target_language"),
    }
    known = {where: language for where, language in stated.items() if language}
    if not known:
        raise EvaluationError(f"{references.path} names no target language; add --target-language, such as de or zh")
    if len({primary_code(language) for language in known.values()}) > 1:
        listed = ", ".join(f"{cut(language)} ({where})" for where, language in known.items())
        raise EvaluationError(f"{hypotheses.path}: target languages differ: {listed}; expected one")
    language = next(iter(known.values()))
    return (f"{primary_code(source)}-{primary_code(language)}" if source else None), language


def _refuse(where: Path | str, what: str, ids: Sequence[str], then: str = "") -> None:
    if ids:
        more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
        raise EvaluationError(f"{where}: {len(ids):,} {what}: {', '.join(map(cut, ids[:_SHOWN]))}{more}{then}")


def _twice(ids: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(ids).items() if count > 1]
