"""Noise between white and brown.

Shape letter: T samples.
"""

from __future__ import annotations

import numpy as np

from voxlate.data.resampling import Waveform


def noise(length: int, rng: np.random.Generator) -> Waveform:
    """Make noise whose power falls with the 0th to 2nd power of the frequency, at random."""
    size = 1 << (length - 1).bit_length()  # other lengths take ten times as long
    spectrum = np.fft.rfft(rng.standard_normal(size, np.float32))
    frequencies = np.maximum(np.arange(len(spectrum)), size / 320)  # level below 50 Hz
    return np.asarray(np.fft.irfft(spectrum * frequencies ** -rng.uniform(0.0, 1.0))[:length], np.float32)
