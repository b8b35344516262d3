"""One utterance: a clip, or a recording of several sentences, with its texts, languages and speaker."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class EmbeddedAudio:
    """A media file embedded in a parquet manifest. Its bytes are read from disk on demand."""

    data: Any  # bytes or a memory-mapped pyarrow.Buffer
    name: str | None = None

    def read(self) -> bytes:
        """Return the bytes of the media file."""
        return bytes(self.data)


@dataclass(frozen=True, slots=True)
class Utterance:
    """A clip with its texts. Languages are codes of `voxlate.languages`; unknown fields are `None`.

    `seconds` is the duration of the clip. For a recording of several sentences, their texts are in `source_sentences`
    and `target_sentences`, in the order in which they are spoken, and `source_text` and `target_text` are None.
    """

    id: str
    audio: Path | EmbeddedAudio
    seconds: float | None = None
    source_language: str | None = None
    target_language: str | None = None
    source_text: str | None = None
    target_text: str | None = None
    speaker: str | None = None
    split: str | None = None
    error: str | None = None  # why the audio could not be read during preparation
    source_sentences: tuple[str, ...] = ()
    target_sentences: tuple[str, ...] = ()


NO_AUDIO = EmbeddedAudio(b"")  # for an utterance that has an error and no file
# Columns of a file that hold a text or a list of sentences, and the fields for the latter.
SENTENCES = {"source_text": "source_sentences", "target_text": "target_sentences"}
COLUMNS = tuple(field.name for field in fields(Utterance) if field.name not in SENTENCES.values())
