"""Detection of speech in a waveform, and of the pauses in it.

Levels are relative: a recording is scaled to a standard loudness before detection, and a pause is quiet compared with
the speech around it and with the noise in between.

Shape letters: T samples at 16 kHz, F frames of 32 ms, G frames of 10 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.audio.silero import FRAME_SAMPLES, speech_probabilities
from voxlate.errors import OptionError

LEVEL_FRAME_SAMPLES = SAMPLE_RATE_HZ // 100
SILENCE_DBFS = -93.0  # below this level: digital silence, or its dither in 16 bits
DEFAULT_THRESHOLD = 0.5
MIN_SPEECH_SECONDS = 0.1  # shorter sounds contain no word: the shortest isolated words are longer; clicks are not

_FLOOR_DBFS = -120.0  # lower levels are raised to this one
_STANDARD_DBFS = -23.0  # level of the loud parts during detection, which misses very quiet speech
_LOUD_PERCENTILE = 95
_SOUND_RANGE_DB = 40.0  # levels below the loud parts by more than this count as silence
_READ_FRAMES = 1_000  # read at once, of 10 ms; a long waveform may be in a file
_SPEECH_RANGE_DB = 30.0  # levels below the loudest within 0.75 s by more than this are pauses
_AROUND_FRAMES = 75
_ABOVE_NOISE_DB = 8.0  # as are those closer to the noise than this
_LEAST_RANGE_DB = 20.0  # unless they are closer to the loudest than this: after music, the noise is not known
_MIN_SPEECH_FRAMES = round(MIN_SPEECH_SECONDS * 100)
_SHORT_FRAMES = 3  # the release of a final "t" is longer

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class SpeechOptions:
    """Options of speech detection.

    - `vad`: use Silero's network. Without it, all sound counts as speech.
    - `threshold`: its probability from which a frame contains speech, between 0 and 1.

    OptionError if the threshold is out of its range.
    """

    vad: bool = True
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:  # false for NaN, too
            expected = "a probability between 0 and 1, such as 0.5"
            raise OptionError({"vad_threshold": f"is {self.threshold}, expected {expected}"})


DEFAULT_SPEECH_OPTIONS = SpeechOptions()


@dataclass(frozen=True)
class Speech:
    """What was detected in a waveform of `samples` samples.

    `probabilities_F` are those of speech (with `vad=False`: of sound), `speech_G` is true in speech, false in pauses,
    and `sound_G` is true where there is any sound above the noise floor.
    """

    samples: int
    probabilities_F: Floats
    speech_G: Booleans
    sound_G: Booleans

    @property
    def is_silent(self) -> bool:
        """Whether there is no sound at all."""
        return not self.sound_G.any()

    def seconds(self, start: int, end: int) -> float:
        """Return the seconds of speech between two samples."""
        frames = slice(start // LEVEL_FRAME_SAMPLES, -(-end // LEVEL_FRAME_SAMPLES))
        return float(np.count_nonzero(self.speech_G[frames])) * LEVEL_FRAME_SAMPLES / SAMPLE_RATE_HZ

    @property
    def sound_seconds(self) -> float:
        """Seconds of sound, speech or not."""
        return float(np.count_nonzero(self.sound_G)) * LEVEL_FRAME_SAMPLES / SAMPLE_RATE_HZ

    def probability_at(self, frames: npt.NDArray[np.int64]) -> Floats:
        """Return the probabilities of speech at frames of 10 ms."""
        return _per_level_frame(self.probabilities_F, frames)

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """(start, end) of each run of speech without any pause, in frames of 10 ms."""
        return true_runs(self.speech_G)


def detect_speech(waveform_T: Waveform | SpooledWaveform, options: SpeechOptions) -> Speech:
    """Detect speech in a waveform, (T,)."""
    levels_G = _levels(waveform_T)
    is_audible_G = levels_G >= SILENCE_DBFS
    if not is_audible_G.any():
        nothing_G = np.zeros(len(levels_G), np.bool_)
        return Speech(len(waveform_T), np.zeros(-(-len(waveform_T) // FRAME_SAMPLES), np.float32), nothing_G, nothing_G)
    loud_dbfs = float(np.percentile(levels_G[is_audible_G], _LOUD_PERCENTILE, overwrite_input=True))
    sound_G = levels_G >= max(_FLOOR_DBFS + 1, loud_dbfs - _SOUND_RANGE_DB)
    if options.vad:
        probabilities_F = speech_probabilities(_at_standard_level(waveform_T, levels_G))
        detected_G = _is_speech_per_level_frame(probabilities_F >= options.threshold, len(levels_G))
        speech_G = _refine(_without_isolated(detected_G, _MIN_SPEECH_FRAMES), levels_G)
    else:
        speech_G = _without_isolated(sound_G, _MIN_SPEECH_FRAMES)
        probabilities_F = _per_vad_frame(speech_G, len(waveform_T))
    return Speech(len(waveform_T), probabilities_F, speech_G, sound_G)


def _refine(detected_G: Booleans, levels_G: Floats) -> Booleans:
    """Return speech without its pauses.

    The network needs about 0.1 s to notice that speech has ended, and misses short pauses. Levels show both, unless
    there is noise.
    """
    speech_G = detected_G.copy()
    noise = _local_noise(detected_G, levels_G)
    for start, end in true_runs(detected_G):
        smooth = _smooth(levels_G, start, end)
        padded = np.pad(smooth, _AROUND_FRAMES, mode="edge")
        loud = np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND_FRAMES + 1).max(axis=1)
        above_noise = np.minimum(noise(start, end) + _ABOVE_NOISE_DB, loud - _LEAST_RANGE_DB)
        speech_G[start:end] = smooth >= np.maximum(loud - _SPEECH_RANGE_DB, above_noise)
    return _without_isolated(speech_G, _SHORT_FRAMES)


def _smooth(levels_G: Floats, start: int, end: int) -> Floats:
    """Return means of each level and its two neighbors, those of frames from `start` to `end`."""
    if len(levels_G) < 3:
        return levels_G[start:end]
    around = np.pad(levels_G[max(0, start - 1) : end + 1], (int(start == 0), int(end == len(levels_G))))
    return np.convolve(around, np.full(3, 1 / 3), mode="valid")


def _local_noise(detected_G: Booleans, levels_G: Floats) -> Callable[[int, int], float]:
    """Return a function from a stretch of frames to the level of the noise in the quiet pauses within 3 s around it."""

    def noise(start: int, end: int) -> float:
        around = slice(max(0, start - 300), end + 300)
        quiet = levels_G[around][~detected_G[around]]
        return float(np.percentile(quiet, 20)) if len(quiet) >= 5 else _FLOOR_DBFS

    return noise


def _without_isolated(speech_G: Booleans, min_frames: int) -> Booleans:
    """Remove runs of fewer than `min_frames` frames that are at least 0.1 s from all others."""
    kept_G = speech_G.copy()
    runs = true_runs(speech_G)
    for index, (start, end) in enumerate(runs):
        before = runs[index - 1][1] if index else -_MIN_SPEECH_FRAMES
        after = runs[index + 1][0] if index + 1 < len(runs) else len(speech_G) + _MIN_SPEECH_FRAMES
        isolated = start - before >= _MIN_SPEECH_FRAMES and after - end >= _MIN_SPEECH_FRAMES
        if end - start < min_frames and isolated:
            kept_G[start:end] = False
    return kept_G


def _per_level_frame(values_F: npt.NDArray[Any], frames: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return the values at the middle of frames of 10 ms."""
    indices = (frames * LEVEL_FRAME_SAMPLES + LEVEL_FRAME_SAMPLES // 2) // FRAME_SAMPLES
    return values_F[np.minimum(indices, len(values_F) - 1)]


def _is_speech_per_level_frame(is_speech_F: Booleans, frames: int) -> Booleans:
    """Return for each frame of 10 ms, (G,), whether there is speech in the middle of it."""
    is_speech_G = np.empty(frames, np.bool_)
    for start in range(0, frames, _READ_FRAMES):
        stop = min(start + _READ_FRAMES, frames)
        is_speech_G[start:stop] = _per_level_frame(is_speech_F, np.arange(start, stop))
    return is_speech_G


def _per_vad_frame(speech_G: Booleans, samples: int) -> Floats:
    frames_F = np.arange(-(-samples // FRAME_SAMPLES)) * FRAME_SAMPLES + FRAME_SAMPLES // 2
    return speech_G[np.minimum(frames_F // LEVEL_FRAME_SAMPLES, len(speech_G) - 1)].astype(np.float32)


def _at_standard_level(waveform_T: Waveform | SpooledWaveform, levels_G: Floats) -> Iterator[Waveform]:
    """Yield blocks of 10 s with their loud parts, or those of the blocks around them, at the standard level."""
    for index, block_T in enumerate(_blocks(waveform_T)):
        around_G = levels_G[max(0, index - 1) * _READ_FRAMES : (index + 2) * _READ_FRAMES]
        gain_db = _STANDARD_DBFS - max(SILENCE_DBFS, float(np.percentile(around_G, _LOUD_PERCENTILE)))
        yield block_T * np.float32(10 ** (gain_db / 20))


def _blocks(waveform_T: Waveform | SpooledWaveform) -> Iterator[Waveform]:
    size = _READ_FRAMES * LEVEL_FRAME_SAMPLES
    for start in range(0, len(waveform_T), size):
        yield waveform_T[start : start + size]


def _levels(waveform_T: Waveform | SpooledWaveform) -> Floats:
    """Return the level of each frame of 10 ms without its constant offset, (G,), in dBFS."""
    levels_G = np.empty(-(-len(waveform_T) // LEVEL_FRAME_SAMPLES), np.float32)
    for index, block_T in enumerate(_blocks(waveform_T)):
        padded = np.pad(block_T.astype(np.float64), (0, -len(block_T) % LEVEL_FRAME_SAMPLES), mode="edge")
        powers = padded.reshape(-1, LEVEL_FRAME_SAMPLES).var(axis=1)
        first = index * _READ_FRAMES
        levels_G[first : first + len(powers)] = 10 * np.log10(np.maximum(powers, 10 ** (_FLOOR_DBFS / 10)))
    return levels_G


def true_runs(is_true: Booleans) -> list[tuple[int, int]]:
    """Return (start, end) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_true, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
