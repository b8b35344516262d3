"""Sound that differs each time it is trained on: other speeds, noise. (Which clips are joined is in `planning`.)

Shape letter: T samples of 16 kHz sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from voxlate.audio.noise import noise
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform


@dataclass(frozen=True)
class Augmentation:
    """What is changed. All is drawn from the seed, the place of the batch, and the utterance: a run repeats it.

    `speeds` are factors, each as likely as the others (Ko et al. 2015: 0.9, 1.0, 1.1), by which pitch changes, too;
    but none that makes a clip longer than `max_seconds`; `noise_share` of the clips get noise, `noise_snr` dB below
    them.
    """

    speeds: tuple[float, ...] = ()
    noise_share: float = 0.0
    noise_snr: tuple[float, float] = (5.0, 30.0)
    seed: int = 0
    max_seconds: float = float("inf")

    def change(self, waveform_T: Waveform, key: Sequence[int]) -> Waveform:
        """Return a clip at another speed and with noise; `key` says which drawing this is."""
        rng = np.random.default_rng([self.seed, *key])
        if self.speeds:
            seconds = len(waveform_T) / SAMPLE_RATE_HZ
            fitting = [factor for factor in self.speeds if seconds / factor <= self.max_seconds] or [1.0]
            factor = fitting[int(rng.integers(len(fitting)))]
            if factor != 1.0:
                waveform_T = soxr.resample(waveform_T, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ)
        if rng.random() < self.noise_share and waveform_T.any():
            background_T = noise(len(waveform_T), rng)
            loudness = np.sqrt(np.mean(np.square(waveform_T)) / np.mean(np.square(background_T)))
            waveform_T = waveform_T + background_T * (loudness * 10 ** (-rng.uniform(*self.noise_snr) / 20))
        return np.asarray(waveform_T, np.float32)
