"""Results for one audio input: its translation or transcript, in segments."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

from voxlate.errors import AudioError
from voxlate.text import join_texts

Result = TypeVar("Result")


class Recipe(Mapping[str, object]):
    """What a result depends on besides the audio: model, search settings, precision, versions.

    It is a read-only mapping that is computed on first access, since that needs the checksum of the model's weights.
    """

    def __init__(self, compute: Callable[[], Mapping[str, object]] = dict) -> None:
        self._compute = compute

    @cached_property
    def _values(self) -> Mapping[str, object]:
        return self._compute()

    def __getitem__(self, name: str) -> object:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[type[dict[str, object]], tuple[dict[str, object]]]:
        return dict, (dict(self),)  # pickled and copied as a plain dict


@dataclass(frozen=True)
class Candidate:
    """A hypothesis as text. `score` is its log-probability divided by length ** length_penalty (see `Hypothesis`)."""

    text: str
    score: float


@dataclass(frozen=True)
class Word:
    """A word of a translation or transcript; `start` and `end` are in seconds, as in `Segment`."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """A stretch of the audio and its hypotheses, best first. A transcript has one, with its words.

    `start` and `end` are in seconds on the file's own clock. Time 0 is the beginning of the container's timeline; in
    MPEG and Ogg streams, whose timestamps begin anywhere, it is the earliest timestamp of all tracks. For an array,
    it is the first sample. `transcript` has the spoken words of a translated segment, if they were asked for.
    `warnings` say what cannot be right about the translation, for example that speech may be missing in it.
    """

    start: float
    end: float
    candidates: tuple[Candidate, ...]
    words: tuple[Word, ...] = ()
    transcript: tuple[Word, ...] = field(default=(), kw_only=True)
    warnings: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def text(self) -> str:
        """The best hypothesis."""
        return self.candidates[0].text


@dataclass(frozen=True)
class SpanResult:
    """The result of a span of samples that was cut out: one segment, or several if it was cut again.

    `cut_off` counts the segments whose text reached the maximum length.
    """

    segments: tuple[Segment, ...]
    cut_off: int = 0


@dataclass(frozen=True)
class LeftOut:
    """A stretch of at least a second in no segment, with its reason; `start` and `end` are as in `Segment`."""

    start: float
    end: float
    reason: Literal["silence", "no speech"]


@dataclass(frozen=True)
class Translation:
    """The translation of one input, or its transcript, which has no target language. Silence has no segments.

    - `audio`: the path, or the type of an input that has none.
    - `seconds`: end of the audio, on the file's clock.
    - `warnings`: audio that was lost, such as the missing part of a truncated file.
    - `notes`: choices that were made, such as the audio track.
    - `left_out`: stretches without speech.
    - `recipe`: what the result depends on besides the audio, as in json files (see `Recipe`).
    """

    audio: str
    seconds: float
    target_language: str | None
    segments: tuple[Segment, ...]
    source_language: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    left_out: tuple[LeftOut, ...] = field(default=(), kw_only=True)
    # Neither printed nor compared: that would compute it.
    recipe: Mapping[str, object] = field(default_factory=Recipe, repr=False, compare=False)

    @property
    def text(self) -> str:
        """All segments on one line, joined as the language is written."""
        return join_texts((segment.text for segment in self.segments), self.target_language or self.source_language)


def result_or_raise(result: Result | AudioError) -> Result:
    """Return a result; raise it if it is an error."""
    if isinstance(result, AudioError):
        raise result
    return result
