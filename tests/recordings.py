"""Recordings of several sentences, with known sentences and times, spoken by espeak-ng in the demo model's languages.

Shape letter: T samples at 16 kHz.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from paths import DEMO
from voxlate.audio.noise import noise
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.corpora.espeak import Prosody, espeak

sys.path.insert(0, str(DEMO))
from make_sentences import LANGUAGES, SentenceSampler, read_phrases

PAUSES = ((0.4, 0.15, 0.35), (0.4, 0.35, 0.7), (0.2, 0.7, 1.2))  # natural: (share, least, most) in seconds
_VARIANTS = ("", "f2", "m3", "Annie", "max", "boris", "f4", "Alex")
_EDGE_SECONDS = 0.1  # kept on either side of a sentence that is cut by hand


@dataclass(frozen=True)
class SpokenSentence:
    """A sentence of a recording: its text, its translations by language, and its first and last samples."""

    text: str
    translations: dict[str, str]
    start: int
    end: int


@dataclass(frozen=True)
class Recording:
    """A waveform, (T,), and its sentences in order."""

    waveform_T: Waveform
    sentences: tuple[SpokenSentence, ...]

    def clips(self) -> list[Waveform]:
        """Return the sentences as cut by hand: at their edges, with up to 0.1 s around each."""
        edge = round(_EDGE_SECONDS * SAMPLE_RATE_HZ)
        bounds = [0, *(sentence.start for sentence in self.sentences), len(self.waveform_T)]
        ends = [0, *(sentence.end for sentence in self.sentences)]
        return [
            self.waveform_T[
                max(sentence.start - edge, (ends[index] + sentence.start) // 2) : min(
                    sentence.end + edge, (sentence.end + bounds[index + 2]) // 2
                )
            ]
            for index, sentence in enumerate(self.sentences)
        ]


def demo_sentences(count: int, seed: int = 7) -> list[dict[str, str]]:
    """Return held-out sentences of the demo's kind, each in all its languages, by code."""
    sampler = SentenceSampler(read_phrases(DEMO / "phrases"), seed)
    held_out = (sentence for sentence in sampler if sentence.split == "test")
    return [dict(zip(LANGUAGES, sentence.texts, strict=True)) for sentence in islice(held_out, count)]


def natural_pause(rng: np.random.Generator) -> float:
    """Draw a pause between two sentences, in seconds."""
    _, least, most = PAUSES[rng.choice(len(PAUSES), p=[share for share, _, _ in PAUSES])]
    return float(rng.uniform(least, most))


def record(
    sentences: Sequence[dict[str, str]],
    language: str,
    *,
    seed: int = 0,
    pauses: Sequence[float] | None = None,
    speakers: int = 1,
    level_db: Sequence[float] = (0.0,),
    snr: float = 40.0,
) -> Recording:
    """Speak sentences one after another, over a constant noise.

    `pauses` are the seconds after each sentence (None: natural ones). `speakers` take turns; `level_db` has the
    loudness of each in turn, relative to the first.
    """
    rng = np.random.default_rng([seed, *language.encode()])
    espeak().restart(seed)  # without it, each process would get other samples
    [voice, *_] = [voice for voice in espeak().voices if voice.language == language]
    prosodies = [
        Prosody(str(variant), int(rng.integers(140, 190)), int(rng.integers(35, 66)))
        for variant in rng.permutation(_VARIANTS)[:speakers]
    ]
    lead = round(0.3 * SAMPLE_RATE_HZ)
    parts, position, spoken = [np.zeros(lead, np.float32)], lead, []
    for index, sentence in enumerate(sentences):
        speech_T = _trimmed(espeak().speak(sentence[language], voice, prosodies[index % speakers]))
        speech_T = speech_T / np.sqrt(np.mean(speech_T**2)) * 10 ** (level_db[index % len(level_db)] / 20)
        spoken.append(SpokenSentence(sentence[language], sentence, position, position + len(speech_T)))
        pause = round((natural_pause(rng) if pauses is None else pauses[index]) * SAMPLE_RATE_HZ)
        parts += [speech_T, np.zeros(pause, np.float32)]
        position += len(speech_T) + pause
    waveform_T = np.concatenate(parts).astype(np.float32)
    noise_T = noise(len(waveform_T), rng)
    quietest = 10 ** (min(level_db) / 20)
    waveform_T = waveform_T + noise_T * (quietest * 10 ** (-snr / 20) / np.sqrt(np.mean(noise_T**2)))
    return Recording(np.asarray(waveform_T * (0.5 / np.abs(waveform_T).max()), np.float32), tuple(spoken))


def _trimmed(speech_T: Waveform) -> Waveform:
    """Return speech without the silence at its edges."""
    sounding = np.flatnonzero(np.abs(speech_T) > 0.01 * np.abs(speech_T).max())
    return speech_T[sounding[0] : sounding[-1] + 1]
