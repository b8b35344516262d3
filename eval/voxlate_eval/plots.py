"""Plots of a report as SVG: BLEU per direction, by hours of training data, and by groups of sentences."""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from voxlate_eval.published import splits
from voxlate_eval.strict_json import one_line
from voxlate_eval.tables import EvaluatedRun, Tables

_MAX_LABEL = 60  # characters
_COLORS = ("#0b6e99", "#d9730d", "#6940a5", "#0f7b6c", "#ad1a72", "#64473a", "#777777")


def per_direction(tables: Tables) -> str | None:
    """Draw BLEU of every direction, ours with intervals, next to published scores."""
    rows = [row for row in tables.rows if not row.members]

    def draw(axes: Any) -> None:
        spread = 0.6 / max(len(tables.columns), 1)
        for number, column in enumerate(tables.columns):
            places = [i for i, row in enumerate(rows) if row.key in column.cells]
            cells = [column.cells[rows[i].key] for i in places]
            shifted = [place + (number - (len(tables.columns) - 1) / 2) * spread for place in places]
            axes.errorbar(
                shifted,
                [cell.value for cell in cells],
                yerr=_intervals(cells) if column.is_ours else None,
                fmt="o" if column.is_ours else "D",
                markersize=5 if column.is_ours else 4,
                markerfacecolor=None if column.is_ours else "white",
                color=_COLORS[number % len(_COLORS)],
                capsize=2,
                label=_label(column.title),
            )
        axes.set_xticks(range(len(rows)), [_label(row.label) for row in rows], rotation=60 if len(rows) > 10 else 0)
        axes.set_ylabel("BLEU")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False, loc="best")

    return _svg(draw, max(6.0, 0.3 * len(rows) + 3), 3.8) if rows else None


def by_training_hours(tables: Tables) -> str | None:
    """Draw BLEU of X→en over the hours of training data that CoVoST-2 has for the source language."""
    hours = {name: split.train_hours for name, split in splits().items() if name.endswith("-en")}

    def draw(axes: Any) -> None:
        for number, column in enumerate(tables.columns):
            keys = [key for key in column.cells if key in hours]
            axes.plot(
                [hours[key] for key in keys],
                [column.cells[key].value for key in keys],
                "o" if column.is_ours else "D",
                markersize=5 if column.is_ours else 4,
                markerfacecolor=None if column.is_ours else "white",
                color=_COLORS[number % len(_COLORS)],
                label=_label(column.title),
            )
            if number == 0:
                for key in keys:
                    axes.annotate(
                        _label(key.removesuffix("-en")),
                        (hours[key], column.cells[key].value),
                        xytext=(4, 3),
                        textcoords="offset points",
                        fontsize=8,
                    )
        axes.set_xscale("log")
        axes.set_xlabel("hours of training data in CoVoST-2")
        axes.set_ylabel("BLEU")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="best")

    official = any(
        run.scores[key]["official_n"] is not None for run in tables.runs for key in hours.keys() & run.scores
    )
    return _svg(draw, 6.5, 3.8) if official else None


def by_group(run: EvaluatedRun, breakdown: str) -> str | None:
    """Draw BLEU of a run by duration or length, one line per direction; with many directions also their mean."""
    lines = [
        (direction, groups)
        for direction, found in run.scores.items()
        if len(groups := [group for group in found["breakdown"].get(breakdown, []) if "BLEU" in group]) > 1
    ]
    if not lines:
        return None
    names = _merge_ordered([[group["group"] for group in groups] for _, groups in lines])

    def draw(axes: Any) -> None:
        few = len(lines) <= len(_COLORS)
        for number, (direction, groups) in enumerate(lines):
            axes.plot(
                [names.index(group["group"]) for group in groups],
                [group["BLEU"] for group in groups],
                color=_COLORS[number] if few else "#bbbbbb",
                linewidth=1.2 if few else 0.7,
                marker="o",
                markersize=3,
                label=_label(direction.replace("-", "→")) if few else None,
            )
        if not few:
            means = [
                [group["BLEU"] for _, groups in lines for group in groups if group["group"] == name] for name in names
            ]
            values = [sum(found) / len(found) for found in means]
            axes.plot(range(len(names)), values, color=_COLORS[0], linewidth=2, marker="o", label="mean of directions")
        axes.set_xticks(range(len(names)), [_label(name) for name in names])
        axes.set_ylabel("BLEU")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False, loc="best", fontsize=8, ncols=2)

    return _svg(draw, 6.0, 3.4)


def _merge_ordered(lists: Sequence[Sequence[str]]) -> list[str]:
    """Merge ordered lists of group names, which may be incomplete."""
    merged: list[str] = []
    for names in sorted(lists, key=len, reverse=True):
        for place, name in enumerate(names):
            if name not in merged:
                before = [merged.index(other) for other in names[:place]]
                merged.insert(max(before, default=-1) + 1, name)
    return merged


def _intervals(cells: Sequence[Any]) -> list[list[float]]:
    return [[max(cell.value - cell.low, 0) for cell in cells], [max(cell.high - cell.value, 0) for cell in cells]]


def _label(text: str) -> str:
    """Escape a name for matplotlib, which typesets $…$ as mathematics and hides labels that begin with _."""
    text = one_line(text)
    text = f"{text[:_MAX_LABEL]}…" if len(text) > _MAX_LABEL else text
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", "\\$")


def _svg(draw: Callable[[Any], None], width: float, height: float) -> str:
    """Draw a figure of a size in inches; return it as an SVG element, which is the same in every run."""
    import matplotlib as mpl  # noqa: PLC0415 (takes half a second, which scores do not need)
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "voxlate", "font.family": "sans-serif", "font.size": 9}
    with warnings.catch_warnings(), mpl.rc_context(style):
        warnings.simplefilter("ignore")  # missing glyphs: the browser uses its own fonts
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
