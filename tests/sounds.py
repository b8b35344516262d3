"""Sounds without speech: music, the noises of an office, silence. All are float32 of shape (T,) at 16 kHz.

Shape letter: T samples.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from voxlate.audio.noise import noise
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform

_A4_HZ, _A4 = 440.0, 69  # pitches are MIDI numbers
_STEP_16_BITS = 2.0**-15
_CHORDS = ((45, 48, 52), (41, 45, 48), (48, 52, 55), (43, 47, 50))  # A minor, F, C, G
_MELODY = (69, 72, 71, 67, 69, 64, 67, 65, 64, 62, 60, 64, 67, 71, 74, 72)


def at_level(waveform_T: Waveform, peak_dbfs: float) -> Waveform:
    """Return a waveform scaled to a peak in dBFS."""
    return np.asarray(waveform_T * (10 ** (peak_dbfs / 20) / np.abs(waveform_T).max()), np.float32)


def band(seconds: float, seed: int = 0) -> Waveform:
    """Return chords, a bass and drums."""
    rng, music_T, beat = np.random.default_rng(seed), _silence(seconds), 60 / 112
    kick_T = _swept_tone(110, 45, 0.25)
    snare_T = _burst(0.18, rng) + 0.5 * _swept_tone(220, 180, 0.18)
    cymbal_T = np.diff(_burst(0.06, rng), prepend=0)
    for index in range(int(seconds / beat)):
        start, chord = index * beat, _CHORDS[index // 4 % len(_CHORDS)]
        _mix(music_T, start, snare_T if index % 2 else kick_T)
        for half in (0.0, 0.5):
            _mix(music_T, start + half * beat, 0.6 * cymbal_T)
            _mix(music_T, start + half * beat, 0.5 * _pluck(chord[0] - 12, 0.25))
        if index % 2 == 0:
            for pitch in chord:
                _mix(music_T, start, 0.25 * _pluck(pitch + 12, 1.2))
    return at_level(music_T, -6)


def arpeggios(seconds: float, seed: int = 0) -> Waveform:
    """Return broken chords of plucked strings, like a guitar."""
    rng, music_T, beat = np.random.default_rng(seed), _silence(seconds), 0.21
    for index in range(int(seconds / beat)):
        chord = _CHORDS[index // 8 % len(_CHORDS)]
        pitches = [*chord, chord[0] + 12, chord[1] + 12]
        _mix(music_T, index * beat, rng.uniform(0.6, 1) * _pluck(pitches[(index * 2 + index // 8) % 5] + 12, 1.0))
    return at_level(music_T, -6)


def strings(seconds: float, seed: int = 0) -> Waveform:
    """Return slow chords of bowed strings with vibrato."""
    rng, music_T, length = np.random.default_rng(seed), _silence(seconds), 3.0
    for index in range(int(seconds / length)):
        for pitch in (*_CHORDS[index % len(_CHORDS)], _MELODY[index % len(_MELODY)]):
            for _ in range(2):  # players who are not quite in tune
                _mix(music_T, index * length, _bowed(pitch + rng.normal(0, 0.06), length + 0.6, 5.5, rng))
    return at_level(music_T, -6)


def solo(seconds: float, seed: int = 0) -> Waveform:
    """Return a melody of one bowed instrument with vibrato and pauses for breath, over a quiet chord."""
    rng, music_T, start, index = np.random.default_rng(seed), _silence(seconds), 0.0, 0
    while start < seconds:
        length = float(rng.choice([0.3, 0.45, 0.6, 1.2]))
        _mix(music_T, start, _bowed(_MELODY[(index * 5 + index // 7) % len(_MELODY)], length + 0.15, 6.0, rng))
        if index % 8 == 0:
            for pitch in _CHORDS[index // 8 % len(_CHORDS)]:
                _mix(music_T, start, 0.2 * _bowed(pitch, 3.0, 0.0, rng))
        start += length + (0.5 if index % 11 == 10 else 0.0)
        index += 1
    return at_level(music_T, -6)


def office(seconds: float, seed: int = 0) -> Waveform:
    """Return the noise of ventilation, mains hum, typing, telephone beeps and knocks on a door."""
    rng = np.random.default_rng(seed)
    noise_T = noise(round(seconds * SAMPLE_RATE_HZ), rng)
    sound_T = at_level(noise_T, -32) + mains_hum(seconds, -50)
    keys = [np.diff(_burst(float(length), rng), prepend=0) for length in rng.uniform(0.012, 0.03, 12)]
    for start in _times(seconds, 0.16, rng, busy=5.0, idle=4.0):
        _mix(sound_T, start, rng.uniform(0.02, 0.06) * keys[rng.integers(len(keys))])
    beep_T = np.concatenate([_tone(950, 0.2), _silence(0.1), _tone(1400, 0.2)])
    for start in np.arange(7.0, seconds, 23.0):
        _mix(sound_T, float(start), 0.05 * beep_T)
    knock_T = _swept_tone(190, 120, 0.09) + 0.3 * _burst(0.02, rng, 0.09)
    for start in np.arange(12.0, seconds, 31.0):
        for count in range(3):
            _mix(sound_T, float(start) + 0.22 * count, rng.uniform(0.15, 0.25) * knock_T)
    return np.asarray(sound_T, np.float32)


def noises(seconds: float, seed: int = 0) -> Waveform:
    """Return noise whose color and loudness change every five seconds, as of traffic or wind."""
    rng, length = np.random.default_rng(seed), 5 * SAMPLE_RATE_HZ
    parts = [at_level(noise(length, rng), rng.uniform(-40, -12)) for _ in range(-(-round(seconds) // 5))]
    return np.concatenate(parts)[: round(seconds * SAMPLE_RATE_HZ)]


def digital_silence(seconds: float, seed: int = 0) -> Waveform:
    """Return zeros."""
    return _silence(seconds)


def dithered_silence(seconds: float, seed: int = 0) -> Waveform:
    """Return silence with the triangular dither of 16 bits."""
    rng = np.random.default_rng(seed)
    dither_T = rng.random(round(seconds * SAMPLE_RATE_HZ)) - rng.random(round(seconds * SAMPLE_RATE_HZ))
    return np.asarray(np.round(dither_T) * _STEP_16_BITS, np.float32)


def offset_silence(seconds: float, seed: int = 0) -> Waveform:
    """Return dithered silence with a constant offset."""
    return dithered_silence(seconds, seed) + np.float32(0.1)


def humming_silence(seconds: float, seed: int = 0) -> Waveform:
    """Return dithered silence with the hum of a mains supply."""
    return dithered_silence(seconds, seed) + mains_hum(seconds, -45)


def mains_hum(seconds: float, peak_dbfs: float) -> Waveform:
    """Return a hum of 50 Hz with its harmonics."""
    second_T = np.sum([_tone(50.0 * number, 1.0, 0.0) / number**1.5 for number in (1, 2, 3, 5, 7)], axis=0)
    return np.resize(at_level(np.asarray(second_T, np.float32), peak_dbfs), round(seconds * SAMPLE_RATE_HZ))


MUSIC: dict[str, Callable[[float, int], Waveform]] = {
    "band": band,
    "arpeggios": arpeggios,
    "strings": strings,
    "solo": solo,
}
NOISES: dict[str, Callable[[float, int], Waveform]] = {"office": office, "noises": noises}
SILENCES: dict[str, Callable[[float, int], Waveform]] = {
    "digital_silence": digital_silence,
    "dithered_silence": dithered_silence,
    "offset_silence": offset_silence,
    "humming_silence": humming_silence,
}


def _silence(seconds: float) -> Waveform:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


def _seconds(seconds: float) -> Waveform:
    return np.asarray(np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ, np.float32)


def _mix(waveform_T: Waveform, start_seconds: float, sound_T: npt.NDArray[np.floating]) -> None:
    """Add a sound to a waveform, as far as it fits."""
    start = round(start_seconds * SAMPLE_RATE_HZ)
    end = min(len(waveform_T), start + len(sound_T))
    waveform_T[start:end] += sound_T[: max(0, end - start)]


def _hertz(pitch: float) -> float:
    return float(_A4_HZ * 2 ** ((pitch - _A4) / 12))


def _tone(frequency_hz: float, seconds: float, edge_seconds: float = 0.005) -> Waveform:
    """Return a sine, faded in and out."""
    times_T = _seconds(seconds)
    fade_T = np.minimum(1, np.minimum(times_T, seconds - times_T) / edge_seconds) if edge_seconds else 1.0
    return np.asarray(np.sin(2 * np.pi * frequency_hz * times_T) * fade_T, np.float32)


def _swept_tone(from_hz: float, to_hz: float, seconds: float) -> Waveform:
    """Return a decaying tone that glides from one frequency to another, as of a drum."""
    times_T = _seconds(seconds)
    phase_T = 2 * np.pi * (from_hz + (to_hz - from_hz) * times_T / seconds / 2) * times_T
    return np.asarray(np.sin(phase_T) * np.exp(-4 * times_T / seconds), np.float32)


def _burst(seconds: float, rng: np.random.Generator, padded_seconds: float = 0.0) -> Waveform:
    """Return decaying white noise, followed by silence up to a length."""
    times_T = _seconds(seconds)
    burst_T = rng.uniform(-1, 1, len(times_T)) * np.exp(-5 * times_T / seconds)
    padding = max(0, round(padded_seconds * SAMPLE_RATE_HZ) - len(times_T))
    return np.asarray(np.pad(burst_T, (0, padding)), np.float32)


def _pluck(pitch: float, seconds: float) -> Waveform:
    """Return a plucked string: harmonics that decay the faster, the higher they are."""
    times_T, frequency_hz = _seconds(seconds), _hertz(pitch)
    partials = [
        np.sin(2 * np.pi * frequency_hz * number * times_T) * np.exp(-(2 + 1.5 * number) * times_T) / number
        for number in range(1, 9)
        if frequency_hz * number < SAMPLE_RATE_HZ / 2
    ]
    return np.asarray(np.sum(partials, axis=0), np.float32)


def _bowed(pitch: float, seconds: float, vibrato_hz: float, rng: np.random.Generator) -> Waveform:
    """Return a sustained tone with many harmonics, vibrato, and soft edges."""
    times_T, frequency_hz = _seconds(seconds), _hertz(pitch)
    depth = 0.06 / vibrato_hz if vibrato_hz else 0.0
    phase_T = 2 * np.pi * frequency_hz * (times_T - depth / (2 * np.pi) * np.cos(2 * np.pi * vibrato_hz * times_T))
    partials = [
        np.sin(number * phase_T + rng.uniform(0, 6)) / number**1.3
        for number in range(1, 16)
        if frequency_hz * number < SAMPLE_RATE_HZ / 2
    ]
    fade_T = np.minimum(1, np.minimum(times_T / 0.12, (seconds - times_T) / 0.2))
    return np.asarray(np.sum(partials, axis=0) * fade_T, np.float32)


def _times(seconds: float, mean_gap: float, rng: np.random.Generator, *, busy: float, idle: float) -> Sequence[float]:
    """Return random times, in busy phases separated by idle ones, all in seconds."""
    gaps = rng.gamma(4, mean_gap / 4, round(seconds / mean_gap))
    times = np.cumsum(gaps)
    return [float(time) for time in times + np.floor(times / busy) * idle if time < seconds]
