"""Convert decoded frames of any rate, layout and format to mono 16 kHz chunks, with FFmpeg's resampler if needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import av
import numpy as np

from voxlate.audio.downmix import MEDIA_ERRORS, Mixer
from voxlate.errors import AudioError

if TYPE_CHECKING:
    import numpy.typing as npt

Waveform: TypeAlias = "npt.NDArray[np.float32]"

SAMPLE_RATE_HZ = 16_000
UNCHANGED_SHAPES = {(name, "mono", SAMPLE_RATE_HZ) for name in ("s16", "s16p", "flt", "fltp")}
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 1_000_000  # rates in damaged headers could exhaust memory or time


def mono_chunks(
    frames: Iterator[av.AudioFrame], *, start_seconds: float = 0.0, mixer: Mixer | None = None
) -> Iterator[Waveform]:
    """Yield mono chunks at 16 kHz, (T,). A new resampler is created where rate, layout or format change.

    The frames start at `start_seconds` of the stream, and are regrouped at whole seconds of the stream for the mixer.
    """
    mixer = mixer or Mixer()
    resampler, gain, shape = _resampler(), 1.0, None
    for joined in _joined(frames, start_seconds):
        _check_rate(joined)
        frame = mixer.mix(joined)
        new_shape = _shape(frame)
        # Compared here because PyAV passes every frame through once the first needed no conversion.
        if new_shape != shape:
            yield from resample(resampler, None, gain)
            resampler, gain, shape = _resampler(), _mono_gain(frame), new_shape
        if shape in UNCHANGED_SHAPES:
            yield _samples(frame)
        else:
            yield from resample(resampler, frame, gain)
    yield from resample(resampler, None, gain)


def _samples(frame: av.AudioFrame) -> Waveform:
    """Return the same samples as the resampler would for mono sound at 16 kHz, bit for bit, but faster."""
    samples_T = frame.to_ndarray()[0]
    return samples_T / np.float32(32768) if samples_T.dtype == np.int16 else np.asarray(samples_T, np.float32)


def _joined(frames: Iterator[av.AudioFrame], start_seconds: float) -> Iterator[av.AudioFrame]:
    """Join frames of one shape into whole seconds: FLAC frames have 72 ms, and each resampler call is expensive."""
    fifo, shape, rate, missing = av.AudioFifo(), None, 1, 0
    position = Fraction(start_seconds)

    def read(samples: int) -> av.AudioFrame:
        nonlocal position
        frame = fifo.read(samples)
        assert frame is not None
        position += Fraction(samples, rate)
        return frame

    def samples_to_next_second() -> int:
        return max(1, round((math.floor(position) + 1 - position) * rate))

    for frame in frames:
        if (new_shape := _shape(frame)) != shape:
            if fifo.samples:
                yield read(fifo.samples)
            fifo, shape, rate = av.AudioFifo(), new_shape, frame.sample_rate
            missing = samples_to_next_second()
        frame.pts = None  # otherwise the FIFO refuses gaps
        fifo.write(frame)
        while fifo.samples >= missing:
            yield read(missing)
            missing = samples_to_next_second()
    if fifo.samples:
        yield read(fifo.samples)


def _shape(frame: av.AudioFrame) -> tuple[str, str, int]:
    """Return the sample format, layout and rate of a frame."""
    layout = "mono" if frame.layout.nb_channels == 1 else frame.layout.name  # "1 channels" in WAV files
    return frame.format.name, layout, frame.sample_rate


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)


def _check_rate(frame: av.AudioFrame) -> None:
    if not LOWEST_RATE_HZ <= frame.sample_rate <= HIGHEST_RATE_HZ:
        limits = f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
        raise AudioError(f"sample rate of {frame.sample_rate} Hz, expected {limits}: the header is damaged")


def _mono_gain(frame: av.AudioFrame) -> float:
    """Measure the gain of FFmpeg's downmix for a signal common to all channels: 1.41 for stereo, 4.41 for 7.1."""
    if frame.layout.nb_channels == 1:
        return 1.0
    ones = av.AudioFrame.from_ndarray(np.ones((1, 64 * frame.layout.nb_channels), np.float32), "flt", frame.layout)
    ones.sample_rate = SAMPLE_RATE_HZ
    return float(next(resample(_resampler(), ones, 1.0))[32])


def resample(resampler: av.AudioResampler, frame: av.AudioFrame | None, gain: float) -> Iterator[Waveform]:
    """Yield the output for a frame, divided by `gain`; None flushes the resampler. AudioError if it fails."""
    try:
        outputs = resampler.resample(frame)
    except MEDIA_ERRORS as error:
        source = f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz" if frame is not None else "its end"
        raise AudioError(f"{source} cannot be converted to mono: {error}") from error
    for output in outputs:
        if output is not None and output.samples:  # flushing an unused resampler gives [None]
            yield np.asarray(output.to_ndarray()[0], np.float32) / np.float32(gain)
