"""Plots of a training run over its updates: dev BLEU, losses, learning rate, gradient norm and speed."""

from collections.abc import Sequence
from typing import Any

from voxlate_eval.plots import Plot
from voxlate_eval.svg import SERIES, Axis, Chart, nice_axis
from voxlate_eval.training_log import TrainingLog, mean

Points = Sequence[tuple[float, float]]

_TOP, _BOTTOM = 14, 250  # the plotting area in pixels
_MOST = 200  # points of a curve; of a longer one, neighbors are averaged
_MARKED = 60  # points of a curve that are drawn as such


def training_plots(log: TrainingLog, best_update: int | None) -> list[Plot]:
    """Return the plots for which the log has numbers."""
    found = [
        _bleu(log, best_update),
        _losses(log, best_update),
        _single(log, "ctc", "CTC loss", "nats per character"),
        _single(log, "lr", "Learning rate", ""),
        _single(log, "audio_s/s", "Speed", "seconds of audio per second, including validations and checkpoints"),
        _single(log, "gradient_norm", "Gradient norm", "before it is clipped"),
    ]
    return [plot for plot in found if plot is not None]


def thin(points: Points, most: int = _MOST) -> list[tuple[float, float]]:
    """Return at most `most` points: the means of neighbors, each at the last update of its group."""
    size = -(-len(points) // most)
    groups = [points[start : start + size] for start in range(0, len(points), size or 1)]
    return [(group[-1][0], mean([value for _, value in group])) for group in groups]


def _bleu(log: TrainingLog, best_update: int | None) -> Plot | None:
    if not log.validations:
        return None
    directions = log.directions
    curves = {
        name: [(v.update, v.directions[name]["bleu"]) for v in log.validations if name in v.directions]
        for name in directions
    }
    chart = _OverUpdates("Dev BLEU", log.update, [1.0, *(value for points in curves.values() for _, value in points)])
    chart.mark(best_update, "best")
    has_colors = len(directions) <= SERIES
    for series, (name, points) in enumerate(curves.items()):
        label = name.replace("-", "→")
        chart.curve(
            points, f"s{series}" if has_colors else "gray thin", label, "{:.1f}", series if has_colors else None
        )
    legend = [{"series": n, "title": d.replace("-", "→"), "is_ours": True} for n, d in enumerate(directions)]
    mean_curve = [(v.update, v.mean_bleu) for v in log.validations]
    if len(directions) > 1:
        chart.curve(mean_curve, "mean", "mean", "{:.1f}")
        mean_item = {"series": "mean", "title": "mean of the directions", "is_ours": True}
        others = [] if has_colors else [{"series": "gray", "title": f"{len(directions)} directions", "is_ours": True}]
        legend = [mean_item, *(legend if has_colors else others)]
    table = [
        ["update", *(["mean"] if len(directions) > 1 else []), *(name.replace("-", "→") for name in directions)],
        *(
            [
                f"{v.update:,}",
                *([f"{v.mean_bleu:.1f}"] if len(directions) > 1 else []),
                *(f"{v.directions[name]['bleu']:.1f}" if name in v.directions else "–" for name in directions),
            ]
            for v in log.validations
        ),
    ]
    return Plot("Dev BLEU", chart.render(), legend if len(directions) > 1 else [], "", table)


def _losses(log: TrainingLog, best_update: int | None) -> Plot | None:
    training = [point for point in thin(log.curve("loss")) if point[1]]  # 0 in updates with CTC alone
    dev = [(v.update, v.mean_loss) for v in log.validations]
    known = [(update, loss) for update, loss in dev if loss is not None]
    if not training and not known:
        return None
    chart = _OverUpdates("Loss", log.update, [value for _, value in [*training, *known]])
    chart.mark(best_update, "best")
    chart.curve(training, "s0", "training loss", "{:.3f}", 0)
    chart.curve(known, "s1", "dev loss", "{:.3f}", 1)
    of_dev = "dev, mean of the directions" if len(log.directions) > 1 else "dev"
    legend = [
        {"series": series, "title": title, "is_ours": True}
        for series, (title, points) in enumerate((("training", training), (of_dev, known)))
        if points
    ]
    note = "Nats per token. The training loss includes label smoothing, dropout and masking; the dev loss does not."
    return Plot("Loss", chart.render(), legend, note)


def _single(log: TrainingLog, name: str, title: str, note: str) -> Plot | None:
    points = thin(log.curve(name))
    if not any(value for _, value in points):
        return None
    chart = _OverUpdates(title, log.update, [value for _, value in points])
    chart.curve(points, "s0", title.lower(), "{:.3g}", 0)
    return Plot(title, chart.render(), [], f"{note[:1].upper()}{note[1:]}." if note else "")


class _OverUpdates:
    """A chart whose x axis is the number of updates."""

    def __init__(self, title: str, last: int, values: Sequence[float]) -> None:
        self._chart = Chart(f"{title} over {last:,} updates", 292)
        self._x = Axis(0, max(1, last), self._chart.left, self._chart.right)
        self._y = nice_axis(values, _BOTTOM, _TOP, least=0.0)
        for tick in self._y.ticks():
            self._chart.line(self._chart.left, self._y.place(tick), self._chart.right, self._y.place(tick), "grid")
            self._chart.text(self._chart.left - 1.2, self._y.place(tick) + 4, _tick(tick), "end")
        for tick in self._x.ticks():
            if tick == int(tick):
                self._chart.line(self._x.place(tick), _BOTTOM, self._x.place(tick), _BOTTOM + 4, "grid")
                self._chart.text(self._x.place(tick), _BOTTOM + 18, _count(tick, self._x.high))
        self._chart.text((self._chart.left + self._chart.right) / 2, _BOTTOM + 38, "update", style="title")

    def mark(self, update: int | None, label: str) -> None:
        """Mark an update by a vertical line."""
        if update is not None and update <= self._x.high:
            place = self._x.place(update)
            self._chart.line(place, _TOP, place, _BOTTOM, "best")
            anchor = "end" if update > self._x.high / 2 else "start"
            self._chart.text(place + (-0.8 if anchor == "end" else 0.8), _TOP - 3, label, anchor)

    def curve(self, points: Points, style: str, label: str, form: str, series: int | None = None) -> None:
        """Draw a curve; its points are drawn if there are few, and show their values under the pointer."""
        places = [(self._x.place(update), self._y.place(value)) for update, value in points]
        self._chart.curve(places, style)
        for (x, y), (update, value) in zip(places, points, strict=True):
            text = f"{label}, update {update:,.0f}: {form.format(value)}"
            if series is not None and len(points) <= _MARKED:
                self._chart.point(x, y, series, text)
            else:
                self._chart.target(x, y, text)

    def render(self) -> Any:
        return self._chart.render()


def _tick(value: float) -> str:
    """Return a number for an axis: 0.5, 20, 5e-4."""
    if value and abs(value) < 0.01:
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:,.10g}"


def _count(value: float, highest: float) -> str:
    """Return a number of updates for an axis: 500, or 20k on a long one."""
    return f"{value / 1000:g}k" if value and highest >= 10_000 else f"{value:,.0f}"
