"""Synthesize clips of many speakers with random voices, prosody, pauses, background noise and volume.

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
from voxlate.corpora.espeak import Prosody, Voice, espeak

Range = tuple[float, float]  # lowest, highest

# Variants of espeak-ng that sound like different people; the others sing, whisper or sound like robots.
VARIANTS = tuple(
    "Alex Alicia Andrea Andy Annie Denis Gene Hugo Jacky Lee Marco Mario Michael Mike Nguyen Reed "  # noqa: SIM905
    "RicishayMax Storm adam anika antonio aunty belinda benjamin boris caleb david ed edward f1 f2 f3 f4 f5 gustave "
    "ian iven john linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel norbert pablo paul pedro quincy rob robert "
    "sandro shelby steph travis victor zac".split()
)
_TALKERS = 5  # voices in babble noise


@dataclass(frozen=True)
class SpeechVariation:
    """Ranges from which the properties of clips are drawn uniformly."""

    variants: tuple[str, ...] = VARIANTS
    speed: Range = (130, 200)  # words per minute
    pitch: Range = (30, 70)  # espeak-ng's scale, 0 to 99
    silence: Range = (0.05, 0.6)  # seconds before the speech, and after it
    snr: Range = (15, 45)  # dB of speech over background
    babble: float = 0.0  # share of clips whose background is babble (other speakers) instead of noise
    volume: Range = (-24, -3)  # peak level in dBFS
    seed: int = 1


@dataclass(frozen=True)
class Prompt:
    """A text to synthesize, with its file name, voice and prosody. `seed` determines the rest."""

    clip: str
    text: str
    voice: Voice
    prosody: Prosody
    seed: int

    @property
    def speaker(self) -> str:
        """Identifier of the speaker, shared by clips with the same voice and variant."""
        return f"{self.voice.name}+{self.prosody.variant}" if self.prosody.variant else self.voice.name


def make_prompt(variation: SpeechVariation, voices: Sequence[Voice], clip: str, text: str) -> Prompt:
    """Draw the voice and prosody of a text. They depend only on the seed and the name of the clip."""
    seed = zlib.crc32(f"{variation.seed} {clip}".encode())
    rng = np.random.default_rng(seed)
    voice = voices[int(rng.integers(len(voices)))]
    variant = variation.variants[int(rng.integers(len(variation.variants)))] if variation.variants else ""
    speed, pitch = round(rng.uniform(*variation.speed)), round(rng.uniform(*variation.pitch))
    return Prompt(clip, text, voice, Prosody(variant, speed, pitch), seed)


def synthesize(prompts: list[Prompt], variation: SpeechVariation, folder: Path) -> list[str]:
    """Write the clips of a chunk of prompts to a folder; return the names of silent ones, which are not written.

    The prompts serve as babble noise for each other. The clips do not depend on earlier calls.
    """
    espeak().restart(prompts[0].seed)
    spoken = [espeak().speak(prompt.text, prompt.voice, prompt.prosody) for prompt in prompts]
    silent = [not np.any(speech_T) for speech_T in spoken]
    for number, prompt in enumerate(prompts):
        if not silent[number]:
            others = [spoken[i] for i in range(len(prompts)) if i != number and not silent[i]]
            write_flac(
                folder / prompt.clip,
                add_background(spoken[number], others, variation, np.random.default_rng([prompt.seed, 1])),
            )
    return [prompt.clip for prompt, is_silent in zip(prompts, silent, strict=True) if is_silent]


def add_background(
    speech_T: Waveform, others: list[Waveform], variation: SpeechVariation, rng: np.random.Generator
) -> Waveform:
    """Pad speech with silence, add background noise, and scale the result to a random volume."""
    before, after = (round(rng.uniform(*variation.silence) * SAMPLE_RATE_HZ) for _ in range(2))
    loudness = float(np.sqrt(np.mean(speech_T**2)))
    clip_T = np.pad(speech_T, (before, after))
    has_babble, snr, volume = (
        rng.random() < variation.babble,
        rng.uniform(*variation.snr),
        rng.uniform(*variation.volume),
    )
    background_T = _babble(len(clip_T), others or [speech_T[::-1]], rng) if has_babble else noise(len(clip_T), rng)
    clip_T = clip_T + background_T * (loudness * 10 ** (-snr / 20) / np.sqrt(np.mean(background_T**2)))
    return np.asarray(clip_T * (10 ** (volume / 20) / np.abs(clip_T).max()), np.float32)


def _babble(length: int, others: list[Waveform], rng: np.random.Generator) -> Waveform:
    """Mix several voices at equal power, each looped from a random position."""
    talkers = [others[i] for i in rng.permutation(len(others))[:_TALKERS]]
    sum_T = np.zeros(length, np.float32)
    for talk_T in talkers:
        indices_T = (np.arange(length) + rng.integers(len(talk_T))) % len(talk_T)
        sum_T += talk_T[indices_T] / np.sqrt(np.mean(talk_T**2))
    return sum_T
