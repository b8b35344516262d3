"""What the translation of one audio input is, or its transcript."""

from dataclasses import dataclass, field

from voxlate.text import join_texts


@dataclass(frozen=True)
class Candidate:
    """One hypothesis as text; `score` is its log-probability divided by its length (see `Hypothesis`)."""

    text: str
    score: float


@dataclass(frozen=True)
class Word:
    """A word of a transcript, in seconds on the file's clock (see `Segment`)."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """One piece of the audio, in seconds on the file's clock, and its hypotheses, best first.

    Time 0 is where the container's timeline begins; in MPEG and Ogg streams, whose timestamps begin anywhere, it is the
    earliest one of all tracks. Of an array, it is the first sample.
    Of a transcript there is one hypothesis, with the times of its words.
    """

    start: float
    end: float
    candidates: tuple[Candidate, ...]
    words: tuple[Word, ...] = ()

    @property
    def text(self) -> str:
        """The best hypothesis."""
        return self.candidates[0].text


@dataclass(frozen=True)
class Translation:
    """The translation of one input. There are no segments where there is no sound.

    `seconds` is when the sound ends, on the file's clock. `warnings` tell of sound that is lost, `notes` of choices
    that were made. A transcript has no target language.
    """

    audio: str
    seconds: float
    target_language: str | None
    segments: tuple[Segment, ...]
    source_language: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    recipe: dict[str, object] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The whole translation, or transcript, on one line, joined as its language is written."""
        return join_texts((segment.text for segment in self.segments), self.target_language or self.source_language)
