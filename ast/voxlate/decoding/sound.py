"""Inputs decoded ahead of the model, in another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike

import numpy as np

from voxlate.data.audio import SAMPLE_RATE_HZ, AudioSource, Waveform, spool_audio
from voxlate.data.chunks import SpooledWaveform
from voxlate.decoding.segmentation import segment
from voxlate.errors import AudioError

Span = tuple[int, int]


@dataclass(frozen=True)
class Sound:
    """A decoded input: its samples at 16 kHz, and the spans (start, end) of them to translate."""

    name: str
    waveform_T: Waveform | SpooledWaveform
    spans: list[Span]
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the whole input."""
        return len(self.waveform_T) / SAMPLE_RATE_HZ

    @property
    def silent_seconds(self) -> float:
        """How much of it is not translated."""
        return self.seconds - sum(end - start for start, end in self.spans) / SAMPLE_RATE_HZ


def read_ahead(inputs: Iterable[AudioSource | np.ndarray], ahead: int) -> Iterator[Sound | AudioError]:
    """Decode inputs in their order, `ahead` of them while the caller is busy; yield each one's sound or error."""
    futures: deque[Future[Sound | AudioError]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="audio") as executor:
        try:
            for item in inputs:
                futures.append(executor.submit(_read, item))
                if len(futures) > ahead:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _read(item: AudioSource | np.ndarray) -> Sound | AudioError:
    try:
        if isinstance(item, np.ndarray):
            array_T = _checked(item)
            return Sound(type(item).__name__, array_T, segment(array_T))
        waveform_T, warnings = spool_audio(item)
        name = str(item) if isinstance(item, str | PathLike) else str(getattr(item, "name", type(item).__name__))
        return Sound(name, waveform_T, segment(waveform_T), warnings)
    except AudioError as error:
        return error


def _checked(array: np.ndarray) -> Waveform:
    if array.ndim != 1 or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise AudioError(
            f"array: expected finite floats of shape (samples,) at {SAMPLE_RATE_HZ} Hz, got {array.dtype} {array.shape}"
        )
    return array.astype(np.float32)
