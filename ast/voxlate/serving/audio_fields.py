"""Read what a client wants from the fields of its form. Unknown fields are ignored, as clients send many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from voxlate.serving.api_errors import ApiError
from voxlate.serving.model_names import ModelNames, source_code
from voxlate.serving.response_formats import OPENAI_FORMATS
from voxlate.serving.uploads import UploadForm

_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class AudioFields:
    """What a client wants: a translation into `target_language`, or a transcript if that is None."""

    model: str
    target_language: str | None
    source_language: str | None
    response_format: str
    words: bool = False
    stream: bool = False

    @property
    def task(self) -> Literal["translate", "transcribe"]:
        """The task, as whisper names it."""
        return "translate" if self.target_language else "transcribe"


def openai_fields(form: UploadForm, names: ModelNames, *, translates: bool) -> AudioFields:
    """Read the fields of OpenAI's API. ApiError names the first that is wrong.

    - `model`: a name of a model; the first model if it is missing.
    - `to_language` (vLLM's name) or `target_language`: prevails over the language of a name such as MODEL:de. Without
      either, translations are into the default language (`ModelNames.default_target`), and transcriptions are
      transcripts.
    - `language`: the spoken language, which is only recorded.
    - `response_format`, `timestamp_granularities[]`, `stream`: as OpenAI's. The granularities count in verbose_json.
    - `temperature`, `prompt` and all others are ignored.
    """
    named = names.find(form.get("model"))
    given = form.get("to_language", "target_language")
    target = names.target(named.model, given, param="to_language") if given else named.target_language
    granularities = [value for name in ("timestamp_granularities[]", "timestamp_granularities")
                     for value in form.fields.get(name, ())]  # fmt: skip
    response_format = checked_choice("response_format", form.get("response_format"), OPENAI_FORMATS)
    return AudioFields(
        named.model,
        target or (names.default_target(named.model) if translates else None),
        source_code(form.get("language")),
        response_format,
        words=response_format == "verbose_json" and any("word" in value for value in granularities),
        stream=is_true(form.get("stream")),
    )


def checked_choice(param: str, value: str | None, choices: Sequence[str]) -> str:
    """Return one of several names, the first by default. ApiError if it is another."""
    if value is None:
        return choices[0]
    if value.lower() not in choices:
        raise ApiError(400, f"{param} is {value[:100]!r}, expected one of {', '.join(choices)}", param=param)
    return value.lower()


def is_true(value: str | None, default: bool = False) -> bool:
    """Return whether a field is true."""
    return default if value is None else value.strip().lower() in _TRUE
