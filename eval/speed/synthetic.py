"""Synthetic clips and texts with the lengths of CoVoST-2, for benchmarks.

Shape letters: N clips, T samples.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_WORDS = (
    "the of and to in he was is as for on with his at by it from were which are this had an but not its two first "
    "after one other time their new also who river village government station between however church company music "
    "university international north people district history century family season several children important"
)
_FRAME_SAMPLES = 1152  # samples per MP3 frame


def clip_seconds(clips: int, generator: np.random.Generator) -> Floats:
    """Draw durations in seconds: lognormal around 5 s, clipped to 1.5 to 12 s."""
    return np.clip(generator.lognormal(np.log(4.8), 0.35, clips), 1.5, 12.0)


def sentence(seconds: float, generator: np.random.Generator) -> str:
    """Return a random sentence for a duration, with about two words per second."""
    words = max(1, round(2 * seconds * generator.uniform(0.7, 1.3)))
    return " ".join(generator.choice(_WORDS.split(), words)) + "."


def synthetic_speech(seconds: float, rate: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a speech-like waveform (T,): a harmonic tone and noise, modulated four times per second like syllables."""
    seconds_T = np.arange(round(seconds * rate)) / rate
    pitch = generator.uniform(90, 250)
    voice_T = sum(np.sin(2 * np.pi * pitch * harmonic * seconds_T) / harmonic for harmonic in range(1, 6))
    swell_T = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * seconds_T + generator.uniform(0, 6))
    return (swell_T * (0.15 * voice_T + 0.05 * generator.standard_normal(len(seconds_T)))).astype(np.float32)


def write_clip(path: Path, waveform_T: npt.NDArray[np.float32], rate: int) -> Path:
    """Encode a waveform in the format of the suffix: .mp3 (as in Common Voice), .flac or .wav."""
    with av.open(str(path), "w") as output:
        stream = cast("Any", output.add_stream(output.default_audio_codec, rate))
        stream.layout = "mono"
        for start in range(0, len(waveform_T), _FRAME_SAMPLES):
            frame = av.AudioFrame.from_ndarray(waveform_T[None, start : start + _FRAME_SAMPLES], "flt", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_clips(folder: Path, seconds_N: Floats, suffix: str, rate: int, generator: np.random.Generator) -> list[Path]:
    """Write one clip per duration as common_voice_de_NUMBER with the given suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_clip(folder / f"common_voice_de_{number:06}{suffix}", synthetic_speech(seconds, rate, generator), rate)
        for number, seconds in enumerate(seconds_N.tolist())
    ]
