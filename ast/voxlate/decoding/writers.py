"""Format results as txt, tsv, json, srt, vtt and ass, as strings or files. WRITERS lists the formats."""

import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TextIO, TypeAlias

from voxlate.decoding.results import Translation, Word
from voxlate.decoding.subtitle_formats import SUBTITLE_WRITERS, to_ass, to_srt, to_vtt
from voxlate.decoding.subtitle_options import DEFAULT_SUBTITLES, SubtitleOptions
from voxlate.errors import check_type
from voxlate.files import write_text

TextOutput: TypeAlias = str | os.PathLike[str] | TextIO  # a path, or an open text file

# All characters that Python, spreadsheets or pandas treat as the end of a line.
_LINE_ENDS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def to_txt(translation: Translation) -> str:
    """Return one line per segment, or an empty line if there are no segments."""
    return "".join(f"{one_line(segment.text)}\n" for segment in translation.segments) or "\n"


def to_line(translation: Translation, *, language: bool = False) -> str:
    """Return the input's name, optionally the target language, and the whole text, separated by tabs."""
    return f"{_first_cells(translation, language)}\t{one_cell(translation.text)}\n"


def tsv_header(*, languages: bool = False) -> str:
    """Return the header of a table; with `languages`, it has a column for the target language."""
    return "\t".join(["audio", *(["language"] if languages else []), "start", "end", "rank", "score", "text\n"])


def tsv_rows(translation: Translation, *, language: bool = False) -> str:
    """Return one row per segment and hypothesis, without a header. Times are in seconds."""
    return "".join(
        f"{_first_cells(translation, language)}\t{segment.start:.3f}\t{segment.end:.3f}\t{rank}\t"
        f"{candidate.score:.4f}\t{one_cell(candidate.text)}\n"
        for segment in translation.segments
        for rank, candidate in enumerate(segment.candidates, start=1)
    )


def to_tsv(translation: Translation) -> str:
    """Return a table with a header and one row per segment and hypothesis."""
    return tsv_header() + tsv_rows(translation)


def to_dict(translation: Translation) -> dict[str, object]:
    """Return all fields of a translation as JSON types. Times are in seconds."""
    return {
        "audio": translation.audio,
        "seconds": round(translation.seconds, 3),
        "source_language": translation.source_language,
        "target_language": translation.target_language,
        "text": translation.text,
        "segments": [
            {
                "start": round(segment.start, 3),
                "end": round(segment.end, 3),
                "text": segment.text,
                "score": round(segment.candidates[0].score, 4),
                "candidates": [
                    {"text": candidate.text, "score": round(candidate.score, 4)} for candidate in segment.candidates
                ],
                **({"words": [_word(word) for word in segment.words]} if segment.words else {}),
                **({"warnings": list(segment.warnings)} if segment.warnings else {}),
                **({"transcript": [_word(word) for word in segment.transcript]} if segment.transcript else {}),
            }
            for segment in translation.segments
        ],
        "left_out": [
            {"start": round(one.start, 3), "end": round(one.end, 3), "reason": one.reason}
            for one in translation.left_out
        ],
        "warnings": list(translation.warnings),
        "notes": list(translation.notes),
        "recipe": dict(translation.recipe),
    }


def _word(word: Word) -> dict[str, object]:
    return {"text": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}


def to_json(translation: Translation) -> str:
    """Return one indented JSON object."""
    return json.dumps(to_dict(translation), ensure_ascii=False, indent=2) + "\n"


def to_json_line(translation: Translation) -> str:
    """Return one JSON object on one line."""
    line = json.dumps(to_dict(translation), ensure_ascii=False)
    return _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", line) + "\n"  # JSON itself leaves some unescaped


WRITERS: dict[str, Callable[[Translation], str]] = {
    "txt": to_txt,
    "tsv": to_tsv,
    "json": to_json,
    "srt": to_srt,
    "vtt": to_vtt,
    "ass": to_ass,
}


def writers(subtitles: SubtitleOptions = DEFAULT_SUBTITLES) -> dict[str, Callable[[Translation], str]]:
    """Return the writers of all formats; those of subtitles use the given options."""
    return WRITERS | {name: partial(write, options=subtitles) for name, write in SUBTITLE_WRITERS.items()}


def write_txt(translation: Translation, output: TextOutput) -> None:
    """Write one line per segment to a path or an open text file."""
    _write(to_txt, translation, output)


def write_tsv(translation: Translation, output: TextOutput) -> None:
    """Write a table with a header and one row per segment and hypothesis to a path or an open text file."""
    _write(to_tsv, translation, output)


def write_json(translation: Translation, output: TextOutput) -> None:
    """Write one JSON object with all hypotheses, times and the recipe to a path or an open text file."""
    _write(to_json, translation, output)


def write_srt(translation: Translation, output: TextOutput, options: SubtitleOptions = DEFAULT_SUBTITLES) -> None:
    """Write SubRip subtitles to a path or an open text file."""
    _write(partial(to_srt, options=options), translation, output)


def write_vtt(translation: Translation, output: TextOutput, options: SubtitleOptions = DEFAULT_SUBTITLES) -> None:
    """Write WebVTT subtitles to a path or an open text file."""
    _write(partial(to_vtt, options=options), translation, output)


def write_ass(translation: Translation, output: TextOutput, options: SubtitleOptions = DEFAULT_SUBTITLES) -> None:
    """Write Advanced SubStation Alpha subtitles to a path or an open text file."""
    _write(partial(to_ass, options=options), translation, output)


def _write(format_: Callable[[Translation], str], translation: Translation, output: TextOutput) -> None:
    """Write to a path, atomically and as UTF-8, or to an open file, which stays open."""
    check_type("translation", translation, Translation)
    text = format_(translation)
    if isinstance(output, (str, os.PathLike)):
        write_text(Path(output), text)
    else:
        output.write(text)


def one_line(text: str) -> str:
    """Replace ends of lines by spaces."""
    return _LINE_ENDS.sub(" ", text)


def message_line(text: str) -> str:
    """Replace control characters and ends of lines by spaces: file names may contain any."""
    return _CONTROL.sub(" ", text)


def one_cell(text: str) -> str:
    """Replace tabs and ends of lines by spaces."""
    return one_line(text).replace("\t", " ")


def _first_cells(translation: Translation, language: bool) -> str:
    name = one_cell(translation.audio)
    return f"{name}\t{translation.target_language}" if language else name
