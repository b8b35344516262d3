"""Cut audio into segments: at pauses, which are removed, and at the quietest points of speech without pauses.

Shape letters: T samples at 16 kHz, F frames of 20 ms.
"""

from __future__ import annotations

import numpy as np

from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform

MAX_UNCUT_SECONDS = 30.0
MAX_SEGMENT_SECONDS = 20.0
SILENCE_DBFS = -93.0  # below this level: digital silence, or its dither in 16 bits
SPEECH_RANGE_DB = 40.0  # levels below the loud parts by more than this are pauses
JOINED_PAUSE_SECONDS = 1.0  # shorter pauses stay inside a segment
EDGE_SECONDS = 0.2  # kept before and after a segment, for soft onsets
MIN_SEGMENT_SECONDS = 1.0  # on either side of a cut
# Shorter sounds contain no word: the shortest isolated words ("oh", "ja") are longer; clicks and knocks are not.
# A CTC encoder with a first frame of 25 ms and steps of 20 ms also needs this much for a word of two letters.
MIN_SOUND_SECONDS = 0.1

_FLOOR_DBFS = -120.0  # lower levels are raised to this one
_FRAME = SAMPLE_RATE_HZ // 50
_MIN_SOUND_FRAMES = round(MIN_SOUND_SECONDS * 50)
_READ_FRAMES = 3_000  # per read: a long waveform may be in a file

Span = tuple[int, int]


def segment(waveform_T: Waveform | SpooledWaveform, *, whole: bool = False) -> list[Span]:
    """Return the segments to translate, in order, as (start, end) in samples.

    Audio is cut at pauses of a second or more. A stretch longer than 20 s is also cut at its quietest points. Audio of
    up to 30 s without such a pause is one segment, from its start to its end; with `whole`, so is any audio of up to
    30 s. Silence and sounds too short for a word give no segment.
    """
    return segment_with_notes(waveform_T, whole=whole)[0]


def segment_with_notes(
    waveform_T: Waveform | SpooledWaveform, *, whole: bool = False
) -> tuple[list[Span], tuple[str, ...]]:
    """Return the segments, as `segment` does, and notes on sounds that were left out."""
    powers_F = _powers(waveform_T)
    levels_F = _decibels(_smooth(powers_F))
    audible_F = levels_F[levels_F >= SILENCE_DBFS]
    if not audible_F.size:
        return [], ("only silence; its result is empty",)
    threshold = max(_FLOOR_DBFS + 1, float(np.percentile(audible_F, 95)) - SPEECH_RANGE_DB)
    unsmoothed_F = _decibels(powers_F) >= threshold
    stretches = _stretches(levels_F >= threshold)
    kept = [(start, end) for start, end in stretches if np.count_nonzero(unsmoothed_F[start:end]) >= _MIN_SOUND_FRAMES]
    too_short = f"less than {MIN_SOUND_SECONDS} s, too short for a word"
    if not kept or len(waveform_T) < MIN_SOUND_SECONDS * SAMPLE_RATE_HZ:
        return [], (f"its sound lasts {too_short}; its result is empty",)
    if len(waveform_T) <= MAX_UNCUT_SECONDS * SAMPLE_RATE_HZ and (whole or len(kept) == 1):
        return [(0, len(waveform_T))], ()
    segments = [segment for stretch in kept for segment in _cut(levels_F, unsmoothed_F, *stretch)]
    clicks = len(stretches) - len(kept)
    notes = (f"{clicks} sound{'s' * (clicks > 1)} of {too_short}, left out",) if clicks else ()
    return [(start * _FRAME, min(end * _FRAME, len(waveform_T))) for start, end in segments], notes


def _powers(waveform_T: Waveform | SpooledWaveform) -> np.ndarray:
    """Return the power of each frame without its constant offset."""
    powers = [np.zeros(0)]
    for start in range(0, len(waveform_T), _READ_FRAMES * _FRAME):
        read_T = waveform_T[start : start + _READ_FRAMES * _FRAME].astype(np.float64)
        padded = np.pad(read_T, (0, -len(read_T) % _FRAME), mode="edge")
        powers.append(padded.reshape(-1, _FRAME).var(axis=1))
    return np.concatenate(powers)


def _smooth(powers_F: np.ndarray) -> np.ndarray:
    """Return the mean power in a window of 100 ms around each frame."""
    if not powers_F.size:
        return powers_F
    width = min(5, powers_F.size)
    smooth_F: np.ndarray = np.convolve(powers_F, np.full(width, 1 / width), mode="same")
    return smooth_F


def _decibels(powers_F: np.ndarray) -> np.ndarray:
    """Return powers as levels in dBFS."""
    levels_F: np.ndarray = 10 * np.log10(np.maximum(powers_F, 10 ** (_FLOOR_DBFS / 10)))
    return levels_F


def _stretches(sounds_F: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, end) in frames of each stretch of sound, including its edges."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sounds_F, [False]]).astype(np.int8)))
    joined: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if joined and start - joined[-1][1] < JOINED_PAUSE_SECONDS * 50:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    edge = round(EDGE_SECONDS * 50)
    return [(max(0, start - edge), min(len(sounds_F), end + edge)) for start, end in joined]


def _cut(levels_F: np.ndarray, sounds_F: np.ndarray, start: int, end: int) -> list[tuple[int, int]]:
    """Cut frames start to end into segments of at most 20 s, at the quietest half second of each second half.

    The last segment is at least a second long and contains at least half a second of sound.
    """
    max_frames, min_frames = round(MAX_SEGMENT_SECONDS * 50), round(MIN_SEGMENT_SECONDS * 50)
    around_F = np.convolve(levels_F, np.full(25, 1 / 25), mode="same")
    sounding = np.flatnonzero(sounds_F[start:end]) + start
    latest = min(end - min_frames, int(sounding[-min(len(sounding), min_frames // 2)]))
    segments = []
    while end - start > max_frames:
        first = start + max_frames // 2
        stop = max(first + 1, min(start + max_frames, latest + 1))
        quietest = first + int(np.argmin(around_F[first:stop]))
        segments.append((start, quietest))
        start = quietest
    return [*segments, (start, end)]
