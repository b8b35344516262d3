"""Read the rows of jsonl, tsv, csv and parquet files with their line numbers, and collect their problems.

No types are guessed: a cell of a tsv or csv file is text, even if it reads "NA", "null", "00123" or "1e5", and an
empty cell is None. In a tsv file every quotation mark is text, and a file whose cells were quoted by a CSV writer is
refused. A csv file follows RFC 4180.
"""

import csv
import json
import logging
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from voxlate.errors import VoxlateError, short_repr
from voxlate.files import special_file_kind
from voxlate.manifest.quoting import IN_CSV, IN_TSV, Quoting, header_problem
from voxlate.manifest.utterance import SENTENCES

Row: TypeAlias = tuple[int, dict[str, Any]]
Rows: TypeAlias = Generator[Row, None, None]

LONGEST_LINE_BYTES = 64 << 20
_SHOWN, _SHOWN_PER_KIND = 20, 3
_LONGEST_PROBLEM = 500  # characters
_PARQUET_ROWS = 500  # read at a time: they can hold audio
_CSV_HINTS = {
    "expected after": "quotes in a quoted cell are doubled",
    "unexpected end": "quotes in a quoted cell are doubled, and one more ends it",
    "new-line": "expected lines that end with \\n or \\r\\n",
}
_LOG = logging.getLogger(__name__)


@dataclass
class Problems:
    """The problems of a file with their line numbers (0 for the file itself), reported together."""

    file: str
    unit: str = "line"
    entries: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # warnings that do not prevent reading

    def add(self, line: int, problem: str) -> None:
        """Add a problem, truncated if it is long."""
        if len(problem) > _LONGEST_PROBLEM:
            problem = f"{problem[:_LONGEST_PROBLEM]}…"
        self.entries.append((line, problem))

    def raise_any(self) -> None:
        """Log the notes. VoxlateError if there are problems: it lists a few of each kind and counts the rest."""
        for note in self.notes:
            _LOG.warning("%s: %s", self.file, note)
        self.notes.clear()
        if not self.entries:
            return
        texts = [f"{self.unit} {line}: {text}" if line else text for line, text in self._select_shown()]
        if len(self.entries) == 1:
            raise VoxlateError(f"{self.file}: {texts[0]}")
        more = [f"… and {len(self.entries) - len(texts):,} more"] if len(self.entries) > len(texts) else []
        raise VoxlateError("\n  ".join([f"{self.file}: {len(self.entries):,} problems", *texts, *more]))

    def _select_shown(self) -> list[tuple[int, str]]:
        """Return the problems to show, by line: a few of each kind, then others.

        Problems that differ only in quoted values and numbers are of one kind.
        """
        ordered = sorted(self.entries)
        kinds: dict[str, list[int]] = {}
        for index, (_, text) in enumerate(ordered):
            kinds.setdefault(re.sub(r"'[^']*'|\d+|\([^)]*\)", "", text), []).append(index)
        chosen = {index for indices in kinds.values() for index in indices[:_SHOWN_PER_KIND]}
        room = max(_SHOWN, min(len(chosen), 2 * _SHOWN))
        others = (index for index in range(len(ordered)) if index not in chosen)
        shown = sorted([*sorted(chosen)[:room], *islice(others, max(0, room - len(chosen)))])
        return [ordered[index] for index in shown]


class Table:
    """The rows of a file, read on iteration; `columns` collects the column names meanwhile.

    Only the columns in `needed` are read from a parquet file, and all columns from the other formats. `renamed` maps
    names to the columns that are read under these names. VoxlateError if the format is unknown or the file cannot be
    read.
    """

    def __init__(
        self, path: Path, needed: Sequence[str], problems: Problems, renamed: Mapping[str, str] | None = None
    ) -> None:
        check_regular(path)
        if path.suffix.lower() not in _READERS:
            kinds = ", ".join(sorted(_READERS))
            raise VoxlateError(
                f"{path}: unknown kind of table {path.suffix or path.name!r}; expected {kinds}; if it is one of these, "
                "rename it"
            )
        self.renamed = dict(renamed or {})
        self.path, self.needed, self.problems = path, (*needed, *self.renamed.values()), problems
        self.columns: dict[str, None] = {}
        self.bytes_read = self.lines_read = 0  # by another reader; iteration begins after them
        problems.unit = "row" if path.suffix.lower() == ".parquet" else "line"

    def __iter__(self) -> Iterator[Row]:
        try:
            with self.path.open("rb") as file, closing(_READERS[self.path.suffix.lower()](self, file)) as rows:
                file.seek(self.bytes_read)
                for line, row in rows:
                    if self.renamed:
                        row |= {name: row.get(column) for name, column in self.renamed.items()}
                    yield line, row
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise VoxlateError(f"{self.path}: cannot be read ({error.strerror})") from None

    def skip(self, *, bytes_read: int, lines: int) -> None:
        """Note that another reader has read the next lines."""
        self.bytes_read, self.lines_read = self.bytes_read + bytes_read, self.lines_read + lines

    def names(self) -> list[str]:
        """Return the columns under the names by which they are read."""
        others = [name for name in self.columns if name not in (*self.renamed, *self.renamed.values())]
        return [*(name for name, column in self.renamed.items() if column in self.columns), *others]

    def header(self, cells: Sequence[str]) -> None:
        """Set the columns from the cells of the first line."""
        self.columns = dict.fromkeys(cells)
        for name in self.columns:
            if cells.count(name) > 1:
                self.problems.add(1, f"column {short_repr(name)} occurs {cells.count(name)} times")


def check_regular(path: Path) -> None:
    """Raise VoxlateError for a folder, a pipe or a device: it may have no rows or no end, or be readable only once."""
    if kind := special_file_kind(path):
        raise VoxlateError(f"{path}: {kind}, expected a regular file ending in {', '.join(sorted(_READERS))}")


def text_lines(
    file: BinaryIO, problems: Problems, *, has_header: bool = True, lines_read: int = 0
) -> Iterator[tuple[int, str]]:
    r"""Yield the decoded lines of a file with their line ends. Only \n ends a line; U+2028 and the like are text.

    Lines that cannot be decoded are problems. If that happens to the header line (with `has_header`), reading stops.
    """
    for line, raw in enumerate(iter(partial(file.readline, LONGEST_LINE_BYTES), b""), lines_read + 1):
        if len(raw) == LONGEST_LINE_BYTES:
            problems.add(line, f"is longer than {LONGEST_LINE_BYTES >> 20} MiB; does its suffix match its format?")
            return
        if line == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                width = 32 if raw.startswith(b"\xff\xfe\0\0") else 16
                problems.add(0, f"is UTF-{width}, expected UTF-8; save it as UTF-8")
                return
            raw = raw.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
        try:
            yield line, raw.decode()
        except UnicodeDecodeError as error:
            byte = f"byte 0x{raw[error.start]:02X}, number {error.start + 1:,} of the line"
            problems.add(line, f"not UTF-8 ({byte}); save the file as UTF-8")
            if line == 1 and has_header:
                return


def tsv_rows(table: Table, file: BinaryIO) -> Rows:
    """Yield the rows of a TSV file: lines split at tabs, in which quotation marks are text."""
    header: list[str] = []
    quoting, apostrophes = Quoting(), Quoting("'")
    for line, text in text_lines(file, table.problems):
        text = text.removesuffix("\n").removesuffix("\r")  # noqa: PLW2901
        if not text:
            continue
        cells = text.split("\t")
        if not header:
            if problem := header_problem(text, "\t"):
                table.problems.add(line, problem)
                return
            header = cells
            table.header(header)
        elif len(cells) != len(header):
            hint = "; in a .tsv, a cell in quotation marks cannot contain a tab or a line end" if '"' in text else ""
            table.problems.add(line, f"{len(cells)} columns, expected {len(header)} as in the first line{hint}")
        else:
            if '"' in text:
                quoting.add(line, cells)
            if "'" in text and not apostrophes.is_text:
                apostrophes.add(line, cells)
            yield line, {name: cell or None for name, cell in zip(header, cells, strict=True)}
    problem_at_line = quoting.problem(IN_TSV) or apostrophes.problem(IN_TSV)
    if problem_at_line is not None:
        table.problems.add(*problem_at_line)
    elif note := quoting.note():
        table.problems.notes.append(note)


def _csv_rows(table: Table, file: BinaryIO) -> Rows:
    header: list[str] = []
    quoting, apostrophes = Quoting(), Quoting("'")
    doubled = marked = False  # whether any quotation mark is doubled; whether the row has marks to count

    def texts() -> Iterator[str]:
        nonlocal doubled, marked
        for number, text in text_lines(file, table.problems):
            if number == 1 and (problem := header_problem(text, ",")):
                table.problems.add(number, problem)
                return
            doubled = doubled or '""' in text
            marked = marked or ('"' in text and not doubled) or ("'" in text and not apostrophes.is_text)
            yield text

    reader = csv.reader(texts(), strict=True)
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not cells:
                continue
            if not header:
                header = cells
                table.header(header)
            elif len(cells) != len(header):
                table.problems.add(start, f"{len(cells)} columns, expected {len(header)} as in the first line")
            else:
                if marked:
                    quoting.add(start, cells)
                    apostrophes.add(start, cells)
                    marked = False
                yield start, {name: cell or None for name, cell in zip(header, cells, strict=True)}
        problem_at_line = (None if doubled else quoting.problem(IN_CSV)) or apostrophes.problem(IN_CSV)
        if problem_at_line is not None:
            table.problems.add(*problem_at_line)
    except csv.Error as error:
        reason = str(error).partition(" - ")[0]
        hint = next((f"; {hint}" for text, hint in _CSV_HINTS.items() if text in reason), "")
        table.problems.add(line, f"not CSV ({reason}){hint}")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict. ValueError if a name occurs twice, which json accepts."""
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a name occurs twice in an object")
    return record


_JSON = json.JSONDecoder(object_pairs_hook=_unambiguous)


def _jsonl_rows(table: Table, file: BinaryIO) -> Rows:
    for line, text in text_lines(file, table.problems, has_header=False, lines_read=table.lines_read):
        if text.isspace():
            continue
        if not table.columns and (text.startswith("[") or text.strip() == "{"):
            problem = "starts a list or a multi-line object, expected one object on each line"
            table.problems.add(line, f"{problem} (pandas: to_json(orient='records', lines=True))")
            return
        try:
            record = _JSON.decode(text)
            if "\\u" in text:  # half of a surrogate pair can be escaped, but is not text
                json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            table.problems.add(line, "contains half of a surrogate pair (\\ud800 to \\udfff), which is not text")
        except (ValueError, RecursionError) as error:
            reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            table.problems.add(line, f"not JSON ({reason}); expected one object on each line")
        else:
            if isinstance(record, dict):
                table.columns.update(dict.fromkeys(record))
                yield line, record
            else:
                table.problems.add(line, f"is {describe_type(record)}, expected one object on each line")


def _parquet_rows(table: Table, file: BinaryIO) -> Rows:
    import pyarrow as pa  # noqa: PLC0415 (takes half a second; other tables do not need it)
    import pyarrow.parquet as pq  # noqa: PLC0415

    row = 0
    try:
        parquet = pq.ParquetFile(file)
        names = parquet.schema_arrow.names
        table.header(names)
        types = dict(zip(names, parquet.schema_arrow.types, strict=True))
        needed = [name for name in dict.fromkeys(table.needed) if names.count(name) == 1]
        lists = {*SENTENCES, *(table.renamed[name] for name in SENTENCES if name in table.renamed)}
        for name in [name for name in needed if not _is_plain(pa, types[name], with_lists=name in lists)]:
            actual = str(types[name])[:100]
            table.problems.add(0, f"column {name!r} is {actual}, expected text or numbers, or bytes and path for audio")
            needed.remove(name)
        for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS, columns=needed):
            for record in batch.to_pylist():
                row += 1
                yield row, record
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02X}"
        table.problems.add(row + 1, f"not UTF-8 ({byte}), in this row or one of the next {_PARQUET_ROWS}")
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        table.problems.add(0, f"not a complete parquet file ({reason})")


def _is_plain(pa: Any, type_: Any, *, with_lists: bool = False) -> bool:
    """Return whether the values of a type are JSON scalars, bytes, or structs of these, or lists of scalars."""
    types = pa.types
    if with_lists and (types.is_list(type_) or types.is_large_list(type_)):
        return _is_plain(pa, type_.value_type)
    if types.is_dictionary(type_):
        return _is_plain(pa, type_.value_type)
    if types.is_struct(type_):
        return all(_is_plain(pa, field.type) for field in type_) and bool(type_.num_fields)
    plain = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_integer)
    others = (types.is_floating, types.is_boolean, types.is_null, types.is_decimal, *_views(types))
    return any(test(type_) for test in (*plain, *others))


def _views(types: Any) -> Iterator[Callable[[Any], bool]]:
    """Yield the tests for text and byte types that older versions of pyarrow lack."""
    for name in ("is_string_view", "is_binary_view"):
        if hasattr(types, name):
            yield getattr(types, name)


_READERS: dict[str, Callable[[Table, BinaryIO], Rows]] = {
    ".jsonl": _jsonl_rows,
    ".tsv": tsv_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}


def describe_type(value: object) -> str:
    """Return the type of a value in words, for messages."""
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
