"""Whether the quotation marks of a tsv file are text or were put around its cells by a CSV writer.

pandas and Excel wrap a cell that holds a quotation mark in two more and double those within. In the TSV files of Common
Voice and CoVoST-2, and in ours, every quotation mark is text, and what a CSV writer has added would be trained on and
scored. Text alone hardly ever has all its marks doubled, in cells that begin and end with one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from voxlate.errors import shown

_CURE = 'save it as .jsonl or .csv, or without quoting (pandas: to_csv(sep="\\t", quoting=3))'


class Quoting:
    """What the cells of a tsv file say, as they come."""

    def __init__(self) -> None:
        self._certain = _Cells()  # wrapped, with marks within that are all doubled or escaped
        self._wrapped = _Cells()  # between quotation marks, with none within
        self._bare = _Cells()  # with other quotation marks

    def look(self, line: int, cells: Sequence[str]) -> None:
        """Note the quotation marks of a line's cells."""
        for cell in cells:
            if '"' in cell:
                within = _within_quotes(cell)
                cells_like_it = self._bare if within is None else self._certain if '"' in within else self._wrapped
                cells_like_it.add(line, cell)

    def problem(self) -> tuple[int, str] | None:
        """Return the first line that a CSV writer has quoted, and what to do, if one has surely written the file."""
        if not self._certain.count or self._bare.count:
            return None
        count = self._certain.count + self._wrapped.count
        return self._certain.line, (
            f"{count:,} cells are quoted as in CSV, such as {self._certain.first}; in a .tsv quotation marks are text; "
            f"{_CURE}"
        )

    def note(self) -> str:
        """Return what to tell the user where cells look quoted, but may be text; else nothing."""
        cells = self._certain if self._certain.count or self._bare.count else self._wrapped
        if not cells.count:
            return ""
        return (
            f"{cells.count:,} cells begin and end with a quotation mark, first in line {cells.line}: {cells.first}; "
            f"they are kept as text; if a program put the marks there, {_CURE}"
        )


@dataclass
class _Cells:
    """Cells of a kind: how many, and the first one."""

    count: int = 0
    line: int = 0
    first: str = ""

    def add(self, line: int, cell: str) -> None:
        if not self.count:
            self.line, self.first = line, shown(cell)
        self.count += 1


def odd_header(header: Sequence[str]) -> str:
    """Say what keeps the first line of a tsv file from naming its columns; nothing if it does."""
    if any(_within_quotes(name) for name in header):
        return f"the names of the columns are in quotation marks ({shown(header[0])}), expected them without; {_CURE}"
    if any("\r" in name for name in header):
        return "its lines end with \\r alone, expected \\n or \\r\\n; save it with those"
    if any("\0" in name for name in header):
        return "holds bytes of 0, expected text; if it is UTF-16, save it as UTF-8"
    return ""


def _within_quotes(cell: str) -> str | None:
    """Return what stands between the quotation marks that a CSV writer put around a cell; None if none did."""
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"':
        return None
    within = cell[1:-1]
    doubled = '"' not in within.replace('""', "")
    unescaped = within.replace("\\\\", "").replace('\\"', "")
    return within if doubled or ('"' not in unescaped and not unescaped.endswith("\\")) else None
