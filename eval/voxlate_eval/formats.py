"""Result tables as Markdown, CSV and LaTeX, with notes on comparability and sources."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence

from voxlate_eval.page_tables import metric_table
from voxlate_eval.published import find_system, provenances
from voxlate_eval.strict_json import one_line
from voxlate_eval.tables import TOLERANCE, Cell, Column, TableRow, Tables


def grid(tables: Tables, escape: Callable[[str], str] = one_line) -> list[list[str]]:
    """Return the cells as text: a header, then one list per row.

    Each published score is followed by the difference (ours - published) and the verdict. `escape` is applied to names
    that come from files and folders.
    """
    header = ["direction"]
    for column in tables.columns:
        header += [escape(column.title)] if column.is_ours else [escape(column.title), "difference", "verdict"]
    first = tables.columns[0]
    lines = [header]
    for row in tables.rows:
        line = [escape(row.label)]
        for column in tables.columns:
            cell = column.cells.get(row.key)
            line.append(_text(cell))
            if not column.is_ours:
                mine = first.cells.get(row.key)
                line.append(f"{round(mine.value, 1) - round(cell.value, 1):+.1f}" if mine and cell else "")
                line.append(escape(cell.verdict or "") if cell else "")
        lines.append(line)
    return lines


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    half = f" ±{(cell.high - cell.low) / 2:.1f}" if cell.low is not None and cell.high is not None else ""
    return f"{cell.value:.1f}{half}{'*' if cell.doubt else ''}"


def notes(tables: Tables, escape: Callable[[str], str] = one_line) -> list[str]:
    """Return explanations of the marks, signatures, and sources of published scores; `escape` as for `grid`."""
    lines = ["±: half of a 95 % interval (bootstrap); for averages, test sets are assumed to be independent."]
    if not all(column.is_ours for column in tables.columns):
        lines.append(
            f"Differences: {escape(tables.columns[0].title)} - published score; reproduced: within {TOLERANCE} BLEU."
        )
    for run in tables.runs:
        signatures = sorted({found["metrics"]["BLEU"]["signature"] for found in run.scores.values()})
        lines.append(escape(f"{run.name}: BLEU {'; '.join(signatures)}"))
    for column in tables.columns:
        lines += [
            f"{escape(column.title)}* ({escape(keys)}): not comparable, {escape(doubt)}"
            for doubt, keys in _doubts(column, tables.rows)
        ]
        if not column.is_ours:
            system = find_system(column.title)
            for name in dict.fromkeys(system.provenance[key] for key in column.cells if key in system.provenance):
                lines.append(f"{escape(column.title)}: {provenances()[name].scoring}. {provenances()[name].source}")
    return lines


def _doubts(column: Column, rows: Sequence[TableRow]) -> list[tuple[str, str]]:
    """Return the reasons why scores of a column are not comparable, each with its directions."""
    found: dict[str, list[str]] = {}
    for row in rows:
        doubt = column.cells[row.key].doubt if row.key in column.cells else None
        if doubt is not None and not row.members:
            found.setdefault(doubt, []).append(row.label)
    return [(doubt, ", ".join(labels)) for doubt, labels in found.items()]


def as_markdown(tables: Tables) -> str:
    """Return the table, that of other metrics, and their notes as Markdown."""
    header, *lines = grid(tables, _markdown)
    out = [_markdown_row(header), _markdown_row(["---", *["---:"] * (len(header) - 1)])]
    for row, line in zip(tables.rows, lines, strict=True):
        out.append(_markdown_row([f"**{text}**" if row.members and text else text for text in line]))
    remarks = [*notes(tables, _markdown)]
    metrics = metric_table(tables.runs)
    if metrics is not None:
        out += ["\n", _markdown_row(map(_markdown, metrics["header"]))]
        out.append(_markdown_row(["---", *["---:"] * (len(metrics["header"]) - 1)]))
        out += [_markdown_row(_markdown(cell["text"]) for cell in cells) for cells in metrics["lines"]]
        remarks += map(_markdown, metrics["notes"])
    return "".join(out) + "\n" + "".join(f"- {remark}\n" for remark in remarks)


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _markdown(text: str) -> str:
    """Escape Markdown syntax, including web addresses that some renderers turn into links."""
    text = re.sub(r"([\\`*_\[\]|~#@]|:(?=//)|(?<=www)\.)", r"\\\1", one_line(text))
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _csv(text: str) -> str:
    """Prefix text that a spreadsheet would evaluate as a formula with an apostrophe, as OWASP advises."""
    text = one_line(text)  # a tab or line break would start a new cell or row
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else text


def as_csv(tables: Tables) -> str:
    """Return one line per row and system, with everything known about the score."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["row", "group", "system", "ours", "bleu", "low", "high", "doubt", "verdict"])
    for row in tables.rows:
        for column in tables.columns:
            cell = column.cells.get(row.key)
            if cell is not None:
                ends = ["" if end is None else f"{end:.4f}" for end in (cell.low, cell.high)]
                shown = f"{cell.value:.4f}" if column.is_ours else f"{cell.value:g}"
                names = map(_csv, (row.key, row.group, column.title, "yes" if column.is_ours else "no"))
                writer.writerow([*names, shown, *ends, _csv(cell.doubt or ""), _csv(cell.verdict or "")])
    return out.getvalue()


_TEX = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "→": r"$\to$",
        "±": r"$\pm$",
        "–": "--",
        "|": r"\textbar{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
)


def _tex(text: str) -> str:
    text = one_line(text)
    start = "{}" if text.startswith(("[", "*")) else ""  # an argument of the \\\\ or \\midrule before it otherwise
    return start + text.translate(_TEX)


def as_latex(tables: Tables) -> str:
    """Return a tabular for the booktabs package, with notes as comments. Verdicts are omitted to save width."""
    columns = tables.columns
    lines = [f"% {one_line(line)}" for line in notes(tables)]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines += [" & ".join(["direction", *(_tex(column.title) for column in columns)]) + r" \\", r"\midrule"]
    previous = None
    for row in tables.rows:
        if previous is not None and (row.group != previous.group or bool(row.members) != bool(previous.members)):
            lines.append(r"\midrule")
        cells = [row.label, *(_text(column.cells.get(row.key)) for column in columns)]
        lines.append(" & ".join(map(_tex, cells)) + r" \\")
        previous = row
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
