"""Rows of hypotheses and references, and the files that they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.strict_json import shorten

_SHOWN = 5  # ids in a message


@dataclass(frozen=True, slots=True)
class HypothesisRow:
    """A system's output for one clip; `error` is the reason for an empty text.

    If the file has segments, `segments` holds their texts. They are joined once the target language is known.
    """

    id: str
    text: str
    error: str | None = None
    language: str | None = None  # target language, if the row has it
    segments: tuple[str, ...] = ()
    stated_reference: str | None = None  # if the file has references, too


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """A manifest's entry for one clip. The text is never changed.

    For a recording, `sentences` has the texts of its sentences instead, and `source_sentences` their transcripts.
    """

    id: str
    target_text: str
    source_text: str | None = None
    source_language: str | None = None
    target_language: str | None = None
    seconds: float | None = None
    speaker: str | None = None
    split: str | None = None
    audio: str | None = None  # path, relative to the manifest's folder or absolute
    sentences: tuple[str, ...] = ()
    source_sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hypotheses:
    """A file of hypotheses.

    Results of `voxlate translate` are identified by the names of audio files (`has_names`), plain text by line numbers.
    """

    path: Path
    rows: Sequence[HypothesisRow]
    has_ids: bool
    meta: dict[str, Any] = field(default_factory=dict)
    has_names: bool = False


@dataclass(frozen=True)
class References:
    """A file of references; rows of plain text are identified by line numbers."""

    path: Path
    rows: Sequence[ReferenceRow]
    has_ids: bool


def raise_if_any(ids: Sequence[str], where: object, problem: str, remedy: str = "") -> None:
    """Raise EvaluationError with the number of ids, the problem that they have, and the first five of them."""
    if ids:
        more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
        listed = ", ".join(map(shorten, ids[:_SHOWN]))
        raise EvaluationError(f"{where}: {len(ids):,} {problem}: {listed}{more}{remedy and f'; {remedy}'}")
