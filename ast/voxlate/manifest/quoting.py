"""Whether the quotation marks of a table are text or were put around its cells by a CSV writer, and odd first lines.

pandas and Excel wrap a cell that holds a quotation mark in two more and double those within; other writers put a
backslash before each. In the TSV files of Common Voice and CoVoST-2, and in ours, every quotation mark is text, and
what a CSV writer has added would be trained on and scored. Text alone hardly ever has all its marks doubled, in cells
that begin and end with one, or all of them after a backslash.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from voxlate.errors import shown

_CURE = (
    'save it as .csv (pandas: to_csv("table.csv", index=False)) or as .jsonl '
    '(to_json("table.jsonl", orient="records", lines=True))'
)
_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
IN_TSV = f"in a .tsv quotation marks are text; {_CURE}"
IN_CSV = (
    'in a .csv cells stand between ", and " within them is doubled; save it so (pandas: to_csv without quotechar, '
    "doublequote, escapechar), or as .jsonl"
)


class Quoting:
    """What the cells of a table say of one quotation mark, as they come."""

    def __init__(self, mark: str = '"') -> None:
        self._mark = mark
        self._certain = _Cells()  # wrapped, with marks within that are all doubled or escaped; or all escaped
        self._wrapped = _Cells()  # between quotation marks, with none within
        self._bare = _Cells()  # with other quotation marks

    @property
    def is_text(self) -> bool:
        """Whether a mark was met that no CSV writer would have left so."""
        return self._bare.count > 0

    def look(self, line: int, cells: Sequence[str]) -> None:
        """Note the quotation marks of a line's cells."""
        mark = self._mark
        for cell in cells:
            if mark in cell:
                within = _within_quotes(cell, mark)
                if within is None:
                    cells_like_it = self._certain if _is_escaped(cell, mark) else self._bare
                else:
                    cells_like_it = self._certain if mark in within else self._wrapped
                cells_like_it.add(line, cell)

    def problem(self, rule: str) -> tuple[int, str] | None:
        """Return the first line that a CSV writer has quoted, and the rule of such files, if one surely has."""
        if not self._certain.count or self._bare.count:
            return None
        count = self._certain.count + self._wrapped.count
        return (
            self._certain.line,
            f"cells are quoted as in CSV ({count:,} in all), such as {self._certain.first}; {rule}",
        )

    def note(self) -> str:
        """Return what to tell the user where cells look quoted, but may be text; else nothing."""
        cells = self._certain if self._certain.count or self._bare.count else self._wrapped
        if not cells.count:
            return ""
        return (
            f"cells look quoted as in CSV ({cells.count:,} in all), first in line {cells.line}: {cells.first}; they "
            f"are kept as text; if a program put the marks there, {_CURE}"
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


def odd_header(line: str, separator: str) -> str:
    """Say what keeps the first line of a file from naming its columns; nothing if it does."""
    if "\0" in line:
        return "holds bytes of 0, expected text; if it is UTF-16, save it as UTF-8"
    if separator not in line and (other := next((name for mark, name in _SEPARATORS.items() if mark in line), "")):
        return f"its columns look divided by {other}, expected tabs in a .tsv, commas in a .csv"
    names = line.split(separator)
    if any(_within_quotes(name, mark) for name in names for mark in ("'" if separator == "," else "\"'")):
        return f"the names of the columns are in quotation marks ({shown(names[0])}), expected them without; {_CURE}"
    if separator == "\t" and "\r" in line:
        return "its lines end with \\r alone, expected \\n or \\r\\n; save it with those"
    return ""


def _within_quotes(cell: str, mark: str) -> str | None:
    """Return what stands between the quotation marks that a CSV writer put around a cell; None if none did."""
    if len(cell) < 2 or cell[0] != mark or cell[-1] != mark:
        return None
    within = cell[1:-1]
    doubled = mark not in within.replace(mark * 2, "")
    return within if doubled or (_is_escaped(within, mark) and not within.replace("\\\\", "").endswith("\\")) else None


def _is_escaped(text: str, mark: str) -> bool:
    """Return whether there is a backslash before every quotation mark."""
    return mark not in text.replace("\\\\", "").replace(f"\\{mark}", "")
