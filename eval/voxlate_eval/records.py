"""Hypotheses joined with their references by id; what does not fit together is refused.

Hypotheses are JSON lines with id and text (and score, error), with a ``.meta.json`` beside them that says how they were
made, or plain text, line by line. References are a manifest in JSON lines, or plain text.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxlate_eval.errors import EvaluationError
from voxlate_eval.policy import primary_code
from voxlate_eval.published import split_rows

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a system said of one clip; `error` says why it said nothing."""

    id: str
    text: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """What a manifest says of one clip. Its text stays as it is, byte for byte."""

    id: str
    target_text: str
    source_text: str | None = None
    source_language: str | None = None
    target_language: str | None = None
    seconds: float | None = None
    speaker: str | None = None
    split: str | None = None
    audio: str | None = None  # a path, from the manifest's folder or absolute


@dataclass(frozen=True)
class Hypotheses:
    """A file of hypotheses; plain text has line numbers in place of ids."""

    path: Path
    rows: list[Hypothesis]
    has_ids: bool
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class References:
    """A file of references; plain text has line numbers in place of ids."""

    path: Path
    rows: list[Reference]
    has_ids: bool


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


def read_hypotheses(path: Path) -> Hypotheses:
    """Read hypotheses and what is known of their making. EvaluationError names lines that do not fit."""
    if path.suffix.lower() != ".jsonl":
        return Hypotheses(
            path, [Hypothesis(f"line {n}", text) for n, text in enumerate(_lines(path), 1)], has_ids=False
        )
    rows = []
    for line, record in _objects(path):
        _need(path, line, record, ("id", "text"))
        rows.append(Hypothesis(record["id"], record["text"], record.get("error") or None))
    meta = path.with_suffix(".meta.json")
    return Hypotheses(path, rows, has_ids=True, meta=_read_json(meta) if meta.is_file() else {})


def read_references(path: Path) -> References:
    """Read references. EvaluationError names lines that do not fit."""
    if path.suffix.lower() != ".jsonl":
        return References(path, [Reference(f"line {n}", text) for n, text in enumerate(_lines(path), 1)], has_ids=False)
    names = Reference.__slots__
    rows = []
    for line, record in _objects(path):
        _need(path, line, record, ("id", "target_text"))
        rows.append(Reference(**{name: record[name] for name in names if name in record}))
    return References(path, rows, has_ids=True)


def join(hypotheses: Hypotheses, references: References, target_language: str | None = None) -> Records:
    """Join by id, or line by line where one of the two is plain text.

    EvaluationError where ids are missing, too many, or there twice, where languages differ, or where nothing is left.
    """
    for file in (hypotheses, references):
        if not file.rows:
            raise EvaluationError(f"{file.path} is empty; expected one line for each sentence")
        _refuse(file.path, "ids are there twice", _twice(row.id for row in file.rows))
    if hypotheses.has_ids and not references.has_ids:
        raise EvaluationError(
            f"{hypotheses.path} has ids, {references.path} has none; give the manifest as references, or plain text as "
            "hypotheses"
        )
    if hypotheses.has_ids:
        rows = _by_id(hypotheses, references)
    elif len(hypotheses.rows) == len(references.rows):
        rows = list(zip(hypotheses.rows, references.rows, strict=True))
    else:
        raise EvaluationError(
            f"{hypotheses.path} has {len(hypotheses.rows):,} lines, {references.path} {len(references.rows):,}; "
            "expected one for each, with an empty line where a sentence failed"
        )
    direction, target = _languages(hypotheses, references, target_language)
    splits = {reference.split for reference in references.rows}
    split = splits.pop() if len(splits) == 1 else None
    return Records(hypotheses.path, references.path, direction, target, split, rows, hypotheses.meta)


def _by_id(hypotheses: Hypotheses, references: References) -> list[tuple[Hypothesis, Reference]]:
    found = {row.id: row for row in hypotheses.rows}
    wanted = {row.id for row in references.rows}
    if not found.keys() & wanted:
        raise EvaluationError(
            f"{hypotheses.path} and {references.path} have no id in common ({next(iter(found))} against "
            f"{references.rows[0].id}); they are not of one split"
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
        shown = ", ".join(sorted(f"{source}-{target}" for source, target in pairs)[:_SHOWN])
        raise EvaluationError(
            f"{references.path}: several directions ({shown}); expected one, in a manifest of its own"
        )
    [(source, target)] = pairs
    told = {
        "the references": target,
        "--target-language": asked,
        "the hypotheses": hypotheses.meta.get("target_language"),
    }
    known = {where: language for where, language in told.items() if language}
    if not known:
        raise EvaluationError(f"{references.path} names no target language; add --target-language, such as de or zh")
    if len({primary_code(language) for language in known.values()}) > 1:
        listed = ", ".join(f"{language} ({where})" for where, language in known.items())
        raise EvaluationError(f"{hypotheses.path}: target languages differ: {listed}; expected one")
    language = next(iter(known.values()))
    return (f"{primary_code(source)}-{primary_code(language)}" if source else None), language


def _refuse(where: Path | str, what: str, ids: Sequence[str], then: str = "") -> None:
    if ids:
        more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
        raise EvaluationError(f"{where}: {len(ids):,} {what}: {', '.join(ids[:_SHOWN])}{more}{then}")


def _twice(ids: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(ids).items() if count > 1]


def _lines(path: Path) -> list[str]:
    r"""Return the lines of a text; only \n ends one, and the last may do without."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: not UTF-8 (byte {error.start:,}); save it as UTF-8") from None
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read ({error.strerror})") from None
    lines = text.removeprefix("\ufeff").split("\n")
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def _objects(path: Path) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise EvaluationError(f"{path}:{number}: not JSON; expected one object on each line")
        found.append((number, record))
    return found


def _need(path: Path, line: int, record: dict[str, Any], names: tuple[str, ...]) -> None:
    wrong = [name for name in names if not isinstance(record.get(name), str)]
    if wrong:
        raise EvaluationError(
            f"{path}:{line}: no text {' and '.join(wrong)}; expected {', '.join(names)} in every line"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: cannot be read ({error}); delete it, or write it again") from None
    return found if isinstance(found, dict) else {}
