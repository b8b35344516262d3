"""Charts as SVG elements that fill the width of a page: x is in percent of the width, y and text are in pixels.

Colors come from the style sheet of the page: series have the classes s0, s1, …, so that they follow its color scheme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from voxlate_eval.strict_json import one_line

SERIES = 7  # colors in the style sheet
_MAX_LABEL = 60  # characters
_RIGHT = 97.5  # percent of the width, the end of the plotting area


def shorten_label(text: str) -> str:
    """Return a name for a chart, on one line and not too long."""
    text = one_line(text)
    return f"{text[:_MAX_LABEL]}…" if len(text) > _MAX_LABEL else text


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale from a range of values to a range of positions."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return the position of a value."""
        low, high, value = (math.log10(v) if self.is_logarithmic else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return round values for a grid: powers of ten with their double and half, or four to eight steps."""
        if self.is_logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
            return [value for value in found if self.low <= value <= self.high]
        step = _round_step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def nice_axis(values: Sequence[float], start: float, end: float, *, least: float = 1.0) -> Axis:
    """Return a linear axis from 0, or a lower round value, to a round one that is at least `least` and the highest."""
    low, high = min([0.0, *values]), max([least, *values])
    high = high if high > low else low + 1.0
    step = _round_step(high - low)
    return Axis(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, end)


def _round_step(span: float) -> float:
    power = 10.0 ** math.floor(math.log10(span))
    return next(step * power for step in (0.2, 0.5, 1.0, 2.0) if span / (step * power) <= 6)


@dataclass
class Chart:
    """An SVG element under construction. `title` is read by screen readers."""

    title: str
    height: int
    left: float = 11.0  # percent of the width, for labels
    parts: list[Markup] = field(default_factory=list)

    @property
    def right(self) -> float:
        """The end of the plotting area, in percent."""
        return _RIGHT

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """Add a line."""
        self.parts.append(
            Markup('<line x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}" class="{}"/>').format(x1, y1, x2, y2, style)
        )

    def text(self, x: float, y: float, text: str, anchor: str = "middle", style: str = "") -> None:
        """Add a text whose baseline is at y."""
        self.parts.append(
            Markup('<text x="{:.2f}%" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
                x, y, anchor, style, shorten_label(text)
            )
        )

    def point(self, x: float, y: float, series: int, text: str, *, is_ours: bool = True) -> None:
        """Add a point that shows `text` under the pointer: filled if it is ours, hollow if it is published."""
        self.parts.append(
            Markup('<circle cx="{:.2f}%" cy="{:.1f}" r="4" class="s{} {}"><title>{}</title></circle>').format(
                x, y, series % SERIES, "ours" if is_ours else "published", one_line(text)
            )
        )

    def curve(self, places: Sequence[tuple[float, float]], style: str) -> None:
        """Add a line through places. They have a coordinate system of their own, since polylines know no percents."""
        points = " ".join(f"{x:.2f},{y:.1f}" for x, y in places)
        self.parts.append(
            Markup(
                '<svg width="100%" height="{0}" viewBox="0 0 100 {0}" preserveAspectRatio="none">'
                '<polyline points="{1}" class="curve {2}" vector-effect="non-scaling-stroke"/></svg>'
            ).format(self.height, points, style)
        )

    def target(self, x: float, y: float, text: str) -> None:
        """Add an invisible point that shows `text` under the pointer."""
        self.parts.append(
            Markup('<circle cx="{:.2f}%" cy="{:.1f}" r="6" class="target"><title>{}</title></circle>').format(
                x, y, one_line(text)
            )
        )

    def render(self) -> Markup:
        """Return the SVG element."""
        return Markup(
            '<svg role="img" width="100%" height="{}" xmlns="http://www.w3.org/2000/svg"><title>{}</title>{}</svg>'
        ).format(self.height, escape(self.title), Markup("").join(self.parts))
