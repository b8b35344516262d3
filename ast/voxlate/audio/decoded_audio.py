"""Decode one input and detect the speech in it: all that is done before a model sees it. Nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TypeAlias

import numpy as np

from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.clock import FROM_ZERO, Clock
from voxlate.audio.loading import SAMPLE_RATE_HZ, Waveform, spool_audio
from voxlate.audio.python_inputs import AudioInput, to_audio_source
from voxlate.audio.speech_detection import DEFAULT_SPEECH_OPTIONS, Speech, SpeechOptions, detect_speech
from voxlate.audio.tracks import AudioTrack
from voxlate.errors import AudioError


@dataclass(frozen=True)
class DecodedAudio:
    """A decoded input: its samples at 16 kHz, the speech that was detected in it, and its clock.

    `warnings` describe lost audio, `notes` automatic choices. A pickle holds everything, the samples included.
    """

    name: str
    waveform_T: Waveform | SpooledWaveform
    speech: Speech
    warnings: tuple[str, ...] = ()
    clock: Clock = FROM_ZERO
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration of the input, including gaps."""
        return self.end_seconds - self.clock.seconds(0)

    @property
    def end_seconds(self) -> float:
        """End of the input on the file's clock."""
        return self.clock.seconds(len(self.waveform_T))


Decodable: TypeAlias = AudioInput | DecodedAudio


def decode_input(
    item: Decodable,
    *,
    sampling_rate: int = SAMPLE_RATE_HZ,
    audio_track: AudioTrack | None = None,
    speech: SpeechOptions = DEFAULT_SPEECH_OPTIONS,
    fill_gaps: bool = True,
    max_seconds: float | None = None,
) -> DecodedAudio | AudioError:
    """Decode an input unless it is decoded; return its audio, or the error that names it.

    `sampling_rate` is that of arrays and tensors, `audio_track` the track of files, and `fill_gaps` replaces missing
    parts by silence. `speech` are the options of speech detection, and `max_seconds` limits the length of files.
    """
    if isinstance(item, DecodedAudio):
        return item
    try:
        source = to_audio_source(item, sampling_rate)
        if isinstance(source, np.ndarray):
            return DecodedAudio(type(item).__name__, source, detect_speech(source, speech))
        waveform_T, warnings, clock, notes = spool_audio(
            source, audio_track=audio_track, fill_gaps=fill_gaps, max_seconds=max_seconds
        )
        return DecodedAudio(input_name(source), waveform_T, detect_speech(waveform_T, speech), warnings, clock, notes)
    except AudioError as error:
        return error
    except MemoryError:  # continue, because other inputs may be shorter
        return AudioError(f"{input_name(item)}: not enough memory to decode it")


def input_name(item: Decodable) -> str:
    """Return the name of an input for messages: its path, or its type if it has no name."""
    return str(item) if isinstance(item, str | PathLike) else str(getattr(item, "name", type(item).__name__))
