"""Reading hypotheses: JSON lines with ids, results of `translate`, plain text, and layouts of other projects."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.foreign_outputs import is_sample, is_seamless_header, read_sample, read_seamless
from voxlate_eval.rows import Hypotheses, HypothesisRow
from voxlate_eval.score_files import as_recipe, read_recipe
from voxlate_eval.strict_json import as_lines, parse_objects, read_text, shorten, type_name

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
_JOURNAL = ".voxlate.jsonl"  # where translate records the input of each result in a folder
_SUBTITLES = re.compile(r"WEBVTT|\d+\s*\n[\d:,. ]+-->")
_RESULT = re.compile(r"(?P<name>.+)\.(?P<language>[A-Za-z-]+)\.(json|tsv|txt)", re.DOTALL)  # AUDIO.LANGUAGE.FORMAT
_LANGUAGE = re.compile(r"[a-z]{2,8}(-\w+)*")
_REMEDY = "--format json keeps the text of each input together"


def read_hypotheses(path: Path) -> Hypotheses:
    """Read a file of hypotheses with its metadata, or a folder written by `voxlate translate --output-dir`.

    Raises EvaluationError with the path and line of invalid content.
    """
    if path.is_dir():
        return _read_folder(path)
    found = _parse(path, read_text(path))
    meta = path.with_suffix(".meta.json")
    return Hypotheses(path, found.rows, True, read_recipe(meta)) if found.has_ids and meta.is_file() else found


def hypotheses_of_table(path: Path, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Hypotheses:
    """Return the hypotheses of a table's rows and line numbers. Its columns are text, and id or audio.

    For results of `voxlate translate`, the segments of an input are joined and lower-ranked hypotheses are dropped.
    """
    by_id: list[HypothesisRow] = []
    segments: dict[tuple[str, str | None], list[str]] = {}
    for line, row in rows:
        text = _text(path, line, "text", row.get("text") or "")
        if row.get("id") is not None:
            by_id.append(HypothesisRow(_id(path, line, row["id"]), text, row.get("error") or None))
            continue
        name = _text(path, line, "audio", row.get("audio"))
        rank = str(row.get("rank") or "1")
        if not rank.isdecimal():
            raise EvaluationError(f"{path}:{line}: rank is {shorten(rank)!r}, expected a number from 1")
        if int(rank) == 1:
            language = row.get("language") or row.get("target_language") or None
            segments.setdefault((name, language), []).append(text)
    if by_id and segments:
        raise EvaluationError(f"{path}: some rows have an id, others none; expected one in each")
    named = [HypothesisRow(name, "", None, language, tuple(found)) for (name, language), found in segments.items()]
    return Hypotheses(path, by_id or named, has_ids=bool(by_id), has_names=bool(named))


def is_table(columns: Iterable[str]) -> bool:
    """Return whether these columns are those of a table of hypotheses."""
    return "text" in (known := {*columns}) and bool(known & {"id", "audio"})


def looks_like_objects(text: str) -> bool:
    """Return whether a text begins with a JSON object, whatever the suffix of the file."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        return next(parse_objects(Path(), text), None) is not None
    except EvaluationError:
        return False


def _parse(path: Path, text: str) -> Hypotheses:
    suffix = path.suffix.lower()
    if suffix in JSON_SUFFIXES or looks_like_objects(text):
        return _of_objects(path, text)
    lines = as_lines(text)
    if is_table(header := lines[0].split("\t") if lines else []):
        return hypotheses_of_table(path, _cells(path, header, lines))
    if is_seamless_header(header):
        return read_seamless(path, _cells(path, header, lines))
    if suffix in (".srt", ".vtt", ".ass") or _SUBTITLES.match(text.lstrip()):
        raise EvaluationError(
            f"{path}: subtitles, whose cues are not sentences; use --subtitles, or score another format: {_REMEDY}"
        )
    return _of_lines(path, lines)


def _of_objects(path: Path, text: str) -> Hypotheses:
    rows: list[HypothesisRow] = []
    named = 0
    recipes: list[Any] = []
    for line, record in parse_objects(path, text):
        if is_sample(record):
            named += 1
            recipes.append(None)
            rows.append(read_sample(path, line, record))
        elif "id" in record or "audio" not in record:
            text_of_row = _text(path, line, "text", record.get("text"))
            error = None if record.get("error") is None else _text(path, line, "error", record["error"]) or None
            rows.append(HypothesisRow(_id(path, line, record.get("id")), text_of_row, error))
        else:
            named += 1
            recipes.append(record.get("recipe"))
            rows.append(_of_result(path, line, record))
    if named and named < len(rows):
        raise EvaluationError(f"{path}: some rows have an id, others only audio; expected an id in each")
    shared = recipes[0] if recipes and all(recipe == recipes[0] for recipe in recipes) else None
    meta = as_recipe(path, shared) if isinstance(shared, dict) else {}
    return Hypotheses(path, rows, has_ids=not named, meta=meta, has_names=bool(named))


def _of_result(path: Path, line: int, record: Mapping[str, Any]) -> HypothesisRow:
    language = record.get("target_language")
    return HypothesisRow(
        _text(path, line, "audio", record["audio"]),
        _text(path, line, "text", record.get("text")),
        language=None if language is None else _text(path, line, "target_language", language),
    )


def _cells(path: Path, header: list[str], lines: list[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise EvaluationError(f"{path}:{number}: {len(cells)} columns, expected {len(header)} as in the first line")
        yield number, dict(zip(header, cells, strict=True))


def _of_lines(path: Path, lines: list[str]) -> Hypotheses:
    """Parse one hypothesis per line, or the output of `voxlate translate` for several inputs: NAME, tab, TEXT.

    With several target languages, LANGUAGE is a column between the two.
    """
    with_tab = [number for number, line in enumerate(lines, 1) if "\t" in line]
    if not with_tab:
        rows = [HypothesisRow(f"line {number}", line) for number, line in enumerate(lines, 1)]
        return Hypotheses(path, rows, has_ids=False)
    cells = [line.split("\t") for line in lines]
    if all(len(row) == 3 and _LANGUAGE.fullmatch(row[1]) for row in cells):
        named = [HypothesisRow(name, text, language=language) for name, language, text in cells]
        return Hypotheses(path, named, has_ids=False, has_names=True)
    if any(len(row) != 2 or not row[0].strip() for row in cells):
        raise EvaluationError(
            f"{path}:{with_tab[0]}: holds a tab; expected one hypothesis on each line, or NAME, tab, TEXT on each; "
            "give JSON lines with id and text, or spaces for tabs"
        )
    return Hypotheses(path, [HypothesisRow(name, text) for name, text in cells], has_ids=False, has_names=True)


def _read_folder(folder: Path) -> Hypotheses:
    """Read results with one file per input: JSON if there is any, else TSV, else text with one segment per line."""
    files = sorted(path for path in folder.rglob("*.*.*") if path.is_file())
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    for suffix in (".json", ".tsv", ".txt"):
        results = [(path, found) for path in files if path.suffix == suffix and (found := _RESULT.fullmatch(path.name))]
        if results:
            inputs = _read_journal(folder / _JOURNAL)
            rows = [row for path, found in results for row in _results(folder, path, found, inputs)]
            return Hypotheses(folder, rows, has_ids=False, has_names=True)
    raise EvaluationError(
        f"{folder}: no AUDIO.LANGUAGE.json, .tsv or .txt; expected a file of hypotheses, or a folder that voxlate "
        "translate --output-dir wrote"
    )


def _read_journal(path: Path) -> dict[str, str]:
    """Return the input of each result in a folder. Missing or invalid entries are skipped."""
    inputs: dict[str, str] = {}
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    for line in lines:
        with suppress(ValueError):  # an EvaluationError is one
            for _, row in parse_objects(path, line.decode("utf-8")):
                if isinstance(row.get("place"), str) and isinstance(row.get("input"), str):
                    inputs[row["place"]] = row["input"]
    return inputs


def _results(folder: Path, path: Path, name: re.Match[str], inputs: Mapping[str, str]) -> Iterator[HypothesisRow]:
    text = read_text(path)
    language = None if name["language"] == "transcript" else name["language"]
    if path.suffix == ".txt":
        audio = (path.parent / name["name"]).relative_to(folder).as_posix()
        yield HypothesisRow(inputs.get(audio, audio), "", language=language, segments=tuple(as_lines(text)))
        return
    found = _parse(path, text)
    if found.rows and not found.has_names:
        raise EvaluationError(f"{path}: not a result of voxlate translate; expected one, with audio and text")
    for row in found.rows:
        yield row if path.suffix == ".json" else replace(row, language=row.language or language)


def _text(path: Path, line: int, name: str, value: object) -> str:
    if value is None:
        raise EvaluationError(f"{path}:{line}: {name} is missing; expected id and text in every line")
    if not isinstance(value, str):
        raise EvaluationError(f"{path}:{line}: {name} is {type_name(value)}, expected text")
    return value


def _id(path: Path, line: int, value: object) -> str:
    return str(value) if type(value) is int else _text(path, line, "id", value)
