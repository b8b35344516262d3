"""What systems said of clips and what manifests say of them: rows of hypotheses and references, and their files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a system said of one clip; `error` says why it said nothing.

    Where a file has segments, `segments` has their texts, which are joined once the target language is known.
    """

    id: str
    text: str
    error: str | None = None
    language: str | None = None  # the target language, where the row names it
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """What a manifest says of one clip. Its text stays as it is, byte for byte."""

    id: str
    target_text: str
    source_text: str | None = None
    source_language: str | None = None
    target_language: str | None = None
    seconds: float | None = None
    speaker: str | None = None
    split: str | None = None
    audio: str | None = None  # a path, from the manifest's folder or absolute


@dataclass(frozen=True)
class Hypotheses:
    """A file of hypotheses; results of `voxlate translate` have names of audio files for ids, plain text has lines."""

    path: Path
    rows: Sequence[Hypothesis]
    has_ids: bool
    meta: dict[str, Any] = field(default_factory=dict)
    has_names: bool = False


@dataclass(frozen=True)
class References:
    """A file of references; plain text has line numbers in place of ids."""

    path: Path
    rows: Sequence[Reference]
    has_ids: bool
