"""Convert arrays, tensors and the audio dicts of `datasets` to input for the decoder.

Shape letters: T samples.
"""

from __future__ import annotations

import io
import numbers
import os
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import av
import numpy as np

from voxlate.audio.loading import Audio
from voxlate.audio.resampling import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, SAMPLE_RATE_HZ, Waveform, mono_chunks
from voxlate.audio.sources import AudioSource
from voxlate.errors import AudioError, VoxlateError


class TensorLike(Protocol):
    """A PyTorch tensor. This package does not load torch."""

    def detach(self) -> Any: ...


class SampleDecoder(Protocol):
    """An AudioDecoder of torchcodec, or of datasets 4, which derives from it."""

    def get_all_samples(self) -> Any: ...


AudioInput: TypeAlias = AudioSource | Audio | np.ndarray | TensorLike | SampleDecoder | Mapping[str, Any]
EXPECTED = "a path, bytes, a binary file, a NumPy array, a PyTorch tensor or an audio dict of `datasets`"


def to_audio_source(audio: object, sampling_rate: int = SAMPLE_RATE_HZ) -> AudioSource | Waveform:
    """Return a path, bytes or binary file unchanged, and anything else as float32 samples at 16 kHz, (T,).

    - An array or tensor has the shape (T,) or (1, T) and holds floats in [-1, 1] or 16-bit integers. It is resampled
      from `sampling_rate`, in Hz.
    - An audio dict of `datasets` has its own rate ({"array", "sampling_rate"}), or it holds a file ({"bytes", "path"}).
    - The result of `load_audio` is at 16 kHz.
    - An AudioDecoder of datasets 4 is decoded and mixed to mono.

    Raises AudioError for anything else.
    """
    if isinstance(audio, (str, bytes, os.PathLike)) or hasattr(audio, "read"):
        return audio  # type: ignore[return-value]  # the type checker does not understand hasattr
    if isinstance(audio, Audio):
        return audio.waveform
    if isinstance(audio, np.ndarray):
        return _resample(_to_float(audio), sampling_rate)
    if hasattr(audio, "detach"):
        tensor = audio.detach().cpu()
        return _resample(_to_float((tensor.float() if tensor.is_floating_point() else tensor).numpy()), sampling_rate)
    if hasattr(audio, "get_all_samples"):
        samples = audio.get_all_samples()
        return _resample(_to_float(samples.data.mean(0).numpy()), samples.sample_rate)
    if isinstance(audio, Mapping):
        return _from_dict(audio)
    raise AudioError(f"{type(audio).__name__}: not an audio input; expected {EXPECTED}")


def is_list(audio: object) -> bool:
    """Return whether an argument is a list of inputs rather than a single input."""
    return isinstance(audio, list | tuple)


def check_is_several(inputs: object) -> None:
    """Raise VoxlateError if a single input is passed as a list of inputs: its parts would be taken for inputs."""
    is_one = isinstance(inputs, str | bytes | os.PathLike | Mapping) or hasattr(inputs, "read")
    if is_one or getattr(inputs, "ndim", None) == 1:
        raise VoxlateError(f"inputs is one {type(inputs).__name__}, expected several; put it in a list")


def _from_dict(audio: Mapping[str, Any]) -> AudioSource | Waveform:
    if audio.get("array") is not None and audio.get("sampling_rate") is not None:
        return _resample(_to_float(np.asarray(audio["array"])), audio["sampling_rate"])
    if audio.get("bytes") is not None:
        file = io.BytesIO(audio["bytes"])
        file.name = audio.get("path") or "bytes"
        return file
    if audio.get("path") is not None:
        return str(audio["path"])
    raise AudioError(
        f"dict with {', '.join(map(str, audio)) or 'no keys'}: not an audio input; expected the keys array and "
        "sampling_rate, or bytes and path"
    )


def _to_float(array: np.ndarray) -> Waveform:
    """Return mono samples as float32, (T,): 16-bit integers are divided by 32,768."""
    samples_T = array[0] if array.ndim == 2 and len(array) == 1 else array
    if samples_T.ndim != 1 or not (samples_T.dtype.kind == "f" or samples_T.dtype == np.int16):
        raise AudioError(
            f"array: expected floats or 16-bit integers of shape (T,) or (1, T), got {array.dtype} {array.shape}"
        )
    if samples_T.dtype == np.int16:
        return samples_T.astype(np.float32) / np.float32(32768)
    if not np.isfinite(samples_T).all():
        raise AudioError(f"array: expected finite floats, got NaN or infinity in {array.dtype} {array.shape}")
    return samples_T.astype(np.float32)


def _resample(waveform_T: Waveform, sampling_rate: int) -> Waveform:
    """Resample mono samples to 16 kHz. AudioError if the rate is invalid."""
    is_number = isinstance(sampling_rate, numbers.Real)
    if not is_number or not LOWEST_RATE_HZ <= sampling_rate <= HIGHEST_RATE_HZ or int(sampling_rate) != sampling_rate:
        raise AudioError(
            f"array: sampling_rate is {sampling_rate!r}, expected an integer in Hz from {LOWEST_RATE_HZ} to "
            f"{HIGHEST_RATE_HZ}"
        )
    if sampling_rate == SAMPLE_RATE_HZ or not len(waveform_T):
        return waveform_T
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform_T[None]), format="flt", layout="mono")
    frame.sample_rate = int(sampling_rate)
    return np.concatenate(list(mono_chunks(iter([frame]))))
