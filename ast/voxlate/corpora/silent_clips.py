"""Decode the clips of a manifest to find those without any sound, in parallel."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from voxlate.audio.loading import load_audio
from voxlate.audio.speech_detection import SpeechOptions, detect_speech
from voxlate.errors import AudioError
from voxlate.manifest.reading import Manifest
from voxlate.manifest.utterance import NO_AUDIO, EmbeddedAudio
from voxlate.processes import map_in_processes
from voxlate.progress import progress_bar

_CHUNK = 16  # clips per task of a worker
_REASONS = ("silent", "unreadable")
_Clip = tuple[str, str | bytes]  # id, path or contents


def find_silent(manifest: Manifest, workers: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Return masks of the rows whose clips are silent or unreadable. Rows that have an error already are skipped."""
    masks = {reason: np.zeros(len(manifest), np.bool_) for reason in _REASONS}
    rows: list[int] = []

    def clips() -> Iterator[_Clip]:
        for row, utterance in enumerate(manifest):
            if utterance.error is None and utterance.audio != NO_AUDIO:
                rows.append(row)
                audio = utterance.audio
                yield utterance.id, audio.read() if isinstance(audio, EmbeddedAudio) else str(audio)

    source = clips()
    chunks = iter(lambda: list(islice(source, _CHUNK)), [])
    checked = 0
    with progress_bar(f"{manifest.path.name}: clips", len(manifest)) as advance:
        for results in map_in_processes(_check_all, chunks, workers, died=lambda *_: "unreadable"):
            for result in results:
                if result is not None:
                    masks[result][rows[checked]] = True
                checked += 1
            advance(len(results))
    return masks


def _check_all(clips: list[_Clip]) -> list[str | None]:
    return [_check(source) for _, source in clips]


def _check(source: str | bytes) -> str | None:
    """Return what is wrong with a clip, or None."""
    try:
        speech = detect_speech(load_audio(source, name="").waveform, SpeechOptions(vad=False))
    except AudioError:
        return "unreadable"
    return "silent" if speech.is_silent else None
