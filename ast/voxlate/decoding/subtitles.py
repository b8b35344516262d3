"""Build subtitles from a translation: cues that can be read, from words and their times.

`cue_search` decides where cues and lines end. A cue that breaks a limit is kept, and says why. Every word is in exactly
one cue.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, floor

from voxlate.decoding.cue_search import CueSearch, TimedPart
from voxlate.decoding.line_breaks import text_parts
from voxlate.decoding.results import Segment, Translation, Word
from voxlate.decoding.subtitle_options import DEFAULT_SUBTITLES, SubtitleOptions
from voxlate.text import join_texts
from voxlate_eval.subtitle_limits import READING_SPEED, TOO_SHORT, SubtitleLimits

LONG_TRANSCRIPT = "lines of the transcript"

_SHORTEST_SECONDS = 0.2  # of a cue whose words have no duration
_LISTED = 5  # times of cues in a note
_LATE_SECONDS = 0.25  # that a cue may begin after its first word, so that the one before can be read


@dataclass(frozen=True)
class Cue:
    """A subtitle: lines that are shown from `start` to `end`, in seconds with two decimals.

    `transcript` has the lines of what was said, if the translation has transcripts; `problems` has the kinds of limits
    (`voxlate_eval.subtitle_limits.KINDS`, or `LONG_TRANSCRIPT`) that the cue breaks.
    """

    start: float
    end: float
    lines: tuple[str, ...]
    transcript: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def make_cues(translation: Translation, options: SubtitleOptions = DEFAULT_SUBTITLES) -> tuple[Cue, ...]:
    """Return the subtitles of a translation or a transcript, in order, without overlaps."""
    return _make_cues(
        translation.segments,
        translation.target_language or translation.source_language,
        translation.source_language,
        translation.seconds,
        options,
    )


def subtitle_notes(translation: Translation, options: SubtitleOptions = DEFAULT_SUBTITLES) -> tuple[str, ...]:
    """Return a note for each kind of limit that some cues break: how many, why, and when they begin."""
    cues = make_cues(translation, options)
    limits = options.limits(translation.target_language or translation.source_language)
    lines = "line" if limits.max_line_count == 1 else "lines"
    counts = Counter(problem for cue in cues for problem in cue.problems)
    reasons = {
        READING_SPEED: f"exceed {limits.max_characters_per_second:g} characters a second: speech is faster there",
        LONG_TRANSCRIPT: f"have over {limits.max_line_count} {lines} of transcript: more was said than is translated",
        TOO_SHORT: f"are shorter than {limits.min_seconds:g} s: other speech or the end of the audio follows at once",
    }
    notes = []
    for problem, count in counts.items():
        times = [_clock(cue.start) for cue in cues if problem in cue.problems]
        reason = reasons.get(problem, f"break the limit of {problem}")
        more = f", and {len(times) - _LISTED:,} more" if len(times) > _LISTED else ""
        notes.append(f"{count} of {len(cues)} cues {reason} (at {', '.join(times[:_LISTED])}{more})")
    return tuple(notes)


@lru_cache(maxsize=1)  # the formats of a result are written one after another
def _make_cues(
    segments: tuple[Segment, ...], language: str | None, source: str | None, seconds: float, options: SubtitleOptions
) -> tuple[Cue, ...]:
    limits = options.limits(language)
    parts = _increasing([_timed_parts(segment, language, limits) for segment in segments], language)
    if not parts:
        return ()
    lines_of_cues = CueSearch(parts, limits, seconds).cues()
    cues = [
        Cue(parts[lines[0][0]].start, parts[lines[-1][-1]].end, tuple(_line(parts, line) for line in lines))
        for lines in lines_of_cues
    ]
    cues = _with_times(cues, limits, seconds)
    transcript = [word for segment in segments for word in segment.transcript]
    if transcript:
        cues = _with_transcript(cues, transcript, source, options)
    next_starts = [*(cue.start for cue in cues[1:]), None]
    broken = [
        limits.broken_by(cue.lines, cue.start, cue.end, next_start)
        for cue, next_start in zip(cues, next_starts, strict=True)
    ]
    return tuple(
        replace(cue, problems=(*problems, *[LONG_TRANSCRIPT] * (len(cue.transcript) > limits.max_line_count)))
        for cue, problems in zip(cues, broken, strict=True)
    )


def _timed_parts(segment: Segment, language: str | None, limits: SubtitleLimits) -> list[TimedPart]:
    """Return the parts of a segment's text with their times, those of its words or shared out by characters."""
    text = " ".join("".join(" " if _is_control(letter) else letter for letter in segment.text).split())
    parts = text_parts(text, language, limits)
    letters = sum(part.end - part.start for part in parts)
    times = _letter_times(segment)
    position = 0
    timed = []
    for part in parts:
        first = position * len(times) // letters
        position += part.end - part.start
        last = max(first, -(-position * len(times) // letters) - 1)
        timed.append(TimedPart(part.text, part.is_spaced, part.badness, times[first][0], times[last][1]))
    return timed


def _letter_times(segment: Segment) -> list[tuple[float, float]]:
    """Return the start and end, in seconds, of each letter that is not a space; those of a word share its time."""
    words = segment.words or (Word(segment.text, segment.start, segment.end),)
    times: list[tuple[float, float]] = []
    for word in words:
        count = len("".join(word.text.split()))
        seconds = max(0.0, word.end - word.start)
        times += [
            (word.start + seconds * letter / count, word.start + seconds * (letter + 1) / count)
            for letter in range(count)
        ]
    return times or [(segment.start, segment.end)]


def _increasing(segments: Sequence[Sequence[TimedPart]], language: str | None) -> list[TimedPart]:
    """Return the parts of all segments, with starts and ends that never decrease."""
    parts: list[TimedPart] = []
    start = end = 0.0
    for segment in segments:
        for index, part in enumerate(segment):
            start = max(start, part.start)
            end = max(end, part.end, start)
            is_spaced = part.is_spaced
            if index == 0 and parts:
                joined = join_texts((parts[-1].text, part.text), language)
                is_spaced = len(joined) > len(parts[-1].text) + len(part.text)
            parts.append(replace(part, is_spaced=is_spaced, start=start, end=end))
    return parts


def _line(parts: Sequence[TimedPart], line: range) -> str:
    text = parts[line[0]].text
    for index in line[1:]:
        part = parts[index]
        text += f" {part.text}" if part.is_spaced else part.text
    return text


def _with_times(cues: Sequence[Cue], limits: SubtitleLimits, seconds: float) -> list[Cue]:
    """Show each cue long enough to be read, if the next one can wait for it, and close short gaps."""
    starts = [round(cue.start, 2) for cue in cues]
    for index in range(1, len(starts)):  # so that no cue vanishes
        starts[index] = max(starts[index], round(starts[index - 1] + _SHORTEST_SECONDS, 2))
    starts.append(max(seconds, cues[-1].end, starts[-1] + _SHORTEST_SECONDS))
    needed = [_readable_seconds(cue, limits) for cue in cues]
    for index in range(1, len(cues)):
        missing = starts[index - 1] + needed[index - 1] - starts[index]
        spare = starts[index + 1] - starts[index] - needed[index]
        delay = min(missing, spare, _LATE_SECONDS)
        starts[index] += max(0.0, floor(delay * 100 + 0.01) / 100)
    timed = []
    for cue, start, following, shown in zip(cues, starts, starts[1:], needed, strict=False):
        latest = min(following, start + limits.max_seconds)
        end = min(max(cue.end, start + shown), latest)
        if following - end < limits.min_gap_seconds:
            end = following if following <= latest else min(end, following - limits.min_gap_seconds)
        timed.append(replace(cue, start=round(start, 2), end=round(end, 2)))
    return timed


def _readable_seconds(cue: Cue, limits: SubtitleLimits) -> float:
    """Return how long a cue must be shown, in seconds with two decimals."""
    width = sum(map(limits.width, cue.lines))
    return max(limits.min_seconds, ceil(100 * width / limits.max_characters_per_second) / 100)


def _with_transcript(
    cues: Sequence[Cue], words: Sequence[Word], language: str | None, options: SubtitleOptions
) -> list[Cue]:
    """Add to each cue the words that were said from its start to that of the next one, by their middle."""
    limits = options.limits(language)
    said: list[list[Word]] = [[] for _ in cues]
    index = 0
    for word in words:
        middle = (word.start + word.end) / 2
        while index + 1 < len(cues) and cues[index + 1].start <= middle:
            index += 1
        said[index].append(word)
    return [
        replace(cue, transcript=_wrapped(said_words, language, limits))
        for cue, said_words in zip(cues, said, strict=True)
    ]


def _wrapped(words: Sequence[Word], language: str | None, limits: SubtitleLimits) -> tuple[str, ...]:
    """Return the words on as few lines as they need."""
    text = join_texts((word.text for word in words), language)
    parts = [
        TimedPart(part.text, part.is_spaced, part.badness, 0.0, 0.0) for part in text_parts(text, language, limits)
    ]
    if not parts:
        return ()
    unlimited = replace(limits, max_line_count=len(parts))
    return tuple(_line(parts, line) for line in CueSearch(parts, unlimited, 0.0).lines())


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) == "Cc"


def _clock(seconds: float) -> str:
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes // 60}:{minutes % 60:02}:{tenths / 10:04.1f}"


def is_right_to_left(lines: Iterable[str]) -> bool:
    """Return whether most letters belong to scripts that are written from right to left."""
    counts = Counter(unicodedata.bidirectional(letter) for line in lines for letter in line if letter.isalpha())
    return counts["R"] + counts["AL"] > counts["L"]
