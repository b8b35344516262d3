"""Audio augmentation for training: speed perturbation, noise, and pauses between joined clips.

`batch_sampler.ClipJoining` chooses the clips that are joined.

Shape letter: T samples of 16 kHz audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from voxlate.audio.noise import noise
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.data.joined_clips import draw_pause, join_clips

_JOINING = 1  # a last part of the key, which draws for single clips do not have


@dataclass(frozen=True)
class Augmentation:
    """Random speed perturbation and noise, reproducible from `seed` and the key of each draw.

    `speeds` are equally likely factors, which change the pitch too (Ko et al. 2015: 0.9, 1.0, 1.1); factors that would
    make a clip longer than `max_seconds` are not used for it. A share `noise_share` of the clips gets noise with
    a signal-to-noise ratio drawn from the range `noise_snr`, in dB.
    """

    speeds: tuple[float, ...] = ()
    noise_share: float = 0.0
    noise_snr: tuple[float, float] = (5.0, 30.0)
    seed: int = 0
    max_seconds: float = float("inf")

    def apply(self, waveform_T: Waveform, key: Sequence[int]) -> Waveform:
        """Return a clip, (T,), at a random speed and with noise, drawn from a generator seeded by `seed` and `key`."""
        rng = np.random.default_rng([self.seed, *key])
        if self.speeds:
            seconds = len(waveform_T) / SAMPLE_RATE_HZ
            allowed = [factor for factor in self.speeds if seconds / factor <= self.max_seconds] or [1.0]
            factor = allowed[int(rng.integers(len(allowed)))]
            if factor != 1.0:
                waveform_T = soxr.resample(waveform_T, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ)
        if rng.random() < self.noise_share and waveform_T.any():
            noise_T = noise(len(waveform_T), rng)
            loudness = np.sqrt(np.mean(np.square(waveform_T)) / np.mean(np.square(noise_T)))
            waveform_T = waveform_T + noise_T * (loudness * 10 ** (-rng.uniform(*self.noise_snr) / 20))
        return np.asarray(waveform_T, np.float32)

    def join(self, clips: Sequence[Waveform], key: Sequence[int]) -> Waveform:
        """Return clips joined into one, (T,), with random pauses, drawn from a generator seeded by `seed` and `key`."""
        rng = np.random.default_rng([self.seed, *key, _JOINING])
        return join_clips(clips, [draw_pause(rng) for _ in clips[1:]], rng)[0]
