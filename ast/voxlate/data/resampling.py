"""Decoded frames of any rate, layout and format to mono 16 kHz chunks, by FFmpeg's resampler where they need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import av
import av.error
import numpy as np

from voxlate.errors import AudioError

if TYPE_CHECKING:
    import numpy.typing as npt

Waveform: TypeAlias = "npt.NDArray[np.float32]"

SAMPLE_RATE_HZ = 16_000
_NEED_NOTHING = {(name, "mono", SAMPLE_RATE_HZ) for name in ("s16", "s16p", "flt", "fltp")}
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 1_000_000  # beyond them, a damaged header could ask for all memory or time

# What PyAV raises for media it cannot read: FFmpegError itself is an Exception and no more.
MEDIA_ERRORS = (av.error.FFmpegError, OSError, EOFError, LookupError, ValueError, OverflowError, NotImplementedError)


def mono_chunks(frames: Iterator[av.AudioFrame]) -> Iterator[Waveform]:
    """Resample, with a new resampler wherever rate, layout or format change in the middle of the stream."""
    resampler, gain, shape = _resampler(), 1.0, None
    for frame in _joined(frames):
        new_shape = _shape(frame)
        # Compared here and not left to PyAV, which lets any frame pass once the first needed no conversion.
        if new_shape != shape:
            yield from _resample(resampler, None, gain)
            resampler, gain, shape = _resampler(), _mono_gain(frame), new_shape
        if shape in _NEED_NOTHING:
            yield _samples(frame)
        else:
            yield from _resample(resampler, frame, gain)
    yield from _resample(resampler, None, gain)


def _samples(frame: av.AudioFrame) -> Waveform:
    """Return what the resampler would make of mono sound of our rate, bit for bit, without what its making costs."""
    samples_T = frame.to_ndarray()[0]
    return samples_T / np.float32(32768) if samples_T.dtype == np.int16 else np.asarray(samples_T, np.float32)


def _joined(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """Join frames of one kind to about a second: those of FLAC are 72 ms, and each call of the resampler costs much."""
    fifo, shape = av.AudioFifo(), None
    for frame in frames:
        if fifo.samples and (_shape(frame) != shape or fifo.samples >= frame.sample_rate):
            yield _emptied(fifo)
        if _shape(frame) != shape:
            fifo, shape = av.AudioFifo(), _shape(frame)
        frame.pts = None  # or a gap would be refused
        fifo.write(frame)
    if fifo.samples:
        yield _emptied(fifo)


def _emptied(fifo: av.AudioFifo) -> av.AudioFrame:
    frame = fifo.read()
    assert frame is not None
    return frame


def _shape(frame: av.AudioFrame) -> tuple[str, str, int]:
    layout = "mono" if frame.layout.nb_channels == 1 else frame.layout.name  # of WAV it is "1 channels"
    return frame.format.name, layout, frame.sample_rate


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)


def _mono_gain(frame: av.AudioFrame) -> float:
    """Measure what FFmpeg's mix to mono makes of a signal common to all channels: 1.41 for stereo, 4.41 for 7.1."""
    if not LOWEST_RATE_HZ <= frame.sample_rate <= HIGHEST_RATE_HZ:
        limits = f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
        raise AudioError(f"sample rate of {frame.sample_rate} Hz, expected {limits}: its header is damaged")
    if frame.layout.nb_channels == 1:
        return 1.0
    ones = av.AudioFrame.from_ndarray(np.ones((1, 64 * frame.layout.nb_channels), np.float32), "flt", frame.layout)
    ones.sample_rate = SAMPLE_RATE_HZ
    gain = float(next(_resample(_resampler(), ones, 1.0))[32])
    if gain < 0.1:
        raise AudioError(f"its channel layout '{frame.layout.name}' holds nothing but bass effects")
    return gain


def _resample(resampler: av.AudioResampler, frame: av.AudioFrame | None, gain: float) -> Iterator[Waveform]:
    try:
        outputs = resampler.resample(frame)
    except MEDIA_ERRORS as error:
        source = f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz" if frame is not None else "its end"
        raise AudioError(f"{source} cannot be converted to mono, expected 1 to 8 channels at 8 to 192 kHz") from error
    for output in outputs:
        if output is not None and output.samples:  # flushing a resampler with nothing to convert gives [None]
            yield np.asarray(output.to_ndarray()[0], np.float32) / np.float32(gain)
