"""Detect tables whose cells were quoted by a CSV writer, and header lines that are not headers.

pandas and Excel enclose a cell that contains a quotation mark in quotation marks and double those inside; other writers
escape each with a backslash. In the TSV files of Common Voice and CoVoST-2, and in ours, every quotation mark is text,
and marks added by a CSV writer would be trained on and scored. Plain text hardly ever has all its marks doubled in
cells that begin and end with one, or all of them after a backslash.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from voxlate.errors import short_repr

_ADVICE = (
    'save it as .csv (pandas: to_csv("table.csv", index=False)) or as .jsonl '
    '(to_json("table.jsonl", orient="records", lines=True))'
)
_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
IN_TSV = f"in a .tsv quotation marks are text; {_ADVICE}"
IN_CSV = (
    'in a .csv cells are enclosed in ", and " inside them is doubled; save it that way (pandas: to_csv without '
    "quotechar, doublequote, escapechar), or as .jsonl"
)


class Quoting:
    """Collects evidence on one quotation mark from the cells of a table."""

    def __init__(self, mark: str = '"') -> None:
        self._mark = mark
        self._certain = CellCount()  # enclosed, with all inner marks doubled or escaped; or all marks escaped
        self._enclosed = CellCount()  # enclosed, with no inner marks
        self._bare = CellCount()  # with other quotation marks

    @property
    def is_text(self) -> bool:
        """Whether any cell has a mark that a CSV writer would have escaped."""
        return self._bare.count > 0

    def add(self, line: int, cells: Sequence[str]) -> None:
        """Count the quotation marks of a line's cells."""
        mark = self._mark
        for cell in cells:
            if mark in cell:
                inner = _inside_quotes(cell, mark)
                if inner is None:
                    kind = self._certain if _is_escaped(cell, mark) else self._bare
                else:
                    kind = self._certain if mark in inner else self._enclosed
                kind.add(line, cell)

    def problem(self, rule: str) -> tuple[int, str] | None:
        """Return the first quoted line and a message that states `rule`; None unless cells are certainly quoted."""
        if not self._certain.count or self._bare.count:
            return None
        count = self._certain.count + self._enclosed.count
        return (
            self._certain.line,
            f"cells are quoted as in CSV ({count:,} in all), such as {self._certain.first}; {rule}",
        )

    def note(self) -> str:
        """Return a note for the user if cells look quoted but may be text; else an empty string."""
        cells = self._certain if self._certain.count or self._bare.count else self._enclosed
        if not cells.count:
            return ""
        return (
            f"cells look quoted as in CSV ({cells.count:,} in all), first in line {cells.line}: {cells.first}; they "
            f"are kept as text; if a program added the marks, {_ADVICE}"
        )


@dataclass
class CellCount:
    """The number of cells of one kind, and the line and text of the first one."""

    count: int = 0
    line: int = 0
    first: str = ""

    def add(self, line: int, cell: str) -> None:
        """Count a cell."""
        if not self.count:
            self.line, self.first = line, short_repr(cell)
        self.count += 1


def header_problem(line: str, separator: str) -> str:
    """Return why the first line of a file cannot be its header; an empty string if it can."""
    if "\0" in line:
        return "contains zero bytes, expected text; if it is UTF-16, save it as UTF-8"
    if separator not in line and (actual := next((name for mark, name in _SEPARATORS.items() if mark in line), "")):
        return f"its columns look separated by {actual}, expected tabs in a .tsv, commas in a .csv"
    names = line.split(separator)
    if any(_inside_quotes(name, mark) for name in names for mark in ("'" if separator == "," else "\"'")):
        return f"the column names are in quotation marks ({short_repr(names[0])}), expected them without; {_ADVICE}"
    if separator == "\t" and "\r" in line:
        return "its lines end with \\r alone, expected \\n or \\r\\n; save it with those"
    return ""


def _inside_quotes(cell: str, mark: str) -> str | None:
    """Return the text inside the quotation marks that a CSV writer put around a cell; None if there are none."""
    if len(cell) < 2 or cell[0] != mark or cell[-1] != mark:
        return None
    inner = cell[1:-1]
    doubled = mark not in inner.replace(mark * 2, "")
    return inner if doubled or (_is_escaped(inner, mark) and not inner.replace("\\\\", "").endswith("\\")) else None


def _is_escaped(text: str, mark: str) -> bool:
    """Return whether there is a backslash before every quotation mark."""
    return mark not in text.replace("\\\\", "").replace(f"\\{mark}", "")
