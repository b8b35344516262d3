"""Where to cut long audio: silence is left out, and pieces end where it is quietest.

Shape letters: T samples of 16 kHz sound, F frames of 20 ms.
"""

from __future__ import annotations

import numpy as np

from voxlate.data.chunks import SpooledWaveform
from voxlate.data.resampling import SAMPLE_RATE_HZ, Waveform

MAX_UNCUT_SECONDS = 30.0
MAX_PIECE_SECONDS = 20.0
SILENCE_DBFS = -60.0  # nothing of a clip reaches this level: silence
SPEECH_RANGE_DB = 40.0  # in long audio, what lies further below its loud parts is a pause
JOINED_PAUSE_SECONDS = 1.0  # shorter pauses stay inside a piece
EDGE_SECONDS = 0.2  # kept around a piece, for soft onsets

_FRAME = SAMPLE_RATE_HZ // 50
_READ_FRAMES = 3_000  # at once: a long waveform may lie in a file


def segment(waveform_T: Waveform | SpooledWaveform) -> list[tuple[int, int]]:
    """Return the pieces to translate, in order, as (start, end) in samples.

    Audio of up to 30 s is one piece. Longer audio falls into its stretches of sound (pauses under a second do not
    part them), and a stretch of more than 20 s is cut at its quietest points. Silence gives no piece.
    """
    levels_F = _levels(waveform_T)
    if not levels_F.size or levels_F.max() < SILENCE_DBFS:
        return []
    if len(waveform_T) <= MAX_UNCUT_SECONDS * SAMPLE_RATE_HZ:
        return [(0, len(waveform_T))]
    threshold = max(SILENCE_DBFS, float(np.percentile(levels_F, 95)) - SPEECH_RANGE_DB)
    pieces = [piece for stretch in _stretches(levels_F >= threshold) for piece in _cut(levels_F, *stretch)]
    return [(start * _FRAME, min(end * _FRAME, len(waveform_T))) for start, end in pieces]


def _levels(waveform_T: Waveform | SpooledWaveform) -> np.ndarray:
    """Return the level of each frame in dBFS, averaged over 100 ms."""
    powers = []
    for start in range(0, len(waveform_T), _READ_FRAMES * _FRAME):
        read_T = waveform_T[start : start + _READ_FRAMES * _FRAME]
        padded = np.pad(read_T, (0, -len(read_T) % _FRAME))
        powers.append(np.square(padded.reshape(-1, _FRAME), dtype=np.float64).mean(axis=1))
    power_F = np.concatenate([np.zeros(0), *powers])
    width = min(5, max(1, power_F.size))
    smooth_F = np.convolve(power_F, np.full(width, 1 / width), mode="same") if power_F.size else power_F
    return 10 * np.log10(np.maximum(smooth_F, 1e-12))


def _stretches(sounds_F: np.ndarray) -> list[tuple[int, int]]:
    """Return the frames (start, end) of stretches of sound, with their edges."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sounds_F, [False]]).astype(np.int8)))
    joined: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if joined and start - joined[-1][1] < JOINED_PAUSE_SECONDS * 50:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    edge = round(EDGE_SECONDS * 50)
    return [(max(0, start - edge), min(len(sounds_F), end + edge)) for start, end in joined]


def _cut(levels_F: np.ndarray, start: int, end: int) -> list[tuple[int, int]]:
    """Cut frames start to end into pieces of at most 20 s, each at the quietest half second of its second half."""
    longest = round(MAX_PIECE_SECONDS * 50)
    around_F = np.convolve(levels_F, np.full(25, 1 / 25), mode="same")
    pieces = []
    while end - start > longest:
        first = start + longest // 2
        quietest = first + int(np.argmin(around_F[first : start + longest]))
        pieces.append((start, quietest))
        start = quietest
    return [*pieces, (start, end)]
