"""Where to cut audio: at pauses, which are left out, and where a stretch without pauses is quietest.

Shape letters: T samples of 16 kHz sound, F frames of 20 ms.
"""

from __future__ import annotations

import numpy as np

from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform

MAX_UNCUT_SECONDS = 30.0
MAX_PIECE_SECONDS = 20.0
SILENCE_DBFS = -93.0  # nothing reaches this level: digital silence, or its dither in 16 bits
SPEECH_RANGE_DB = 40.0  # what lies further below the loud parts is a pause
JOINED_PAUSE_SECONDS = 1.0  # shorter pauses stay inside a piece
EDGE_SECONDS = 0.2  # kept around a piece, for soft onsets
MIN_PIECE_SECONDS = 1.0  # of what a cut leaves on either side
# Less sound holds no word: the shortest ones said alone ("oh", "ja") last longer, clicks and knocks do not, and a word
# of two letters takes a CTC encoder, whose first frame is 25 ms and whose step is 20 ms, as many frames.
MIN_SOUND_SECONDS = 0.1

_NOTHING_DBFS = -120.0  # lower levels count as this one
_FRAME = SAMPLE_RATE_HZ // 50
_MIN_SOUND_FRAMES = round(MIN_SOUND_SECONDS * 50)
_READ_FRAMES = 3_000  # at once: a long waveform may lie in a file

Span = tuple[int, int]


def segment(waveform_T: Waveform | SpooledWaveform, *, whole: bool = False) -> list[Span]:
    """Return the pieces to translate, in order, as (start, end) in samples.

    Audio falls into its stretches of sound (pauses under a second do not part them), and a stretch of more than 20 s is
    cut at its quietest points. Audio of up to 30 s that is one stretch is one piece, from its beginning to its end; so
    is any audio of up to 30 s with `whole`. Silence gives no piece, nor does sound too short for a word.
    """
    return segment_with_notes(waveform_T, whole=whole)[0]


def segment_with_notes(
    waveform_T: Waveform | SpooledWaveform, *, whole: bool = False
) -> tuple[list[Span], tuple[str, ...]]:
    """Return what `segment` does, and one sentence where all is left out, or sound is."""
    powers_F = _powers(waveform_T)
    levels_F = _decibels(_smooth(powers_F))
    heard_F = levels_F[levels_F >= SILENCE_DBFS]
    if not heard_F.size:
        return [], ("nothing but silence; its result is empty",)
    threshold = max(_NOTHING_DBFS + 1, float(np.percentile(heard_F, 95)) - SPEECH_RANGE_DB)
    exact_F = _decibels(powers_F) >= threshold
    stretches = _stretches(levels_F >= threshold)
    kept = [(start, end) for start, end in stretches if np.count_nonzero(exact_F[start:end]) >= _MIN_SOUND_FRAMES]
    too_short = f"less than {MIN_SOUND_SECONDS} s, too short to hold a word"
    if not kept or len(waveform_T) < MIN_SOUND_SECONDS * SAMPLE_RATE_HZ:
        return [], (f"its sound lasts {too_short}; its result is empty",)
    if len(waveform_T) <= MAX_UNCUT_SECONDS * SAMPLE_RATE_HZ and (whole or len(kept) == 1):
        return [(0, len(waveform_T))], ()
    pieces = [piece for stretch in kept for piece in _cut(levels_F, exact_F, *stretch)]
    clicks = len(stretches) - len(kept)
    notes = (f"{clicks} sound{'s' * (clicks > 1)} of {too_short}, left out",) if clicks else ()
    return [(start * _FRAME, min(end * _FRAME, len(waveform_T))) for start, end in pieces], notes


def _powers(waveform_T: Waveform | SpooledWaveform) -> np.ndarray:
    """Return the power of each frame; a constant offset has none."""
    powers = [np.zeros(0)]
    for start in range(0, len(waveform_T), _READ_FRAMES * _FRAME):
        read_T = waveform_T[start : start + _READ_FRAMES * _FRAME].astype(np.float64)
        padded = np.pad(read_T, (0, -len(read_T) % _FRAME), mode="edge")
        powers.append(padded.reshape(-1, _FRAME).var(axis=1))
    return np.concatenate(powers)


def _smooth(powers_F: np.ndarray) -> np.ndarray:
    """Return the mean power of 100 ms around each frame."""
    if not powers_F.size:
        return powers_F
    width = min(5, powers_F.size)
    smooth_F: np.ndarray = np.convolve(powers_F, np.full(width, 1 / width), mode="same")
    return smooth_F


def _decibels(powers_F: np.ndarray) -> np.ndarray:
    levels_F: np.ndarray = 10 * np.log10(np.maximum(powers_F, 10 ** (_NOTHING_DBFS / 10)))
    return levels_F


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


def _cut(levels_F: np.ndarray, sounds_F: np.ndarray, start: int, end: int) -> list[tuple[int, int]]:
    """Cut frames start to end into pieces of at most 20 s, each at the quietest half second of its second half.

    The last piece has a second or more, of which half a second or more is sound.
    """
    longest, least = round(MAX_PIECE_SECONDS * 50), round(MIN_PIECE_SECONDS * 50)
    around_F = np.convolve(levels_F, np.full(25, 1 / 25), mode="same")
    sounding = np.flatnonzero(sounds_F[start:end]) + start
    latest = min(end - least, int(sounding[-min(len(sounding), least // 2)]))
    pieces = []
    while end - start > longest:
        first = start + longest // 2
        stop = max(first + 1, min(start + longest, latest + 1))
        quietest = first + int(np.argmin(around_F[first:stop]))
        pieces.append((start, quietest))
        start = quietest
    return [*pieces, (start, end)]
