"""Translations as text files: txt, tsv, json, srt, vtt."""

import json
from collections.abc import Callable

from voxlate.decoding.translation import Translation, Word

TSV_HEADER = "audio\tstart\tend\trank\tscore\ttext\n"


def to_txt(translation: Translation) -> str:
    """Return one line per segment; an empty line where there was nothing to translate."""
    return "".join(f"{segment.text}\n" for segment in translation.segments) or "\n"


def to_line(translation: Translation) -> str:
    """Return the input's name and its whole translation on one line, with a tab between them."""
    return f"{_one_cell(translation.audio)}\t{translation.text}\n"


def tsv_rows(translation: Translation) -> str:
    """Return one row per segment and hypothesis, without the header. Times are in seconds."""
    return "".join(
        f"{_one_cell(translation.audio)}\t{segment.start:.3f}\t{segment.end:.3f}\t{rank}\t{candidate.score:.4f}\t"
        f"{_one_cell(candidate.text)}\n"
        for segment in translation.segments
        for rank, candidate in enumerate(segment.candidates, start=1)
    )


def to_tsv(translation: Translation) -> str:
    """Return a table with a header and one row per segment and hypothesis."""
    return TSV_HEADER + tsv_rows(translation)


def to_dict(translation: Translation) -> dict[str, object]:
    """Return everything that is known of a translation, as JSON holds it."""
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
            }
            for segment in translation.segments
        ],
        "warnings": list(translation.warnings),
        "notes": list(translation.notes),
        "recipe": translation.recipe,
    }


def _word(word: Word) -> dict[str, object]:
    return {"text": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}


def to_json(translation: Translation) -> str:
    """Return one indented JSON object."""
    return json.dumps(to_dict(translation), ensure_ascii=False, indent=2) + "\n"


def to_json_line(translation: Translation) -> str:
    """Return one JSON object on one line."""
    return json.dumps(to_dict(translation), ensure_ascii=False) + "\n"


def to_srt(translation: Translation) -> str:
    """Return SubRip subtitles; segments without text are left out."""
    cues = [segment for segment in translation.segments if segment.text]
    return "\n".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text.replace('-->', '→')}\n"
        for number, cue in enumerate(cues, start=1)
    )


def to_vtt(translation: Translation) -> str:
    """Return WebVTT subtitles, with markup characters escaped."""
    cues = [segment for segment in translation.segments if segment.text]
    return "WEBVTT\n" + "".join(
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escape(cue.text)}\n" for cue in cues
    )


WRITERS: dict[str, Callable[[Translation], str]] = {
    "txt": to_txt,
    "tsv": to_tsv,
    "json": to_json,
    "srt": to_srt,
    "vtt": to_vtt,
}


def _clock(seconds: float, separator: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{separator}{milliseconds % 1000:03}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_cell(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")
