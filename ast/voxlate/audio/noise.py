"""Colored noise between white and brown.

Shape letter: T samples.
"""

from __future__ import annotations

import numpy as np

from voxlate.audio.resampling import Waveform


def noise(length: int, rng: np.random.Generator) -> Waveform:
    """Generate noise of shape (T,) whose power spectrum falls as 1/f^a, with a random exponent a from 0 to 2."""
    step = 1 << max(0, (length - 1).bit_length() - 3)
    size = -(-length // step) * step  # 5 to 8 times a power of 2: an FFT of some other lengths takes ten times as long
    spectrum = np.fft.rfft(rng.standard_normal(size, np.float32))
    frequencies = np.maximum(np.arange(len(spectrum), dtype=np.float32), np.float32(size / 320))  # flat below 50 Hz
    shaped = spectrum * frequencies ** np.float32(-rng.uniform(0.0, 1.0))
    return np.asarray(np.fft.irfft(shaped, size)[:length], np.float32)
