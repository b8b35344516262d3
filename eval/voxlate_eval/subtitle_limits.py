"""The limits of readable subtitles for each language, and which of them a cue breaks.

Sources: Netflix's Timed Text Style Guide and the BBC's Subtitle Guidelines (42 characters, two lines, 1 to 7 s, 17 to
21 characters a second), Netflix's guides for Chinese, Japanese and Korean (16 characters a line) and for Thai (35).
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from voxlate_eval.policy import primary_code

LINE_WIDTH, LINE_COUNT, TOO_SHORT, TOO_LONG = "line width", "line count", "minimum duration", "maximum duration"
READING_SPEED, GAP, OVERLAP = "characters per second", "gap", "overlap"
KINDS = (LINE_WIDTH, LINE_COUNT, TOO_SHORT, TOO_LONG, READING_SPEED, GAP, OVERLAP)

_TOLERANCE_SECONDS = 1e-4  # for times that are sums of floats


@dataclass(frozen=True)
class SubtitleLimits:
    """The limits of a cue. If `in_full_widths`, a Latin letter is half a character, else a Han character is two."""

    max_line_width: int = 42
    max_line_count: int = 2
    min_seconds: float = 1.0
    max_seconds: float = 7.0
    max_characters_per_second: float = 20.0
    min_gap_seconds: float = 0.08  # two frames at 25 frames a second; a shorter gap is seen as a flicker
    in_full_widths: bool = False

    def width(self, text: str) -> float:
        """Return the width of a text in characters. Combining and invisible characters have none."""
        halves = sum(map(_halves, text))
        return halves / 2 if self.in_full_widths else halves

    def broken_by(
        self, lines: Sequence[str], start: float, end: float, next_start: float | None = None
    ) -> tuple[str, ...]:
        """Return the kinds of limits that a cue breaks. Times are in seconds; `next_start` is that of the next cue."""
        widths = [self.width(line) for line in lines]
        seconds = end - start
        gap = self.min_gap_seconds if next_start is None else next_start - end
        tolerance = _TOLERANCE_SECONDS
        is_broken = {
            LINE_WIDTH: max(widths, default=0) > self.max_line_width,
            LINE_COUNT: len(lines) > self.max_line_count,
            TOO_SHORT: seconds < self.min_seconds - tolerance,
            TOO_LONG: seconds > self.max_seconds + tolerance,
            READING_SPEED: sum(widths) > self.max_characters_per_second * (seconds + tolerance),
            GAP: tolerance < gap < self.min_gap_seconds - tolerance,
            OVERLAP: gap < -tolerance,
        }
        return tuple(kind for kind in KINDS if is_broken[kind])


_CHINESE = SubtitleLimits(max_line_width=16, max_characters_per_second=9.0, in_full_widths=True)
_LIMITS = {
    **dict.fromkeys(("zh", "yue", "wuu", "nan", "ja"), _CHINESE),
    "ko": SubtitleLimits(max_line_width=16, max_characters_per_second=11.0, in_full_widths=True),
    **dict.fromkeys(("th", "lo", "km", "my"), SubtitleLimits(max_line_width=35, max_characters_per_second=17.0)),
}


def subtitle_limits(language: str | None) -> SubtitleLimits:
    """Return the usual limits of a language, by any of its codes or its English name; of English if it is None."""
    return _LIMITS.get(primary_code(language or ""), SubtitleLimits())


def _halves(character: str) -> int:
    """Return the width of a character in units of half a Han character."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
