"""What can be wrong with the contents of a manifest, found in whole columns at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from voxlate.errors import VoxlateError, shown
from voxlate.languages import find_language, look_up_language
from voxlate.manifest.column_names import closest, listed
from voxlate.manifest.table_files import Problems

_SUGGESTIONS = 20  # each takes a millisecond
_LONGEST_LANGUAGE, _LONGEST_PATH = 60, 250  # characters


class Folder(Protocol):
    """Where the files of a manifest lie."""

    def absolute(self, name: str) -> str:
        """Return the absolute path of a file."""


def check(
    table: pa.Table,
    columns: Sequence[str],
    needed: Sequence[str],
    problems: Problems,
    folder: Folder | None,
    portable: bool,
    splits: Sequence[str] | None = None,
) -> None:
    """Add to `problems` what is wrong with the rows of a table. `columns` are the names that its file has.

    `folder` is given if the audio files must be there; `portable` refuses paths that lead out of it; `splits` are those
    that there may be.
    """
    if not table.num_rows and not problems.found:
        problems.add(0, "holds no utterances")
    if not columns:
        return
    lines = table.column("line").to_numpy()
    whole = pc.is_null(table.column("error"))

    known_names = [*table.column_names, "audio"]
    known = {(line, text.partition(" ")[0]) for line, text in problems.found}  # a value of the wrong kind is not empty

    def report(name: str, mask: Any, problem: Callable[[int], str]) -> None:
        for row in np.flatnonzero(pc.fill_null(mask, False).to_numpy()):
            if (int(lines[row]), name) not in known:
                known.add((int(lines[row]), name))
                problems.add(int(lines[row]), problem(int(row)))

    for name in needed:
        if name not in columns:
            problems.add(0, _no_column(name, columns, known_names))
        else:
            wanted = pc.or_(whole, name == "id")
            report(name, pc.and_(_blank(table, name), wanted), lambda _, name=name: f"{name} is empty")  # type: ignore[misc]
    seconds = table.column("seconds")
    usual = pc.and_(pc.is_finite(seconds), pc.greater_equal(seconds, 0.0))
    report("seconds", pc.invert(usual), lambda row: f"seconds is {seconds[row].as_py()}, expected 0 or more")
    for name in ("source_language", "target_language"):
        column = table.column(name)
        unknown = _unknown_languages(pc.unique(column).to_pylist())
        wrong = pc.is_in(column, value_set=pa.array(list(unknown), pa.string()))
        report(name, wrong, partial(_language_problem, name, column, unknown))
    if splits is not None:
        names = table.column("split")
        other = pc.and_(pc.is_valid(names), pc.invert(pc.is_in(names, value_set=pa.array(splits, pa.string()))))
        report("split", other, lambda row: f"split is {shown(names[row].as_py())}, expected {', '.join(splits)}")
    _check_ids(table.column("id"), lines, problems)
    if folder is not None or portable:
        _check_audio(table, lines, problems, folder, portable)


def _no_column(name: str, columns: Sequence[str], known: Sequence[str]) -> str:
    close = closest(name, columns, known)
    hint = f"is it {close[:50]!r}? rename that column" if close else f"its columns: {listed(columns)}"
    return f"no column {name!r}; {hint}"


def _blank(table: pa.Table, name: str) -> Any:
    missing = pc.is_null(table.column(name))
    if name == "audio":
        return pc.and_(missing, pc.is_null(table.column("audio_bytes")))
    if name == "seconds":
        return missing
    return pc.or_(missing, pc.equal(pc.utf8_trim_whitespace(pc.fill_null(table.column(name), "")), ""))


def _language_problem(name: str, column: pa.ChunkedArray, unknown: dict[str, str], row: int) -> str:
    return f"{name}: {unknown[column[row].as_py()]}"


def _unknown_languages(names: Sequence[str | None]) -> dict[str, str]:
    """Return what is wrong with each name that is no language, with suggestions for the first ones."""
    unknown: dict[str, str] = {}
    for name in names:
        if name is None or look_up_language(name) is not None:
            continue
        unknown[name] = f"unknown language {shown(name)}"
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
            problems.add(line, f"id {shown(name)} occurs twice, first in {problems.unit} {first[name]}")


def _check_audio(table: pa.Table, lines: Any, problems: Problems, folder: Folder | None, portable: bool) -> None:
    outside = pc.and_(pc.is_null(table.column("audio_bytes")), pc.is_valid(table.column("audio")))
    rows = np.flatnonzero(outside.to_numpy())
    names = table.column("audio").take(pa.array(rows)).to_pylist()
    failed = pc.is_valid(table.column("error")).to_numpy()
    for row, name in zip(rows.tolist(), names, strict=True):
        if portable and (name.startswith("/") or (".." in name and os.path.normpath(name).startswith(".."))):
            problems.add(int(lines[row]), f"audio {shown(name)} leads out of the manifest's folder")
        elif folder is not None and not failed[row] and not os.path.isfile(path := folder.absolute(name)):  # noqa: PTH113
            problems.add(int(lines[row]), f"audio {shown(name)} not found (looked for {_printable(path)})")


def _printable(path: str) -> str:
    """Return a path for a message: on one line, in UTF-8, and not longer than any path can be of use there."""
    text = path if path.isprintable() else path.encode("unicode_escape", "surrogateescape").decode("ascii", "replace")
    return text if len(text) <= _LONGEST_PATH else f"{text[:_LONGEST_PATH]}…"
