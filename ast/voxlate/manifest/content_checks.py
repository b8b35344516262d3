"""Check the contents of a manifest, column by column."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from voxlate.errors import VoxlateError, short_repr
from voxlate.languages import find_language, look_up_language
from voxlate.manifest.audio_paths import ManifestFolder
from voxlate.manifest.column_names import closest, join_names
from voxlate.manifest.table_files import Problems
from voxlate.manifest.utterance import SENTENCES

_SUGGESTIONS = 20  # each takes a millisecond
_LONGEST_LANGUAGE, _LONGEST_PATH = 60, 250  # characters


def check(
    table: pa.Table,
    columns: Sequence[str],
    needed: Sequence[str],
    problems: Problems,
    folder: ManifestFolder | None,
    portable: bool,
    splits: Sequence[str] | None = None,
    recordings: bool = False,
) -> None:
    """Add the problems of a table's rows to `problems`.

    Args:
        table: The rows as Arrow columns, with their line numbers in the column `line`.
        columns: Names of the columns in the file.
        needed: Columns that must exist and contain a value in every row.
        problems: Receives the problems.
        folder: The manifest's folder, if all audio files must exist.
        portable: Whether to refuse audio paths outside the manifest's folder.
        splits: Allowed values of the column `split`; None allows any.
        recordings: Whether texts may be lists of the sentences of a recording.
    """
    if not table.num_rows and not problems.entries:
        problems.add(0, "contains no utterances")
    if not columns:
        return
    lines = table.column("line").to_numpy()
    has_no_error = pc.is_null(table.column("error"))

    known_names = [*table.column_names, "audio"]
    # Values of the wrong type became null. Only their type is reported, not that they are empty.
    reported = {(line, text.partition(" ")[0]) for line, text in problems.entries}

    def report(name: str, mask: Any, problem: Callable[[int], str]) -> None:
        for row in np.flatnonzero(pc.fill_null(mask, False).to_numpy()):
            if (int(lines[row]), name) not in reported:
                reported.add((int(lines[row]), name))
                problems.add(int(lines[row]), problem(int(row)))

    for name in needed:
        if name not in columns:
            problems.add(0, _missing_column_problem(name, columns, known_names))
        else:
            required = pc.or_(has_no_error, name == "id")
            report(name, pc.and_(_is_blank(table, name), required), lambda _, name=name: f"{name} is empty")  # type: ignore[misc]
    seconds = table.column("seconds")
    valid = pc.and_(pc.is_finite(seconds), pc.greater_equal(seconds, 0.0))
    report("seconds", pc.invert(valid), lambda row: f"seconds is {seconds[row].as_py()}, expected 0 or more")
    for name in ("source_language", "target_language"):
        column = table.column(name)
        unknown = _unknown_languages(pc.unique(column).to_pylist())
        is_unknown = pc.is_in(column, value_set=pa.array(list(unknown), pa.string()))
        report(name, is_unknown, partial(_language_problem, name, column, unknown))
    if splits is not None:
        names = table.column("split")
        other = pc.and_(pc.is_valid(names), pc.invert(pc.is_in(names, value_set=pa.array(splits, pa.string()))))
        report("split", other, lambda row: f"split is {short_repr(names[row].as_py())}, expected {', '.join(splits)}")
    if recordings:
        report("source_text", _differ(table), lambda row: _difference(table.slice(row, 1)))
    else:
        for name, field in SENTENCES.items():
            sentences = table.column(field)
            problem = partial(_recording_problem, name, sentences)
            report(name, pc.is_valid(sentences), problem)
    _check_ids(table.column("id"), lines, problems)
    if folder is not None or portable:
        _check_audio(table, lines, problems, folder, portable)


def _missing_column_problem(name: str, columns: Sequence[str], excluded: Sequence[str]) -> str:
    close = closest(name, columns, excluded)
    hint = f"is it {close[:50]!r}? rename that column" if close else f"its columns: {join_names(columns)}"
    return f"no column {name!r}; {hint}"


def _is_blank(table: pa.Table, name: str) -> Any:
    """Return a mask of the rows in which a column is null or whitespace."""
    missing = pc.is_null(table.column(name))
    if name == "audio":
        return pc.and_(missing, pc.is_null(table.column("audio_bytes")))
    if name == "seconds":
        return missing
    if name in SENTENCES:
        missing = pc.and_(missing, pc.is_null(table.column(SENTENCES[name])))
        return pc.or_(missing, pc.equal(pc.utf8_trim_whitespace(pc.fill_null(table.column(name), "-")), ""))
    return pc.or_(missing, pc.equal(pc.utf8_trim_whitespace(pc.fill_null(table.column(name), "")), ""))


def _recording_problem(name: str, sentences: pa.ChunkedArray, row: int) -> str:
    return (
        f"{name} is a list of {len(sentences[row])} sentences, a recording for voxlate evaluate and score; "
        "expected a clip with one text: cut the recording into its sentences, or leave the row out"
    )


def _differ(table: pa.Table) -> Any:
    """Return a mask of the rows whose source and target texts are not both one text or lists of the same length."""
    kinds = []
    for name, field in SENTENCES.items():
        count = pc.fill_null(pc.list_value_length(table.column(field)), -1)  # -1: one text or none
        kinds.append((count, pc.or_(pc.is_valid(table.column(name)), pc.greater_equal(count, 0))))
    (source, has_source), (target, has_target) = kinds
    return pc.and_(pc.and_(has_source, has_target), pc.not_equal(source, target))


def _difference(row: pa.Table) -> str:
    source, target = (row.column(field)[0].as_py() for field in SENTENCES.values())
    shown = ["one text" if sentences is None else f"a list of {len(sentences)}" for sentences in (source, target)]
    return f"source_text is {shown[0]}, target_text {shown[1]}; expected as many sentences in both, or no source_text"


def _language_problem(name: str, column: pa.ChunkedArray, unknown: dict[str, str], row: int) -> str:
    return f"{name}: {unknown[column[row].as_py()]}"


def _unknown_languages(names: Sequence[str | None]) -> dict[str, str]:
    """Return a message for each unknown language, with suggestions for the first ones."""
    unknown: dict[str, str] = {}
    for name in names:
        if name is None or look_up_language(name) is not None:
            continue
        unknown[name] = f"unknown language {short_repr(name)}"
        if len(unknown) <= _SUGGESTIONS and len(name) <= _LONGEST_LANGUAGE:
            try:
                find_language(name)
            except VoxlateError as error:
                unknown[name] = str(error)
    return unknown


def _check_ids(column: pa.ChunkedArray, lines: Any, problems: Problems) -> None:
    if pc.count_distinct(column).as_py() == len(column) - column.null_count:
        return
    first: dict[str, int] = {}
    for line, name in zip(lines.tolist(), column.to_pylist(), strict=True):
        if name is not None and first.setdefault(name, line) != line:
            problems.add(line, f"id {short_repr(name)} occurs twice, first in {problems.unit} {first[name]}")


def _check_audio(
    table: pa.Table, lines: Any, problems: Problems, folder: ManifestFolder | None, portable: bool
) -> None:
    is_file = pc.and_(pc.is_null(table.column("audio_bytes")), pc.is_valid(table.column("audio")))
    rows = np.flatnonzero(is_file.to_numpy())
    names = table.column("audio").take(pa.array(rows)).to_pylist()
    failed = pc.is_valid(table.column("error")).to_numpy()
    for row, name in zip(rows.tolist(), names, strict=True):
        if portable and (name.startswith("/") or (".." in name and os.path.normpath(name).startswith(".."))):
            problems.add(int(lines[row]), f"audio {short_repr(name)} is outside the manifest's folder")
        elif folder is not None and not failed[row] and not os.path.isfile(path := folder.absolute(name)):  # noqa: PTH113
            problems.add(int(lines[row]), f"audio {short_repr(name)} not found (looked for {_printable(path)})")


def _printable(path: str) -> str:
    """Return a path for a message: on one line, in UTF-8, and shortened if it is too long to be useful."""
    text = path if path.isprintable() else path.encode("unicode_escape", "surrogateescape").decode("ascii", "replace")
    return text if len(text) <= _LONGEST_PATH else f"{text[:_LONGEST_PATH]}…"
