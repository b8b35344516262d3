"""Convert the rows of a table to the Arrow columns of a manifest. Values of the wrong type become null."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from voxlate.errors import short_repr
from voxlate.manifest.jsonl_blocks import jsonl_blocks, parse_block
from voxlate.manifest.table_files import Problems, Row, Table, describe_type
from voxlate.manifest.utterance import SENTENCES

TEXTS = (
    "id",
    "source_language",
    "target_language",
    "source_text",
    "target_text",
    "speaker",
    "split",
    "error",
)
_SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("audio", pa.string()),
        ("audio_bytes", pa.large_binary()),
        ("seconds", pa.float64()),
        *((name, pa.string()) for name in TEXTS),
        *((name, pa.list_(pa.string())) for name in SENTENCES.values()),
    ]
)
_LIST_IN_CELL = re.compile(r"""\s*\[\s*["'].*["']\s*\]\s*""", re.DOTALL)  # as pandas and json write one
_BATCH_ROWS, _BATCH_ROWS_WITH_AUDIO = 10_000, 500


def _checked_cells(table: Table, problems: Problems) -> Iterator[Row]:
    """Yield the rows of a tsv or csv file; report cells that hold a list, which would be scored as text."""
    for line, row in table:
        for name in SENTENCES:
            cell = row.get(name)
            if cell is not None and cell.lstrip().startswith("[") and _LIST_IN_CELL.fullmatch(cell):
                problems.add(
                    line,
                    f"{name} is a list ({short_repr(cell)}), which a {table.path.suffix} cannot hold; write the "
                    "sentences of a recording to a .jsonl or .parquet manifest",
                )
        yield line, row


def write_columns(path: Path, table: Table, problems: Problems) -> int:
    """Write the rows of a table to an Arrow stream; return the number of bytes of embedded audio.

    Values of the wrong type become null and are added to `problems`.
    """
    audio_bytes = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as stream:
        for columns in _batches(table, problems):
            audio_bytes += pc.sum(pc.binary_length(columns.column("audio_bytes"))).as_py() or 0
            stream.write_batch(columns)
    return audio_bytes


def _batches(table: Table, problems: Problems) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in batches. Plain blocks at the beginning of a jsonl file are read by Arrow."""
    suffix = table.path.suffix.lower()
    if suffix == ".jsonl" and not table.renamed:
        yield from _plain_blocks(table)
    rows = _checked_cells(table, problems) if suffix in (".tsv", ".csv") else iter(table)
    while batch := list(islice(rows, _BATCH_ROWS_WITH_AUDIO if suffix == ".parquet" else _BATCH_ROWS)):
        yield _to_arrow(batch, problems)


def _plain_blocks(table: Table) -> Iterator[pa.RecordBatch]:
    """Yield the blocks of a jsonl table that Arrow can read, up to the first that it cannot, which `table` reads."""
    with suppress(OSError), table.path.open("rb") as file:  # the table reports that a file cannot be read
        for block in jsonl_blocks(file):
            parsed = parse_block(block, _SCHEMA, table.lines_read + 1)
            if parsed is None:
                return
            columns, names = parsed
            table.columns.update(dict.fromkeys(names))
            table.skip(bytes_read=len(block), lines=columns.num_rows)
            yield columns


def _to_arrow(rows: list[Row], problems: Problems) -> pa.RecordBatch:
    """Convert rows to a batch of Arrow columns."""
    columns: dict[str, list[Any]] = {name: [row.get(name) for _, row in rows] for name in ("audio", "seconds", *TEXTS)}
    lines = columns["line"] = [line for line, _ in rows]
    columns |= {name: [None] * len(rows) for name in ("audio_bytes", *SENTENCES.values())}
    for i, audio in enumerate(columns["audio"]):
        if isinstance(audio, dict):
            columns["audio"][i], columns["audio_bytes"][i] = _path_and_bytes(audio, lines[i], problems)
        elif isinstance(audio, bytes):
            columns["audio"][i], columns["audio_bytes"][i] = None, audio
    for name in ("audio", *TEXTS):
        for i, value in enumerate(columns[name]):
            if value is not None and type(value) is not str:
                if type(value) is int and name in ("id", "speaker"):
                    columns[name][i] = str(value)
                elif type(value) is list and name in SENTENCES:
                    columns[name][i] = None
                    columns[SENTENCES[name]][i] = _sentences(name, value, lines[i], problems)
                else:
                    columns[name][i] = None
                    problems.add(lines[i], f"{name} is {describe_type(value)} ({short_repr(value)}), expected text")
    for i, value in enumerate(columns["seconds"]):
        if value is not None and type(value) is not float:
            columns["seconds"][i] = _number(value)
            if columns["seconds"][i] is None:
                problems.add(lines[i], f"seconds is {short_repr(value)}, expected a number")
    return pa.record_batch([pa.array(columns[field.name], field.type) for field in _SCHEMA], schema=_SCHEMA)


def _sentences(name: str, values: list[Any], line: int, problems: Problems) -> list[str] | None:
    """Return the sentences of a recording; report a list that is empty or has items without text."""
    for number, value in enumerate(values, 1):
        if not isinstance(value, str) or not value.strip():
            is_empty = value is None or isinstance(value, str)
            found = "empty" if is_empty else f"{describe_type(value)} ({short_repr(value)})"
            problems.add(line, f"{name} is a list whose item {number} is {found}, expected one sentence in each")
            return None
    if not values:
        problems.add(line, f"{name} is an empty list, expected the sentences of the recording")
    return values or None


def _path_and_bytes(audio: dict[str, Any], line: int, problems: Problems) -> tuple[Any, bytes | None]:
    """Return the path and the bytes of an audio struct; report values of the wrong type."""
    data = audio.get("bytes")
    if data is not None and type(data) is not bytes:
        problems.add(line, f"audio has bytes that are {describe_type(data)} ({short_repr(data)}), expected a path")
        data = b""
    elif data is None and audio.get("path") is None and audio:
        problems.add(line, f"audio is {short_repr(audio)}, expected a path")
        data = b""
    return audio.get("path"), data


def _number(value: object) -> float | None:
    """Return a value as a float, or None if it is not a number."""
    try:
        return float(value) if isinstance(value, (str, int, Real, Decimal)) and type(value) is not bool else None
    except (ValueError, OverflowError):
        return None
