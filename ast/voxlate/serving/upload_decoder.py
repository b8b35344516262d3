"""Decode uploads in worker processes with limits on memory and time, so that no file can harm the server."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeAlias

import numpy as np
from av.error import FFmpegError

from voxlate.audio.chunks import AudioTooLongError, Spool
from voxlate.audio.decoded_audio import DecodedAudio, decode_input
from voxlate.audio.speech_detection import SpeechOptions, detect_speech
from voxlate.errors import STORAGE_ERRORS, AudioError
from voxlate.processes import CAN_START, FunctionProcess, ProcessDiedError
from voxlate.serving.request_stream import AudioRequest, FailureKind, RequestFailed

_LARGE_BYTES = 2 << 20  # larger uploads leave one process to the others
_BLOCK_BYTES = 1 << 20
_LEAST_SECONDS = 60.0  # for which an upload may be decoded
_SECONDS_PER_SECOND = 0.05  # of sound, to decode it; it takes about a tenth of that
_LEAST_BYTES_PER_SECOND = 500.0  # of sound, in any format
_INTERRUPT_SECONDS = 0.5  # of work that is lost when a process is started again instead
_ATTEMPTS = 2  # a process may die through no fault of the file
_LOG = logging.getLogger(__name__)


Decoded: TypeAlias = Callable[[DecodedAudio | RequestFailed], None]


@dataclass(frozen=True)
class UploadJob:
    """What a process is asked to decode: a file, whether it has no header, whether silence replaces missing parts."""

    path: Path
    raw: bool
    fill_gaps: bool


@dataclass
class _Upload:
    """An upload that waits, or is being decoded by a worker since `began`."""

    job: UploadJob
    decoded: Decoded
    size: int
    worker: int | None = None
    began: float = 0.0
    is_cancelled: bool = False

    @property
    def is_large(self) -> bool:
        return self.size > _LARGE_BYTES


def decode_upload(job: UploadJob, *, speech: SpeechOptions, max_seconds: float) -> DecodedAudio | RequestFailed:
    """Decode an upload and detect its speech, in the process for it. Messages do not name the file."""
    try:
        if job.path.stat().st_size == 0:
            return RequestFailed("empty", "the file is empty (0 bytes); expected an audio or video file")
        if job.raw:
            return _decode_samples(job.path, speech, max_seconds)
        audio = decode_input(job.path, speech=speech, fill_gaps=job.fill_gaps, max_seconds=max_seconds)
    except (AudioError, OSError) as error:
        if isinstance(error, AudioError):
            audio = error
        else:
            audio = AudioError(f"cannot be read: {error.strerror}")
            audio.__cause__ = error
    if isinstance(audio, DecodedAudio):
        return audio
    if isinstance(audio, AudioTooLongError):
        limit = f"{max_seconds:g} s, the limit of this server (--max-seconds)"
        return RequestFailed("too_long", f"the recording is longer than {limit}")
    return RequestFailed(_kind(audio), f"the file cannot be read: {str(audio).removeprefix(f'{job.path}: ')}")


def _kind(error: AudioError) -> FailureKind:
    cause = error.__cause__  # FFmpeg's errors are OSErrors, too: a damaged file is an "input/output error"
    is_storage = isinstance(cause, OSError) and not isinstance(cause, FFmpegError) and cause.errno in STORAGE_ERRORS
    return "internal" if is_storage else "undecodable"


def _decode_samples(path: Path, speech: SpeechOptions, max_seconds: float) -> DecodedAudio:
    """Read samples without a header: 16 bits, little-endian, 16 kHz, mono."""
    spool = Spool(max_seconds)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            samples_T = np.frombuffer(block[: len(block) // 2 * 2], "<i2").astype(np.float32)
            spool.add(samples_T / np.float32(32_768))
    waveform_T = spool.finish()
    return DecodedAudio(str(path), waveform_T, detect_speech(waveform_T, speech))


class UploadDecoder:
    """Worker processes that decode uploads, in the order in which they came; small ones need not wait for large ones.

    - `speech`: the options of speech detection.
    - `max_seconds`: of sound in an upload.
    - `memory_bytes`: of a process, where the operating system can limit it.
    - `timeout_seconds`: to decode an upload; by default as long as its size can explain, at least a minute.
    """

    def __init__(
        self,
        speech: SpeechOptions,
        *,
        max_seconds: float,
        workers: int,
        memory_bytes: int | None,
        timeout_seconds: float | None = None,
    ) -> None:
        self._decode = partial(decode_upload, speech=speech, max_seconds=max_seconds)
        self._max_seconds, self._timeout_seconds = max_seconds, timeout_seconds
        self._changed = threading.Condition()
        self._waiting: deque[_Upload] = deque()
        self._uploads: dict[int, _Upload] = {}  # by number: waiting, or being decoded
        self._is_closed = False
        self.restarts = 0  # of processes that died or took too long
        self._processes = [
            FunctionProcess(self._decode, memory_bytes=memory_bytes) for _ in range(workers if CAN_START else 0)
        ]

    def start(self) -> None:
        """Start the threads; processes start with the first upload."""
        for worker in range(max(1, len(self._processes))):
            threading.Thread(target=self._work, args=(worker,), name="upload decoder", daemon=True).start()

    def put(self, number: int, request: AudioRequest, decoded: Decoded) -> None:
        """Add an upload. Unless it is dropped, a thread calls `decoded` with its audio or the failure."""
        job = UploadJob(request.path, request.raw, fill_gaps=request.task != "identify")
        size = 0
        with suppress(OSError):  # decoding says why
            size = request.path.stat().st_size

        def named(result: DecodedAudio | RequestFailed) -> None:
            decoded(replace(result, name=request.name) if isinstance(result, DecodedAudio) else result)

        with self._changed:
            self._uploads[number] = _Upload(job, named, size)
            self._waiting.append(self._uploads[number])
            self._changed.notify_all()

    def drop(self, number: int) -> None:
        """Forget an upload. A process that has been at work on it for a while is ended."""
        with self._changed:
            upload = self._uploads.pop(number, None)
            if upload is None:
                return
            upload.is_cancelled = True
            if upload.worker is None:
                self._waiting.remove(upload)
            elif self._processes and monotonic() - upload.began > _INTERRUPT_SECONDS:
                self._processes[upload.worker].interrupt()

    def close(self) -> None:
        """End the threads and processes."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for process in self._processes:
            process.close()

    def _work(self, worker: int) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._next() is not None)
                upload = self._next()
                if self._is_closed or upload is None:
                    return
                self._waiting.remove(upload)
                upload.worker, upload.began = worker, monotonic()
            try:
                result = self._decode_in(worker, upload)
            except Exception as error:  # other requests continue
                _LOG.exception("decoding an upload failed")
                result = RequestFailed("internal", f"the file cannot be read: {type(error).__name__}")
            with self._changed:
                self._uploads = {number: other for number, other in self._uploads.items() if other is not upload}
                self._changed.notify_all()
            if not upload.is_cancelled:
                upload.decoded(result)

    def _next(self) -> _Upload | None:
        """Return the upload to begin; large ones may not occupy all workers."""
        large = sum(upload.is_large and upload.worker is not None for upload in self._uploads.values())
        may_be_large = large < max(1, len(self._processes) - 1)
        return next((upload for upload in self._waiting if may_be_large or not upload.is_large), None)

    def _decode_in(self, worker: int, upload: _Upload) -> DecodedAudio | RequestFailed:
        if not self._processes:
            return self._decode(upload.job)
        sound_seconds = min(self._max_seconds, upload.size / _LEAST_BYTES_PER_SECOND)
        timeout_seconds = self._timeout_seconds or _LEAST_SECONDS + _SECONDS_PER_SECOND * sound_seconds
        reason = "was not decoded"
        for _ in range(_ATTEMPTS):
            if upload.is_cancelled or self._is_closed:
                break
            try:
                return self._processes[worker].call(upload.job, timeout_seconds)
            except TimeoutError:
                self.restarts += 1
                reason = f"decoding it took longer than {timeout_seconds:.3g} s and was stopped"
                break
            except ProcessDiedError as error:
                self.restarts += 1
                reason = f"the process that decoded it {error}"
        return RequestFailed("undecodable", f"the file cannot be read: {reason}")
