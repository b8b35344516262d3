"""Read subtitles of any tool: srt, vtt, ass and the other formats of pysubs2."""

import html
import re
from dataclasses import dataclass
from pathlib import Path

from pysubs2 import SSAEvent, SSAFile
from pysubs2.exceptions import Pysubs2Error

from voxlate_eval import EvaluationError

_EXPECTED = "expected subtitles in srt, vtt, ass or another format that pysubs2 reads"
_TIME_LINE = re.compile(r"[\d:.,]+ *-->")
_TAG = re.compile(r"</?[a-zA-Z0-9.][^<>\n]*>")


@dataclass(frozen=True)
class SubtitleCue:
    """Lines of text without markup, shown from `start` to `end`, in seconds."""

    start: float
    end: float
    lines: tuple[str, ...]


def read_subtitles(path: Path) -> list[SubtitleCue]:
    """Return the cues of a file, sorted by start. Raises EvaluationError if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: not UTF-8 (byte {error.start:,}); convert it to UTF-8") from None
    if not text.strip():
        return []
    try:
        subtitles = SSAFile.from_string(text, keep_html_tags=True)
    except (Pysubs2Error, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise EvaluationError(f"{path}: {_EXPECTED} ({reason})") from None
    lines_of = _HTML_LINES.get(subtitles.format or "", _ass_lines)
    cues = [SubtitleCue(event.start / 1000, event.end / 1000, lines_of(event)) for event in subtitles.get_text_events()]
    lines = (line for event in subtitles.get_text_events() for line in event.text.replace(r"\N", "\n").split("\n"))
    for line in lines if subtitles.format in _HTML_LINES else ():
        if _TIME_LINE.match(line):  # pysubs2 takes it for text
            raise EvaluationError(f"{path}: {line!r} is not a time, expected such as '00:00:01,000 --> 00:00:02,500'")
    return sorted((cue for cue in cues if cue.lines), key=lambda cue: cue.start)


def _ass_lines(event: SSAEvent) -> tuple[str, ...]:
    text = event.text.replace(r"\{{}", "\0")  # a brace, as FFmpeg and Voxlate write it
    return _lines(SSAEvent(text=text).plaintext.replace("\0", "{"))


def _srt_lines(event: SSAEvent) -> tuple[str, ...]:
    """Return the lines without tags, also those of ass, which players understand in srt."""
    return _lines(re.sub(r"{\\[^}]*}", "", _TAG.sub("", event.text.replace(r"\N", "\n"))))


def _vtt_lines(event: SSAEvent) -> tuple[str, ...]:
    """Return the lines before the first empty one: what follows it is the name of the next cue, or a comment."""
    text = _TAG.sub("", event.text.replace(r"\N", "\n")).partition("\n\n")[0]
    return _lines(html.unescape(text))


_HTML_LINES = {"srt": _srt_lines, "vtt": _vtt_lines}


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in map(str.strip, text.split("\n")) if line)
