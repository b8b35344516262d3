"""Plots of a report: BLEU per direction, by hours of training data, and by groups of sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from voxlate_eval.published import splits
from voxlate_eval.svg import SERIES, Axis, Chart, nice_axis, shorten_label
from voxlate_eval.tables import EvaluatedRun, Tables

_ROW = 24  # height of a direction in pixels
_FEW = SERIES  # directions that have a color each


@dataclass(frozen=True)
class Plot:
    """A chart with the names of its series, and the note and table of numbers that belong to it."""

    title: str
    svg: Markup
    legend: list[dict[str, Any]]
    note: str = ""
    table: list[list[str]] | None = None


def per_direction(tables: Tables) -> Plot | None:
    """Plot BLEU of every direction, ours with intervals, next to published scores."""
    rows = [row for row in tables.rows if not row.members]
    values = [edge for column in tables.columns for cell in column.cells.values() for edge in (cell.value, cell.high)]
    if not rows:
        return None
    chart = Chart(f"BLEU of {len(rows)} directions for {len(tables.columns)} systems", _ROW * len(rows) + 34)
    axis = nice_axis([value for value in values if value is not None], chart.left, chart.right)
    bottom = _ROW * len(rows) + 6
    for tick in axis.ticks():
        chart.line(axis.place(tick), 4, axis.place(tick), bottom, "grid")
        chart.text(axis.place(tick), bottom + 16, f"{tick:g}")
    for number, row in enumerate(rows):
        y = _ROW * number + _ROW / 2 + 4
        chart.text(chart.left - 1.2, y + 4, row.label, "end", "name")
        chart.line(chart.left, y, chart.right, y, "row")
        for series, column in enumerate(tables.columns):
            cell = column.cells.get(row.key)
            if cell is None:
                continue
            shift = y + ((series - (len(tables.runs) - 1) / 2) * 14 / len(tables.runs) if column.is_ours else 0)
            interval = ""
            if cell.low is not None and cell.high is not None:
                style = f"interval s{series % SERIES}"
                chart.line(axis.place(cell.low), shift, axis.place(cell.high), shift, style)
                interval = f" [{cell.low:.1f}, {cell.high:.1f}]"
            text = f"{column.title}, {row.label}: {cell.value:.1f}{interval}"
            chart.point(axis.place(cell.value), shift, series, text, is_ours=column.is_ours)
    return Plot("BLEU per direction", chart.render(), _legend(tables), "Lines: 95 % intervals.")


def by_training_hours(tables: Tables) -> Plot | None:
    """Plot BLEU of X→en over the hours of training data that CoVoST-2 has for the source language."""
    hours = {name: split.train_hours for name, split in splits().items() if name.endswith("-en")}
    points = [
        (series, key, column.cells[key].value)
        for series, column in enumerate(tables.columns)
        for key in column.cells
        if key in hours
    ]
    official = any(
        run.scores[key]["official_n"] is not None for run in tables.runs for key in hours.keys() & run.scores
    )
    if not official or not points:
        return None
    chart = Chart("BLEU of X→en by hours of training data in CoVoST-2", 340)
    x, y = Axis(1, 500, chart.left, chart.right, is_logarithmic=True), nice_axis([p[2] for p in points], 290, 14)
    _draw_grid(chart, y)
    for tick in x.ticks():
        chart.line(x.place(tick), 14, x.place(tick), 290, "grid")
        chart.text(x.place(tick), 308, f"{tick:g}")
    chart.text((chart.left + chart.right) / 2, 330, "hours of training data (logarithmic)", style="title")
    for series, key, value in points:
        column = tables.columns[series]
        text = f"{column.title}, {key.replace('-', '→')}: {value:.1f} with {hours[key]:g} h"
        chart.point(x.place(hours[key]), y.place(value), series, text, is_ours=column.is_ours)
    ours = [(x.place(hours[key]), y.place(value), key.removesuffix("-en")) for s, key, value in points if s == 0]
    for left, top, language in _spread(ours):
        chart.text(left + 1.0, top + 4, language, "start", "name")
    return Plot("BLEU by hours of training data", chart.render(), _legend(tables))


def by_group(run: EvaluatedRun, breakdown: str, suffix: str = "") -> Plot | None:
    """Plot BLEU of a run by duration or length with intervals; with many directions also their mean."""
    found = {name: scores["breakdown"].get(breakdown, []) for name, scores in run.scores.items()}
    lines = {direction: {group["group"]: group for group in groups} for direction, groups in found.items() if groups}
    names = _merge_ordered([[group["group"] for group in groups] for groups in found.values()])
    values = [
        edge
        for groups in lines.values()
        for group in groups.values()
        if "BLEU" in group
        for edge in (group["BLEU"], *group["intervals"].get("BLEU", ()))
    ]
    if not names or not values:
        return None
    chart = Chart(f"BLEU by {breakdown}{suffix}", 320)
    y = nice_axis(values, 260, 14)
    _draw_grid(chart, y)
    width = (chart.right - chart.left) / len(names)
    places = {name: chart.left + width * (number + 0.5) for number, name in enumerate(names)}
    for name, place in places.items():
        number, _, unit = name.rpartition(" ")
        is_split = bool(number) and len(unit) > 2  # narrow pages have no room for both on one line
        chart.text(place, 280, number if is_split else name)
        if is_split:
            chart.text(place, 294, unit, style="soft")
        n = sum(groups[name]["n"] for groups in lines.values() if name in groups)
        chart.text(place, 310 if is_split else 296, f"n {n:,}", style="soft")
    is_few = len(lines) <= _FEW
    for series, (direction, groups) in enumerate(lines.items()):
        shift = (series - (len(lines) - 1) / 2) * width * 0.5 / len(lines)
        _draw_groups(chart, y, places, groups, direction, series if is_few else None, shift)
    legend = [{"series": s, "title": d.replace("-", "→"), "is_ours": True} for s, d in enumerate(lines)]
    if not is_few:
        legend = [{"series": 0, "title": "mean of the directions", "is_ours": True}]
        for name, place in places.items():
            known = [groups[name]["BLEU"] for groups in lines.values() if "BLEU" in groups.get(name, {})]
            if known:
                mean = sum(known) / len(known)
                chart.point(place, y.place(mean), 0, f"mean of {len(known)} directions, {name}: {mean:.1f}")
    table = [
        ["direction", *names],
        *([d.replace("-", "→"), *map(_number, map(g.get, names))] for d, g in lines.items()),
    ]
    note = "Lines: 95 % intervals; n: sentences." if is_few else "Gray: each direction; n: sentences of all."
    return Plot(f"BLEU by {breakdown}{suffix}", chart.render(), legend, note, table)


def _draw_groups(
    chart: Chart,
    y: Axis,
    places: dict[str, float],
    groups: dict[str, Any],
    direction: str,
    series: int | None,
    shift: float,
) -> None:
    """Draw a point with its interval for each group of a direction; gray without intervals if series is None."""
    for name, group in groups.items():
        if "BLEU" not in group:
            continue
        left, text = places[name] + shift, f"{direction.replace('-', '→')}, {name}: {_number(group)}"
        if series is None:
            chart.line(left - 0.4, y.place(group["BLEU"]), left + 0.4, y.place(group["BLEU"]), "interval gray")
            continue
        edges = group["intervals"].get("BLEU")
        if edges:
            chart.line(left, y.place(edges[0]), left, y.place(edges[1]), f"interval s{series % SERIES}")
        chart.point(left, y.place(group["BLEU"]), series, text)


def _draw_grid(chart: Chart, y: Axis) -> None:
    for tick in y.ticks():
        chart.line(chart.left, y.place(tick), chart.right, y.place(tick), "grid")
        chart.text(chart.left - 1.2, y.place(tick) + 4, f"{tick:g}", "end")


def _number(group: dict[str, Any] | None) -> str:
    """Return BLEU of a group with its interval and its number of sentences."""
    if group is None:
        return "–"
    edges = group["intervals"].get("BLEU")
    half = f" ±{(edges[1] - edges[0]) / 2:.1f}" if edges else ""
    value = f"{group['BLEU']:.1f}{half}" if "BLEU" in group else "–"
    return f"{value} (n {group['n']:,})"


def _legend(tables: Tables) -> list[dict[str, Any]]:
    return [
        {"series": series % SERIES, "title": shorten_label(column.title), "is_ours": column.is_ours}
        for series, column in enumerate(tables.columns)
    ]


def _spread(labels: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Move labels up that would cover another one. Their places are in percent and pixels."""
    placed: list[tuple[float, float, str]] = []
    for left, top, text in sorted(labels, key=lambda label: -label[1]):
        highest = top
        for other_left, other_top, _ in placed:
            if abs(other_left - left) < 4 and other_top - highest < 12:
                highest = other_top - 12
        placed.append((left, highest, text))
    return placed


def _merge_ordered(lists: Sequence[Sequence[str]]) -> list[str]:
    """Merge ordered lists of group names, which may be incomplete."""
    merged: list[str] = []
    for names in sorted(lists, key=len, reverse=True):
        for place, name in enumerate(names):
            if name not in merged:
                before = [merged.index(other) for other in names[:place]]
                merged.insert(max(before, default=-1) + 1, name)
    return merged
