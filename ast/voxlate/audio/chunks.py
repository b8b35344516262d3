"""A waveform that grows while it is decoded, in memory or, if it is long, in a temporary file.

Shape letters: T samples at 16 kHz.
"""

from __future__ import annotations

import tempfile

import numpy as np

from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.errors import AudioError
from voxlate.files import ScratchFile

SILENT_RANGE = 2.0**-15  # largest peak-to-peak range that counts as silence: one step of 16 bits
SPOOLED_SECONDS = 60.0  # longer audio is moved to a temporary file


class AudioTooLongError(AudioError):
    """An audio input that is longer than allowed."""


class SpooledWaveform:
    """A float32 waveform of shape (T,) in a temporary file, from which slices are read on demand.

    A pickle holds the samples, so that another machine can read them.
    """

    def __init__(self) -> None:
        self._file = ScratchFile()
        self._samples = 0

    def append(self, chunk_T: Waveform) -> None:
        """Append samples, float32 of shape (T,)."""
        self._file.append(chunk_T.tobytes())
        self._samples += len(chunk_T)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._samples

    def __getitem__(self, span: slice) -> Waveform:
        """Return a copy of the samples of a slice."""
        start, end, _ = span.indices(self._samples)
        return np.frombuffer(self._file.read(4 * start, 4 * max(0, end - start)), np.float32)


class Chunks:
    """Collects a waveform chunk by chunk, and notes its first NaN or infinite sample and whether it is silent."""

    def __init__(self) -> None:
        self.samples = 0
        self.first_not_finite: int | None = None  # sample
        self.holds_sound = False
        self._chunks: list[Waveform] = []

    def add(self, chunk_T: Waveform) -> None:
        """Append samples, float32 of shape (T,)."""
        finite_T = np.isfinite(chunk_T)
        if self.first_not_finite is None and not finite_T.all():
            self.first_not_finite = self.samples + int(finite_T.argmin())
        if not self.holds_sound and len(chunk_T):
            self.holds_sound = bool(chunk_T.max() - chunk_T.min() > SILENT_RANGE)
        self.samples += len(chunk_T)
        self._chunks.append(chunk_T)

    def waveform(self) -> Waveform:
        """Return all samples, float32 of shape (T,)."""
        return np.concatenate(self._chunks)


class Spool(Chunks):
    """Collects a waveform, in a temporary file once it is long. AudioError if the file cannot be written.

    AudioTooLongError as soon as it is longer than `max_seconds`.
    """

    def __init__(self, max_seconds: float | None = None) -> None:
        super().__init__()
        self._max_seconds = max_seconds
        self._spooled: SpooledWaveform | None = None

    def add(self, chunk_T: Waveform) -> None:
        """Append samples, float32 of shape (T,)."""
        super().add(chunk_T)
        if self._max_seconds is not None and self.samples > self._max_seconds * SAMPLE_RATE_HZ:
            raise AudioTooLongError(f"longer than {self._max_seconds:.0f} s, the longest audio that is accepted")
        if self.samples > SPOOLED_SECONDS * SAMPLE_RATE_HZ:
            try:
                if self._spooled is None:
                    self._spooled = SpooledWaveform()
                for pending_T in self._chunks:
                    self._spooled.append(pending_T)
            except OSError as error:
                raise AudioError(
                    f"audio longer than {SPOOLED_SECONDS:.0f} s needs a temporary file, which cannot be written to "
                    f"{_temporary_folder()} ({error.strerror}); free some space, or set TMPDIR to another folder"
                ) from error
            self._chunks.clear()

    def finish(self) -> Waveform | SpooledWaveform:
        """Return all samples, float32 of shape (T,)."""
        return self.waveform() if self._spooled is None else self._spooled


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # its message lists the folders that were tried
        return "any folder"
