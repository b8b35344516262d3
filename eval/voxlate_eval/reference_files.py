"""Reading references: a manifest in JSON lines, or plain text."""

import json
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.hypothesis_files import JSON_SUFFIXES, looks_like_objects
from voxlate_eval.rows import ReferenceRow, References
from voxlate_eval.strict_json import as_lines, is_number, parse_objects, read_text, shorten, type_name

_LISTS = {"target_text": "sentences", "source_text": "source_sentences"}
_TEXTS = ("source_text", "source_language", "target_language", "speaker", "split", "audio")


def read_references(path: Path) -> References:
    """Read references. Raises EvaluationError with the path and line of invalid content."""
    text = read_text(path)
    if path.suffix.lower() in JSON_SUFFIXES or looks_like_objects(text):
        rows = [_reference(path, line, record) for line, record in parse_objects(path, text)]
        return References(path, rows, has_ids=True)
    lines = as_lines(text)
    if lines and all("\t" in line for line in lines):
        raise EvaluationError(
            f"{path}: a tab in every line, as in a table; expected references alone, one on each line, or a manifest "
            "(.jsonl, .tsv, .csv, .parquet) with id and target_text"
        )
    return References(path, [ReferenceRow(f"line {n}", line) for n, line in enumerate(lines, 1)], has_ids=False)


def _reference(path: Path, line: int, record: dict[str, Any]) -> ReferenceRow:
    """Validate a row of a manifest. Ids and speakers may be integers, which become text."""
    values: dict[str, Any] = {}
    lists = {field: _sentences(path, line, name, record) for name, field in _LISTS.items()}
    counts = [len(lists[field]) for field in _LISTS.values()]
    if counts[0] != counts[1] and None not in (record.get("source_text"), record.get("target_text")):
        target, source = (f"a list of {count}" if count else "one text" for count in counts)
        raise EvaluationError(
            f"{path}:{line}: source_text is {source}, target_text {target}; expected as many sentences in both, or no "
            "source_text"
        )
    record = record | {name: "" if name == "target_text" else None for name, field in _LISTS.items() if lists[field]}
    for name in ("id", "target_text", *_TEXTS):
        value = record.get(name)
        if name in ("id", "speaker") and type(value) is int:
            value = str(value)
        if value is None and name in ("id", "target_text"):
            raise EvaluationError(f"{path}:{line}: {name} is missing; expected id and target_text in every line")
        if value is not None and not isinstance(value, str):
            raise EvaluationError(f"{path}:{line}: {name} is {type_name(value)}, expected text")
        values[name] = value
    seconds = record.get("seconds")
    if seconds is not None and not is_number(seconds):
        raise EvaluationError(f"{path}:{line}: seconds is {shorten(json.dumps(seconds))}, expected a number")
    return ReferenceRow(**values | lists, seconds=None if seconds is None else float(seconds))


def _sentences(path: Path, line: int, name: str, record: dict[str, Any]) -> tuple[str, ...]:
    """Return the sentences of a recording; () if the column has one text or none."""
    value = record.get(name)
    if not isinstance(value, list):
        return ()
    number = next((number for number, item in enumerate(value, 1) if not (isinstance(item, str) and item.strip())), 0)
    if number or not value:
        item = value[number - 1] if value else ""
        found = f"item {number}" if value else "it"
        kind = "empty" if isinstance(item, str) else type_name(item)
        raise EvaluationError(
            f"{path}:{line}: {name} is a list, but {found} is {kind}; expected one sentence in each item"
        )
    return tuple(value)
