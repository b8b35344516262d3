"""Join clips into recordings with known pauses: silence at their edges is trimmed by level, and the pauses are filled.

Shape letter: T samples of 16 kHz audio.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxlate.audio.noise import noise
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform

MAX_PAUSE_SECONDS = 1.0
_PAUSES = ((0.15, 0.0, 0.0), (0.2, 0.0, 0.15), (0.3, 0.15, 0.35), (0.35, 0.35, MAX_PAUSE_SECONDS))  # share, from, to
_FRAME = SAMPLE_RATE_HZ // 100
_SPEECH_DB = -40.0  # relative to the loud parts of a clip
_ABOVE_FLOOR_DB = 6.0  # if its noise is louder than that


def draw_pause(rng: np.random.Generator) -> float:
    """Draw the seconds between two sentences: none at all, hardly any, a breath, or up to a second."""
    _, low, high = _PAUSES[rng.choice(len(_PAUSES), p=[share for share, _, _ in _PAUSES])]
    return float(rng.uniform(low, high))


def speech_span(waveform_T: Waveform) -> tuple[int, int]:
    """Return the first sample of the speech of a clip and the one after its last, found by level in frames of 10 ms."""
    levels = frame_levels(waveform_T)
    if not len(levels):
        return 0, len(waveform_T)
    sounding = np.flatnonzero(levels > speech_level(levels))
    if not len(sounding):
        return 0, len(waveform_T)
    return int(sounding[0]) * _FRAME, min(len(waveform_T), (int(sounding[-1]) + 1) * _FRAME)


def frame_levels(waveform_T: Waveform) -> Waveform:
    """Return the root mean square of each frame of 10 ms; an incomplete last one is left out."""
    frames = len(waveform_T) // _FRAME
    return np.asarray(np.sqrt(np.mean(np.square(waveform_T[: frames * _FRAME].reshape(frames, _FRAME)), 1)), np.float32)


def speech_level(levels: Waveform) -> float:
    """Return the level above which a frame of a clip is speech: that of its noise, or far below its loud parts."""
    loud, floor = float(np.quantile(levels, 0.98)), float(np.quantile(levels, 0.05))
    return max(loud * 10 ** (_SPEECH_DB / 20), min(floor * 10 ** (_ABOVE_FLOOR_DB / 20), loud / 10))


def join_clips(
    clips: Sequence[Waveform], pauses: Sequence[float], rng: np.random.Generator
) -> tuple[Waveform, list[tuple[int, int]]]:
    """Return clips as one waveform, (T,), and the samples from and to which each pause between them lasts.

    The silence at the edges of the clips is removed, except before the first and after the last. `pauses` has the
    seconds after each clip but the last; they are filled with noise as loud as the quietest parts of their neighbors.
    """
    spans = [speech_span(clip_T) for clip_T in clips]
    floors = [float(np.quantile(levels, 0.05)) if len(levels := frame_levels(clip_T)) else 0.0 for clip_T in clips]
    parts: list[Waveform] = []
    found: list[tuple[int, int]] = []
    position = 0
    for index, (clip_T, (start, end)) in enumerate(zip(clips, spans, strict=True)):
        kept_T = clip_T[start if index else 0 : end if index < len(pauses) else len(clip_T)]
        parts.append(kept_T)
        position += len(kept_T)
        if index < len(pauses):
            samples = round(pauses[index] * SAMPLE_RATE_HZ)
            parts.append(_noise(samples, min(floors[index], floors[index + 1]), rng))
            found.append((position, position + samples))
            position += samples
    return np.concatenate(parts).astype(np.float32), found


def _noise(samples: int, level: float, rng: np.random.Generator) -> Waveform:
    if not samples or not level:
        return np.zeros(samples, np.float32)
    noise_T = noise(samples, rng)
    return np.asarray(noise_T * (level / np.sqrt(np.mean(np.square(noise_T)) + 1e-20)), np.float32)
