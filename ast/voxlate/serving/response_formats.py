"""Format results as OpenAI's API does. Subtitles and lines are written by the writers of `voxlate translate`."""

import zlib
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from voxlate.decoding.results import Segment, Translation
from voxlate.decoding.subtitle_options import SubtitleOptions
from voxlate.decoding.writers import to_dict, writers

OPENAI_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
ASR_FORMATS = ("txt", "vtt", "srt", "tsv", "json")
_FRAMES_PER_SECOND = 100  # in which whisper counts `seek`
_MEDIA_TYPES = {"vtt": "text/vtt", "tsv": "text/tab-separated-values"}


def openai_response(
    translation: Translation, response_format: str, *, words: bool = False, subtitles: SubtitleOptions
) -> Response:
    """Return the answer in one of OPENAI_FORMATS."""
    if response_format == "json":
        return JSONResponse({"text": translation.text})
    name = {"text": "txt", "verbose_json": "json"}.get(response_format, response_format)
    return asr_response(translation, name, words=words, subtitles=subtitles)


def asr_response(translation: Translation, output: str, *, words: bool = False, subtitles: SubtitleOptions) -> Response:
    """Return the answer in one of ASR_FORMATS: verbose JSON, whisper's tsv, or what `voxlate translate` writes."""
    if output == "json":
        return JSONResponse(verbose_json(translation, words=words))
    text = whisper_tsv(translation) if output == "tsv" else writers(subtitles)[output](translation)
    return PlainTextResponse(text, media_type=_MEDIA_TYPES.get(output, "text/plain"))


def whisper_tsv(translation: Translation) -> str:
    """Return whisper's table: start and end of each segment in milliseconds, and its text."""
    rows = [
        (round(1000 * one.start), round(1000 * one.end), one.text.replace("\t", " ")) for one in translation.segments
    ]
    return "".join("\t".join(map(str, row)) + "\n" for row in [("start", "end", "text"), *rows])


def verbose_json(translation: Translation, *, words: bool) -> dict[str, Any]:
    """Return OpenAI's verbose form. It also has the warnings and the stretches without speech of Voxlate's json."""
    own = to_dict(translation)
    return {
        "task": "translate" if translation.target_language else "transcribe",
        "language": language_name(translation),
        "duration": own["seconds"],
        "text": own["text"],
        "segments": [verbose_segment(id_, segment) for id_, segment in enumerate(translation.segments)],
        **({"words": [word for segment in translation.segments for word in _words(segment)]} if words else {}),
        **{name: own[name] for name in ("left_out", "warnings", "notes") if own[name]},
    }


def verbose_segment(id_: int, segment: Segment) -> dict[str, Any]:
    """Return a segment with all fields of whisper's. Those that this decoder does not have are constant."""
    text = segment.text.encode()
    return {
        "id": id_,
        "seek": round(segment.start * _FRAMES_PER_SECOND),
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(segment.candidates[0].score, 4),
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 4),
        "no_speech_prob": 0.0,
        **({"warnings": list(segment.warnings)} if segment.warnings else {}),
    }


def language_name(translation: Translation) -> str:
    """Return the code of the language of the text; und (undetermined) for a transcript whose language is unknown."""
    return translation.target_language or translation.source_language or "und"


def _words(segment: Segment) -> list[dict[str, Any]]:
    return [{"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)} for word in segment.words]
