"""Cut timed text into cues and lines: a dynamic program that minimizes the sum of the costs of all cues.

The cost of a cue is

    1                                       so that there are few
    + the badness of the break after it     see `line_breaks`; less where the speaker pauses
    + 2 for each sentence that ends inside it
    + 3 for each second of pause inside it, beyond 0.3 s
    + its fullness squared                  so that consecutive cues are similarly full
    + 1.5 for each second that it is shown less than 2 s
    + 10 for each second less than the minimum
    + 10 times the share by which it exceeds the reading speed
    + for each further line 0.5, half the badness of that break, and 3 times the squared differences of its lines from
      their mean, in line widths

Width, number of lines and duration are never exceeded. A cue may be shown until the next one begins.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil, inf

from voxlate.decoding.line_breaks import CLAUSE_END, SENTENCE_END, WORD_END
from voxlate_eval.subtitle_limits import SubtitleLimits

_CUE, _INNER_SENTENCE, _INNER_PAUSE, _SPEED, _TOO_SHORT, _BRIEF = 1.0, 2.0, 3.0, 10.0, 10.0, 1.5
_LINE, _LINE_BREAK, _BALANCE = 0.5, 0.5, 3.0
_PAUSE_SECONDS, _BREAK_PAUSE_SECONDS, _BRIEF_SECONDS = 0.3, 0.5, 2.0


@dataclass(frozen=True)
class TimedPart:
    """A part of the text that stays on one line (see `TextPart`), with the seconds in which it is spoken."""

    text: str
    is_spaced: bool
    badness: float
    start: float
    end: float


class CueSearch:
    """Finds the best cues of a sequence of parts. No cue is shown after `end`, in seconds."""

    def __init__(self, parts: Sequence[TimedPart], limits: SubtitleLimits, end: float) -> None:
        self._parts, self._limits = parts, limits
        self._starts = [part.start for part in parts] + [max([end, *(part.end for part in parts[-1:])])]
        space = limits.width(" ")
        self._space = [space if part.is_spaced else 0.0 for part in parts]
        widths = [limits.width(part.text) + space for part, space in zip(parts, self._space, strict=True)]
        self._widths = list(accumulate(widths, initial=0.0))
        pauses = [max(0.0, later.start - earlier.end) for earlier, later in pairwise(parts)]
        self._badness = [_after_pause(part.badness, pause) for part, pause in zip(parts, [*pauses, inf], strict=True)]
        inner = [
            _INNER_SENTENCE * (part.badness == SENTENCE_END) + _INNER_PAUSE * max(0.0, pause - _PAUSE_SECONDS)
            for part, pause in zip(parts, [*pauses, 0.0], strict=True)
        ]
        self._inner = list(accumulate(inner, initial=0.0))

    def cues(self) -> list[list[range]]:
        """Return the cues in order: for each, the ranges of parts of its lines."""
        count = len(self._parts)
        costs = [0.0] + [inf] * count
        best: list[tuple[int, list[int]]] = [(0, [])] * (count + 1)  # first part of the last cue, ends of its lines
        for first in range(count):
            for last in range(first + 1, count + 1):
                if last > first + 1 and not self._may_be_shown(first, last):
                    break
                cost = costs[first] + self._cost(first, last)
                if cost >= costs[last]:
                    continue
                lines_cost, ends = self._lines(first, last)
                if cost + lines_cost < costs[last]:
                    costs[last], best[last] = cost + lines_cost, (first, ends)
        cues: list[list[range]] = []
        position = count
        while position:
            first, ends = best[position]
            cues.append([range(start, stop) for start, stop in pairwise([first, *ends, position])])
            position = first
        return cues[::-1]

    def _width(self, first: int, last: int) -> float:
        """Return the width of parts on one line."""
        return self._widths[last] - self._widths[first] - self._space[first]

    def _may_be_shown(self, first: int, last: int) -> bool:
        limits, parts = self._limits, self._parts
        return (
            self._width(first, last) <= (limits.max_line_width + 1) * limits.max_line_count
            and parts[last - 1].end - parts[first].start <= limits.max_seconds
        )

    def _cost(self, first: int, last: int) -> float:
        """Return the cost of a cue without that of its lines."""
        limits = self._limits
        seconds = max(0.02, min(self._starts[last] - self._starts[first], limits.max_seconds))
        width = self._width(first, last)
        speed = width / seconds / limits.max_characters_per_second
        return (
            _CUE
            + self._badness[last - 1]
            + self._inner[last - 1]
            - self._inner[first]
            + (width / (limits.max_line_width * limits.max_line_count)) ** 2
            + _BRIEF * max(0.0, _BRIEF_SECONDS - seconds)
            + _TOO_SHORT * max(0.0, limits.min_seconds - seconds)
            + _SPEED * max(0.0, speed - 1.0)
        )

    def _lines(self, first: int, last: int) -> tuple[float, list[int]]:
        """Return the cost of the best lines and the ends of all but the last; infinity if they cannot be fitted."""
        limits = self._limits
        width = self._width(first, last)
        if width <= limits.max_line_width or last == first + 1:
            return 0.0, []
        for count in range(max(2, ceil(width / (limits.max_line_width + 1))), limits.max_line_count + 1):
            cost, ends = self._breaks(first, last, count, width / count, {})
            if cost < inf:
                return cost, ends
        return inf, []

    def lines(self) -> list[range]:
        """Return the lines of all parts as one cue, whatever its duration."""
        ends = self._lines(0, len(self._parts))[1]
        return [range(start, stop) for start, stop in pairwise([0, *ends, len(self._parts)])]

    def _breaks(
        self, first: int, last: int, count: int, mean: float, known: dict[tuple[int, int], tuple[float, list[int]]]
    ) -> tuple[float, list[int]]:
        """Return the cost and the ends of the best `count` lines, whose mean width is about `mean`.

        `known` has the results for the same `last` and `mean`, by `first` and `count`.
        """
        if (first, count) in known:
            return known[first, count]
        limit = self._limits.max_line_width
        if count == 1:
            return self._line_cost(first, last, mean), []
        best: tuple[float, list[int]] = (inf, [])
        widest = self._widths[first] + self._space[first] + limit
        for end in range(min(bisect_right(self._widths, widest) - 1, last - 1), first, -1):
            if self._widths[last] - self._widths[end] > (limit + 1) * (count - 1):
                break
            cost = _LINE + _LINE_BREAK * self._badness[end - 1] + self._line_cost(first, end, mean)
            if cost < best[0]:
                rest, ends = self._breaks(end, last, count - 1, mean, known)
                if cost + rest < best[0]:
                    best = cost + rest, [end, *ends]
        known[first, count] = best
        return best

    def _line_cost(self, first: int, last: int, mean: float) -> float:
        """Return the cost of a line for its distance from the mean width; infinity if it is too wide."""
        width, limit = self._width(first, last), self._limits.max_line_width
        return _BALANCE * ((width - mean) / limit) ** 2 if width <= limit else inf


def _after_pause(badness: float, pause: float) -> float:
    """Return the badness of a break at a pause of some seconds.

    A long pause makes it as good as the end of a clause; after a bound word or inside a word, as the end of a word.
    """
    share = min(1.0, pause / _BREAK_PAUSE_SECONDS)
    lowest = min(badness, CLAUSE_END if badness <= WORD_END else WORD_END)
    return badness - share * (badness - lowest)
