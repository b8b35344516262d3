"""Make recordings of several clips, with known boundaries between them, to train a sentence boundary head.

Shape letter: T samples of 16 kHz audio.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from voxlate.audio.noise import noise
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.data.batching import read_waveform
from voxlate.data.joined_clips import draw_pause, join_clips, speech_span
from voxlate.errors import AudioError, VoxlateError
from voxlate.manifest.utterance import Utterance

_MAX_SPREAD_DB = 12.0  # between the loudest and the softest clip of a recording
_SNR_DB = (10.0, 50.0)  # of the noise over a whole recording
_MAX_EDGE_SECONDS = 0.5
_SPARE_SAMPLES = SAMPLE_RATE_HZ // 10  # a louder or softer clip may be trimmed by another frame
_MAX_FAILURES = 20  # draws in succession of clips that cannot be read


@dataclass(frozen=True)
class JoinedRecording:
    """A waveform, (T,), and the spans of samples outside sentences: pauses, joints (empty spans), both ends."""

    waveform_T: Waveform
    outside: tuple[tuple[int, int], ...]

    def pauses(self) -> list[tuple[int, int]]:
        """Return the spans between two sentences."""
        return [span for span in self.outside if span[0] > 0 and span[1] < len(self.waveform_T)]


@dataclass
class RecordingMaker:
    """Joins clips of one language, the languages one after another; half of the recordings have a single speaker.

    `failed` collects the errors of clips that cannot be read, which are left out.
    """

    utterances: Mapping[str, Sequence[Utterance]]  # by language
    seconds: float
    seed: int
    failed: dict[str, str] = field(default_factory=dict)

    def recordings(self, count: int) -> Iterator[JoinedRecording]:
        """Yield recordings of `seconds`. They depend only on the seed and their numbers."""
        languages = sorted(self.utterances)
        for number in range(count):
            rng = np.random.default_rng([self.seed, number])
            yield self._recording(self.utterances[languages[number % len(languages)]], rng)

    def _recording(self, utterances: Sequence[Utterance], rng: np.random.Generator) -> JoinedRecording:
        samples = round(self.seconds * SAMPLE_RATE_HZ)
        spread = rng.uniform(0, _MAX_SPREAD_DB)
        before = round(rng.uniform(0, _MAX_EDGE_SECONDS) * SAMPLE_RATE_HZ) if rng.random() < 0.5 else 0
        candidates = self._candidates(utterances, rng)
        clips, pauses = [np.zeros(0, np.float32)], [before / SAMPLE_RATE_HZ]
        total = before
        while total < samples + _SPARE_SAMPLES:
            clip_T = self._clip(candidates, utterances, rng)
            if len(clips) == 1 and not before:  # the recording begins within a sentence
                clip_T = clip_T[rng.integers(len(clip_T) // 2 + 1) :]
            start, end = speech_span(clip_T)
            clips.append(clip_T * 10 ** (-rng.uniform(0, spread) / 20))
            pauses.append(draw_pause(rng))
            total += end - start + round(pauses[-1] * SAMPLE_RATE_HZ)
        waveform_T, outside = join_clips([*clips, np.zeros(0, np.float32)], pauses, rng)
        if not before:
            del outside[0]
        noise_T = noise(samples, rng)
        level = 10 ** (-(spread / 2 + rng.uniform(*_SNR_DB)) / 20) / np.sqrt(np.mean(np.square(noise_T)))
        noisy_T = waveform_T[:samples] + noise_T * level
        noisy_T *= 0.5 / np.abs(noisy_T).max()
        kept = tuple((start, min(end, samples)) for start, end in outside if start < samples)
        return JoinedRecording(np.asarray(noisy_T, np.float32), kept)

    @staticmethod
    def _candidates(utterances: Sequence[Utterance], rng: np.random.Generator) -> Sequence[Utterance]:
        """Return all utterances of a language, or for half of the recordings those of one speaker with several."""
        if rng.random() < 0.5:
            return utterances
        speaker = utterances[int(rng.integers(len(utterances)))].speaker
        same = [utterance for utterance in utterances if utterance.speaker == speaker]
        return same if speaker is not None and len(same) > 1 else utterances

    def _clip(self, candidates: Sequence[Utterance], others: Sequence[Utterance], rng: np.random.Generator) -> Waveform:
        """Return a random clip whose speech has a root mean square of 1.

        It is one of the others if the candidates cannot be read. VoxlateError if those cannot either.
        """
        for attempt in range(2 * _MAX_FAILURES):
            drawn = candidates if attempt < _MAX_FAILURES else others
            utterance = drawn[int(rng.integers(len(drawn)))]
            if utterance.id in self.failed:
                continue
            try:
                waveform_T = read_waveform(utterance).numpy()
            except AudioError as error:
                self.failed[utterance.id] = str(error)
                continue
            start, end = speech_span(waveform_T)
            level = float(np.sqrt(np.mean(np.square(waveform_T[start:end])))) if end > start else 0.0
            if level:
                return np.asarray(waveform_T / level, np.float32)
            self.failed[utterance.id] = f"{utterance.id}: is silent"
        raise VoxlateError(f"{next(iter(self.failed.values()))}; expected clips that can be read")
