"""Downmix channels to mono so that no channel with sound is lost and none cancels another.

Shape letters: C channels, T samples at the file's own rate, B blocks of a tenth of a second.

FFmpeg's downmix is used wherever it is right, so ordinary files give the same samples as with FFmpeg. It is wrong in
three ways:

- It drops channels of layouts that it has no rule for (the third of three, top channels).
- It drops the bass effects channel (LFE), although files with one microphone per channel use it for speech.
- It adds channels even if one is the inverse of the other, so that both vanish. In that case only the louder of the two
  is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import av.error
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples: TypeAlias = npt.NDArray[np.float32]
    Covariances: TypeAlias = npt.NDArray[np.float64]

# Exceptions that PyAV raises for media it cannot read; FFmpegError itself derives only from Exception.
MEDIA_ERRORS = (av.error.FFmpegError, OSError, EOFError, LookupError, ValueError, OverflowError, NotImplementedError)

BLOCKS_PER_SECOND = 10  # channels are selected for each block
_DIFFERENCE_HZ = 8_000  # samples this far apart are subtracted, which keeps speech and removes most hum and bass
# A channel is canceled if less than this share of its power remains and the correlation is below this.
_CANCELED, _OPPOSITE = 0.6, -0.5
_PREFERRED = 2.8  # power ratio (4.5 dB) above which a later channel is preferred to an earlier one
# An LFE channel is mixed in if the speech band has more than this share of its power, and of the others' power there.
_BASS_SHARE, _BASS_LEVEL = 0.03, 0.5
_MOST_COMPARED = 64  # channels
_MOST_PLANES = 7  # with more planes, PyAV reads past the last one and crashes
_PROBE_SAMPLES = 16_000 // 100  # of each channel, to measure its gain
_NOTED_SECONDS, _NOTED_SHARE = 0.5, 0.1
_TYPES: dict[str, type[np.generic]] = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "s64": np.int64,
    "flt": np.float32,
    "dbl": np.float64,
}


class Mixer:
    """Prepares the frames of one stream for FFmpeg's downmix, and collects notes for the user."""

    def __init__(self) -> None:
        self._gains: dict[str, Samples | None] = {}
        self._reused: Samples = np.empty((2, 0, 0), np.float32)
        self._seconds = 0.0
        self._canceled: Counter[tuple[int, int]] = Counter()  # number of blocks by (kept channel, dropped channel)
        self._lfe_blocks: Counter[int] = Counter()

    def mix(self, frame: av.AudioFrame) -> av.AudioFrame:
        """Return a frame that FFmpeg downmixes without loss: the same frame if that is already the case.

        Channels are selected for each tenth of a second, from the samples of the frame only.
        """
        channels = frame.layout.nb_channels
        if channels == 1 and frame.layout.name in ("mono", "1 channels"):
            return frame
        if frame.format.is_planar and channels > _MOST_PLANES:
            frame = _packed(frame)
        samples_CT, band_CT = self._buffers(channels, frame.samples)
        _read_samples(frame, samples_CT)
        gains_C = self._gains_of(frame.layout)
        is_bass_C = np.array([channel.name.startswith("LFE") for channel in frame.layout.channels])
        weights_C = np.where(is_bass_C, 0, 1).astype(np.float32) if gains_C is None else gains_C
        if not weights_C.any():
            weights_C = np.ones_like(weights_C)
        edges_B = _edges(samples_CT.shape[1], frame.sample_rate)
        chosen_BC = self._choose(samples_CT, band_CT, weights_C, frame.sample_rate, edges_B)
        self._seconds += frame.samples / frame.sample_rate
        changed_B = (chosen_BC != (weights_C > 0)).any(axis=1)
        if gains_C is not None and not changed_B.any():
            return frame
        weights_BC = np.where(chosen_BC, np.where(weights_C > 0, weights_C, weights_C.max()), 0)
        weights_BC /= weights_BC.sum(axis=1, keepdims=True)
        blocks = [
            (start, stop, (weights_C @ samples_CT[:, start:stop]).astype(np.float32))
            for weights_C, start, stop in zip(weights_BC, edges_B, edges_B[1:], strict=False)
        ]
        if gains_C is None:
            mono = av.AudioFrame.from_ndarray(np.concatenate([block_T for *_, block_T in blocks])[None], "flt", "mono")
            mono.sample_rate = frame.sample_rate
            return mono
        for (start, stop, block_T), changed in zip(blocks, changed_B, strict=True):
            if changed:
                _write(frame, start, stop, block_T)
        return frame

    def notes(self) -> tuple[str, ...]:
        """Return notes for the user about the channels, one sentence each."""
        min_blocks = min(_NOTED_SECONDS, _NOTED_SHARE * self._seconds) * BLOCKS_PER_SECOND
        canceled = [
            f"channel {left_out + 1} cancels channel {kept + 1}, as an inverted channel does, and is left out "
            f"for {blocks / BLOCKS_PER_SECOND:.1f} s"
            for (kept, left_out), blocks in sorted(self._canceled.items())
            if blocks >= min_blocks
        ]
        lfe = [
            f"channel {channel + 1} (LFE) contains more than bass and is mixed in "
            f"for {blocks / BLOCKS_PER_SECOND:.1f} s"
            for channel, blocks in sorted(self._lfe_blocks.items())
            if blocks >= min_blocks
        ]
        return (*canceled, *lfe)

    def _gains_of(self, layout: av.AudioLayout) -> Samples | None:
        """Return the gains of a layout from `_ffmpeg_gains`, measured once."""
        if layout.name not in self._gains:
            self._gains[layout.name] = _ffmpeg_gains(layout)
        return self._gains[layout.name]

    def _buffers(self, channels: int, samples: int) -> Samples:
        """Return buffers for two arrays, (2, C, T), reused while the shape is the same: allocation is expensive."""
        if self._reused.shape != (2, channels, samples):
            self._reused = np.empty((2, channels, samples), np.float32)
        return self._reused

    def _choose(
        self, samples_CT: Samples, band_CT: Samples, weights_C: Samples, rate: int, edges_B: list[int]
    ) -> npt.NDArray[np.bool_]:
        """Return which channels of each block to mix, (B, C). `band_CT` is a buffer."""
        normal_BC = np.tile(weights_C > 0, (len(edges_B) - 1, 1))
        peak = max(samples_CT.max(initial=0.0), -samples_CT.min(initial=0.0))
        # Silence; or NaN, which is refused later; or too many channels to compare pairs.
        if not 0 < peak < np.inf or len(samples_CT) > _MOST_COMPARED:
            return normal_BC
        covariance_BCC = _covariances(samples_CT, band_CT, peak, rate, edges_B)
        gain_C = np.where(weights_C > 0, weights_C, weights_C.max())
        covariance_BCC *= np.outer(gain_C, gain_C)
        chosen_BC = self._without_opposites(covariance_BCC, weights_C > 0)
        mixed_B = np.einsum("bij,bi,bj->b", covariance_BCC, chosen_BC, chosen_BC)
        for channel in np.flatnonzero(weights_C == 0).tolist():
            speech_B = covariance_BCC[:, channel, channel]
            parts = [samples_CT[channel, start:stop] / peak for start, stop in pairwise(edges_B)]
            total_B = np.array([part_T.var() for part_T in parts]) * gain_C[channel] ** 2
            chosen_BC[:, channel] = (speech_B > _BASS_SHARE * total_B) & (speech_B > _BASS_LEVEL * mixed_B)
            self._lfe_blocks[channel] += int(chosen_BC[:, channel].sum())
        return chosen_BC

    def _without_opposites(self, covariance_BCC: Covariances, normal_C: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Choose channels from the loudest to the quietest, except those that cancel one that was chosen before."""
        power_BC = np.diagonal(covariance_BCC, axis1=1, axis2=2)
        opposite_BCC = covariance_BCC < _OPPOSITE * np.sqrt(power_BC[:, :, None] * power_BC[:, None])
        if not opposite_BCC.any():
            return np.tile(normal_C, (len(power_BC), 1))
        chosen_BC = np.zeros(power_BC.shape, bool)
        for channel in _by_power(power_BC.sum(axis=0), np.flatnonzero(normal_C).tolist()):
            shared_BC = covariance_BCC[:, :, channel]
            remaining_BC = (covariance_BCC * chosen_BC[:, None]).sum(axis=2) + shared_BC
            canceled_BC = chosen_BC & (remaining_BC < _CANCELED * power_BC) & opposite_BCC[:, :, channel]
            canceled_B = canceled_BC.any(axis=1)
            chosen_BC[:, channel] = ~canceled_B
            self._canceled.update((kept, channel) for kept in canceled_BC[canceled_B].argmax(axis=1).tolist())
        return chosen_BC


def _ffmpeg_gains(layout: av.AudioLayout) -> Samples | None:
    """Measure the gain of each channel in FFmpeg's downmix, (C,); None if it fails or drops a channel.

    Without a channel mask FFmpeg would guess the positions of more than two channels; they are treated equally instead.
    """
    names = [channel.name for channel in layout.channels]
    if len(names) > 2 and set(names) == {"NONE"}:
        return None
    ones_CTC = np.zeros((len(names), _PROBE_SAMPLES, len(names)), np.float32)
    for channel in range(len(names)):
        ones_CTC[channel, :, channel] = 1
    frame = av.AudioFrame.from_ndarray(ones_CTC.reshape(1, -1), "flt", layout)
    frame.sample_rate = _PROBE_SAMPLES
    try:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=_PROBE_SAMPLES)
        mixed_T = np.concatenate([output.to_ndarray()[0] for output in resampler.resample(frame)])
    except MEDIA_ERRORS:
        return None
    gains_C = mixed_T[_PROBE_SAMPLES // 2 :: _PROBE_SAMPLES].astype(np.float32)
    lost = any(gain == 0 and not name.startswith("LFE") for name, gain in zip(names, gains_C, strict=True))
    return None if lost or not gains_C.any() else gains_C


def _packed(frame: av.AudioFrame) -> av.AudioFrame:
    """Return a planar frame with its samples interleaved."""
    resampler = av.AudioResampler(format=frame.format.packed.name, layout=frame.layout, rate=frame.sample_rate)
    [packed] = resampler.resample(frame)
    return packed


def _views(frame: av.AudioFrame) -> list[npt.NDArray[Any]]:
    """Return views of each channel's samples, (T,), in the frame's memory."""
    kind, channels = _TYPES[frame.format.packed.name], frame.layout.nb_channels
    planes = [np.frombuffer(memoryview(plane), kind) for plane in frame.planes]
    if frame.format.is_planar:
        return [plane[: frame.samples] for plane in planes]
    return list(planes[0][: frame.samples * channels].reshape(-1, channels).T)


def _read_samples(frame: av.AudioFrame, samples_CT: Samples) -> None:
    """Copy all channels to `samples_CT`, scaled to [-1, 1]."""
    views = _views(frame)
    for samples_T, view_T in zip(samples_CT, views, strict=True):
        np.copyto(samples_T, view_T, casting="unsafe")
    if views[0].dtype.kind != "f":
        zero, full = _range(views[0].dtype)
        samples_CT -= np.float32(zero)
        samples_CT /= np.float32(full)


def _write(frame: av.AudioFrame, start: int, stop: int, mono_T: Samples) -> None:
    """Write the same samples to a block of all channels."""
    for view_T in _views(frame):
        if view_T.dtype.kind == "f":
            view_T[start:stop] = mono_T
        else:
            zero, full = _range(view_T.dtype)
            limits = np.iinfo(view_T.dtype)
            scaled_T = np.rint(mono_T.astype(np.float64) * full + zero)
            view_T[start:stop] = np.clip(scaled_T, limits.min, limits.max).astype(view_T.dtype)


def _range(kind: np.dtype[Any]) -> tuple[int, int]:
    """Return the sample value of silence, and the distance from it to full scale."""
    full = 1 << (8 * kind.itemsize - 1)
    return (full if kind.kind == "u" else 0), full


def _edges(samples: int, rate: int) -> list[int]:
    """Return the starts of the blocks and the end of the last one. Less than half a block is added to the last."""
    count = max(1, round(samples * BLOCKS_PER_SECOND / rate))
    return [*(block * rate // BLOCKS_PER_SECOND for block in range(count)), samples]


def _covariances(samples_CT: Samples, band_CT: Samples, peak: float, rate: int, edges_B: list[int]) -> Covariances:
    """Return the covariances of channels in each block, (B, C, C), in the speech band, relative to the peak."""
    lag = min(max(1, round(rate / _DIFFERENCE_HZ)), samples_CT.shape[1] - 1)
    band_CT = band_CT[:, lag:]
    if lag:
        np.subtract(samples_CT[:, lag:], samples_CT[:, :-lag], out=band_CT)
    else:
        np.copyto(band_CT, samples_CT)
    band_CT /= np.float32(peak)
    parts = [band_CT[:, start:stop] for start, stop in pairwise(edges_B)]
    # Row by row: for few channels this is faster than one matrix product.
    return np.stack([(part_CT[:, None] @ part_CT.T)[:, 0] / np.float64(max(1, part_CT.shape[1])) for part_CT in parts])


def _by_power(power_C: npt.NDArray[np.float64], channels: list[int]) -> Iterator[int]:
    """Yield channels from loud to quiet. Among channels of similar power, the first one comes first."""
    remaining = list(channels)
    while remaining:
        threshold = max(power_C[remaining]) / _PREFERRED
        first = next(channel for channel in remaining if power_C[channel] >= threshold)
        remaining.remove(first)
        yield first
