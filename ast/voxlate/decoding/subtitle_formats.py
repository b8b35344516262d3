"""Write cues as SubRip (srt), WebVTT (vtt) and Advanced SubStation Alpha (ass), through pysubs2.

pysubs2 escapes nothing. Its own markup, and that of each format and of the players, is kept out of the text here:

- ``\\N``, ``\\n`` and ``\\h`` are spaces and line breaks in all of them: a word joiner (U+2060) follows each backslash.
- ``{...}`` is hidden by libass, which also shows srt in mpv and FFmpeg. In ass, ``\\{{}`` is a brace (as FFmpeg writes
  it); in srt, which has no escape, braces become parentheses.
- ``<...>`` is a tag in srt and vtt. vtt has entities; in srt, a word joiner follows ``<``.
- ``-->`` separates times in srt, where it becomes an arrow.

Lines from right to left are embedded (U+202B, U+202C), since many players assume left to right, and put the final
period on the wrong side. In bilingual subtitles of both directions, those from left to right are, too (U+202A).
"""

import io
import re
from collections.abc import Callable, Iterable

from pysubs2 import SSAEvent, SSAFile, SSAStyle
from pysubs2.formats.subrip import SubripFormat
from pysubs2.formats.substation import SubstationFormat
from pysubs2.formats.webvtt import WebVTTFormat
from pysubs2.time import ms_to_times

from voxlate.decoding.results import Translation
from voxlate.decoding.subtitle_options import DEFAULT_SUBTITLES, SubtitleOptions
from voxlate.decoding.subtitles import is_right_to_left, make_cues

_WORD_JOINER = "\u2060"
_LEFT_TO_RIGHT, _RIGHT_TO_LEFT = ("\u202a", "\u202c"), ("\u202b", "\u202c")
_FRAME = (1280, 720)  # in whose pixels the style is measured
_STYLE = SSAStyle(fontsize=40, outline=2, shadow=0, marginl=60, marginr=60, marginv=36)
_TRANSCRIPT_SIZE = 30


def to_srt(translation: Translation, options: SubtitleOptions = DEFAULT_SUBTITLES) -> str:
    """Return SubRip subtitles (see `SubtitleOptions`)."""
    return _text(_file(translation, options, _escape_srt), SubripFormat, "srt")


def to_vtt(translation: Translation, options: SubtitleOptions = DEFAULT_SUBTITLES) -> str:
    """Return WebVTT subtitles (see `SubtitleOptions`)."""
    return _text(_file(translation, options, _escape_vtt), WebVTTFormat, "vtt")


def to_ass(translation: Translation, options: SubtitleOptions = DEFAULT_SUBTITLES) -> str:
    """Return Advanced SubStation Alpha subtitles (see `SubtitleOptions`), for a frame of 1280 by 720 pixels."""
    subtitles = _file(translation, options, _escape_ass, transcript=f"{{\\fs{_TRANSCRIPT_SIZE}}}")
    subtitles.styles["Default"] = _STYLE.copy()
    subtitles.styles["Default"].encoding = -1  # libass: the direction of a line is that of its first letter
    width, height = map(str, _FRAME)
    # WrapStyle 2 breaks lines only where they end here.
    subtitles.info |= {"PlayResX": width, "PlayResY": height, "WrapStyle": "2", "ScaledBorderAndShadow": "yes"}
    return _text(subtitles, _LongSubstation, "ass", header_notice="")


SUBTITLE_WRITERS: dict[str, Callable[..., str]] = {"srt": to_srt, "vtt": to_vtt, "ass": to_ass}


class _LongSubstation(SubstationFormat):
    """Also writes times of 10 hours or more, which pysubs2 would replace by 9:59:59.99, and players read."""

    @staticmethod
    def ms_to_timestamp(requested_ms: int) -> str:
        hours, minutes, seconds, milliseconds = ms_to_times(requested_ms)
        return f"{hours}:{minutes:02}:{seconds:02}.{milliseconds // 10:02}"


def _file(
    translation: Translation, options: SubtitleOptions, escape: Callable[[str], str], transcript: str = ""
) -> SSAFile:
    """Return the cues as a file of pysubs2. The lines of the transcript come last, after the tag `transcript`."""
    cues = make_cues(translation, options)
    marks = _direction_marks(line for cue in cues for line in cue.lines)
    said_marks = _direction_marks(line for cue in cues for line in cue.transcript)
    if marks == said_marks == _LEFT_TO_RIGHT:
        marks = said_marks = ("", "")
    subtitles = SSAFile()
    for cue in cues:
        lines = [escape(line).join(marks) for line in cue.lines]
        said = [escape(line).join(said_marks) for line in cue.transcript]
        if said:
            said[0] = transcript + said[0]
        event = SSAEvent(round(cue.start * 1000), round(cue.end * 1000), r"\N".join(lines + said))
        subtitles.events.append(event)
    return subtitles


def _text(subtitles: SSAFile, kind: type[SubstationFormat | SubripFormat], name: str, **options: str) -> str:
    """Return the text of a file, which ends with one line break unless it is empty."""
    file = io.StringIO()
    kind.to_file(subtitles, file, name, keep_ssa_tags=True, apply_styles=False, **options)
    text = file.getvalue().rstrip("\n")
    return f"{text}\n" if text else ""


def _direction_marks(lines: Iterable[str]) -> tuple[str, str]:
    """Return the characters that embed a line in the direction of most letters."""
    return _RIGHT_TO_LEFT if is_right_to_left(lines) else _LEFT_TO_RIGHT


def _escape_backslashes(line: str) -> str:
    return line.replace("\\", f"\\{_WORD_JOINER}")


def _escape_srt(line: str) -> str:
    line = line.replace("-->", "→").translate({ord("{"): "(", ord("}"): ")"})
    return re.sub(r"<(?=[^\s\d])", f"<{_WORD_JOINER}", _escape_backslashes(line))


def _escape_vtt(line: str) -> str:
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _escape_backslashes(line)


def _escape_ass(line: str) -> str:
    return _escape_backslashes(line).replace("{", r"\{{}")
