"""Options of subtitles, checked without loading torch."""

import numbers
from dataclasses import dataclass, replace

from voxlate.errors import OptionError
from voxlate_eval.subtitle_limits import SubtitleLimits, subtitle_limits

_RANGES = {"max_line_width": (4, 1000), "max_line_count": (1, 20)}
_CUE_SECONDS = (1.0, 60.0)


@dataclass(frozen=True)
class SubtitleOptions:
    """The user's limits of subtitles, under the names of whisper where it has them.

    - `max_line_width`: characters per line. None is the custom of the language: 42, or 16 full-width characters in
      Chinese, Japanese and Korean.
    - `max_line_count`: lines per cue.
    - `max_cue_seconds`: the longest time that a cue is shown.

    OptionError names every value out of its range.
    """

    max_line_width: int | None = None
    max_line_count: int = 2
    max_cue_seconds: float = 7.0

    def __post_init__(self) -> None:
        problems = {}
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name == "max_line_width":
                continue
            if not isinstance(value, numbers.Integral) or not least <= int(value) <= most:
                problems[name] = f"is {value!r}, expected a whole number from {least} to {most}"
        seconds = self.max_cue_seconds
        if not isinstance(seconds, numbers.Real) or not _CUE_SECONDS[0] <= seconds <= _CUE_SECONDS[1]:  # NaN, too
            problems["max_cue_seconds"] = f"is {seconds!r}, expected {_CUE_SECONDS[0]:g} to {_CUE_SECONDS[1]:g}"
        if problems:
            raise OptionError(problems)

    def limits(self, language: str | None) -> SubtitleLimits:
        """Return all limits for a language: these options, and the customs of the language."""
        usual = subtitle_limits(language)
        return replace(
            usual,
            max_line_width=self.max_line_width or usual.max_line_width,
            max_line_count=self.max_line_count,
            max_seconds=self.max_cue_seconds,
        )

    def recorded(self) -> dict[str, object]:
        """Return the options that differ from the defaults, under the names of journals."""
        return {name: value for name, value in vars(self).items() if value != getattr(DEFAULT_SUBTITLES, name)}


DEFAULT_SUBTITLES = SubtitleOptions()
