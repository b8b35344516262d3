"""Lines of text to clips of many speakers: voice, speed, pitch, pauses, background and volume vary, by a seed.

Shape letter: T samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxlate.audio.flac import write_flac
from voxlate.audio.noise import noise
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.corpora.espeak import Manner, Voice, espeak

Span = tuple[float, float]  # lowest, highest

# espeak-ng's variants that sound like different people; others sing, whisper or are robots.
VARIANTS = tuple(
    "Alex Alicia Andrea Andy Annie Denis Gene Hugo Jacky Lee Marco Mario Michael Mike Nguyen Reed "  # noqa: SIM905
    "RicishayMax Storm adam anika antonio aunty belinda benjamin boris caleb david ed edward f1 f2 f3 f4 f5 gustave "
    "ian iven john linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel norbert pablo paul pedro quincy rob robert "
    "sandro shelby steph travis victor zac".split()
)
_TALKERS = 5  # whose voices make a babble


@dataclass(frozen=True)
class Reading:
    """Within what bounds clips vary; each is drawn evenly between them."""

    variants: tuple[str, ...] = VARIANTS
    speed: Span = (130, 200)  # words per minute
    pitch: Span = (30, 70)  # espeak-ng's scale, 0 to 99
    silence: Span = (0.05, 0.6)  # seconds before the speech, and after it
    snr: Span = (15, 45)  # dB of speech over background
    babble: float = 0.0  # share of the clips whose background is other people talking instead of noise
    volume: Span = (-24, -3)  # dB of the loudest sample against full scale
    seed: int = 1


@dataclass(frozen=True)
class Line:
    """What is read, into which file, by whom; `seed` decides the rest."""

    clip: str
    text: str
    voice: Voice
    manner: Manner
    seed: int

    @property
    def speaker(self) -> str:
        """Return who reads: two clips have the same if voice and variant are the same."""
        return f"{self.voice.name}+{self.manner.variant}" if self.manner.variant else self.voice.name


def make_line(reading: Reading, voices: Sequence[Voice], clip: str, text: str) -> Line:
    """Draw who reads a text and how: a function of the seed and the clip's name, whatever else is read."""
    seed = zlib.crc32(f"{reading.seed} {clip}".encode())
    rng = np.random.default_rng(seed)
    voice = voices[int(rng.integers(len(voices)))]
    variant = reading.variants[int(rng.integers(len(reading.variants)))] if reading.variants else ""
    speed, pitch = round(rng.uniform(*reading.speed)), round(rng.uniform(*reading.pitch))
    return Line(clip, text, voice, Manner(variant, speed, pitch), seed)


def read_aloud(lines: list[Line], reading: Reading, folder: Path) -> list[str]:
    """Write the clips of some lines, which are each other's babble; return those that would hold no sound.

    The clips are the same whatever this process has read before.
    """
    espeak().restart(lines[0].seed)
    spoken = [espeak().speak(line.text, line.voice, line.manner) for line in lines]
    silent = [not np.any(speech_T) for speech_T in spoken]
    for number, line in enumerate(lines):
        if not silent[number]:
            others = [spoken[i] for i in range(len(lines)) if i != number and not silent[i]]
            write_flac(folder / line.clip, mix(spoken[number], others, reading, np.random.default_rng([line.seed, 1])))
    return [line.clip for line, nothing in zip(lines, silent, strict=True) if nothing]


def mix(speech_T: Waveform, others: list[Waveform], reading: Reading, rng: np.random.Generator) -> Waveform:
    """Put speech between silences and over a background, at a volume."""
    before, after = (round(rng.uniform(*reading.silence) * SAMPLE_RATE_HZ) for _ in range(2))
    loudness = float(np.sqrt(np.mean(speech_T**2)))
    clip_T = np.pad(speech_T, (before, after))
    babbles, snr, volume = rng.random() < reading.babble, rng.uniform(*reading.snr), rng.uniform(*reading.volume)
    background_T = _babble(len(clip_T), others or [speech_T[::-1]], rng) if babbles else noise(len(clip_T), rng)
    clip_T = clip_T + background_T * (loudness * 10 ** (-snr / 20) / np.sqrt(np.mean(background_T**2)))
    return np.asarray(clip_T * (10 ** (volume / 20) / np.abs(clip_T).max()), np.float32)


def _babble(length: int, others: list[Waveform], rng: np.random.Generator) -> Waveform:
    """Let several people talk at once, each from a random place on, over and over, equally loud."""
    talkers = [others[i] for i in rng.permutation(len(others))[:_TALKERS]]
    sum_T = np.zeros(length, np.float32)
    for talk_T in talkers:
        places_T = (np.arange(length) + rng.integers(len(talk_T))) % len(talk_T)
        sum_T += talk_T[places_T] / np.sqrt(np.mean(talk_T**2))
    return sum_T
