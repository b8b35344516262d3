"""Decode inputs ahead of the model, in another thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue

from voxlate.audio.decoded_audio import DecodedAudio, decode_input
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.python_inputs import AudioInput
from voxlate.audio.speech_detection import DEFAULT_SPEECH_OPTIONS, SpeechOptions
from voxlate.audio.tracks import AudioTrack
from voxlate.errors import AudioError

AHEAD_SECONDS = 600.0  # of decoded audio that may wait for the caller
_AHEAD_INPUTS = 16


def read_ahead(
    inputs: Iterable[AudioInput | DecodedAudio],
    seconds: float = AHEAD_SECONDS,
    *,
    sampling_rate: int = SAMPLE_RATE_HZ,
    audio_track: AudioTrack | None = None,
    speech: SpeechOptions = DEFAULT_SPEECH_OPTIONS,
    fill_gaps: bool = True,
) -> Iterator[DecodedAudio | AudioError]:
    """Decode inputs in order, up to `seconds` of audio ahead of the caller, and yield each one's audio or error.

    `sampling_rate` is that of arrays and tensors, `audio_track` the track of files, and `fill_gaps` replaces missing
    parts by silence, as for `load_audio`. `speech` are the options of speech detection. Decoding and detection run in a
    daemon thread, so an interruption does not wait for a long file.
    """
    read = partial(
        decode_input, sampling_rate=sampling_rate, audio_track=audio_track, speech=speech, fill_gaps=fill_gaps
    )
    reader = _Reader(seconds, read)
    threading.Thread(target=reader.work, name="audio", daemon=True).start()
    waiting: deque[Future[DecodedAudio | AudioError]] = deque()
    try:
        for item in inputs:
            waiting.append(reader.submit(item))
            while waiting[0].done() or len(waiting) > _AHEAD_INPUTS:
                yield reader.take(waiting.popleft())
                if not waiting:
                    break
        while waiting:
            yield reader.take(waiting.popleft())
    finally:
        reader.stop()


class _Reader:
    """Decodes submitted inputs one after another, and pauses while too much decoded audio is waiting."""

    def __init__(self, seconds: float, read: Callable[[AudioInput | DecodedAudio], DecodedAudio | AudioError]) -> None:
        self._read = read
        self._requests: SimpleQueue[tuple[AudioInput | DecodedAudio, Future[DecodedAudio | AudioError]] | None] = (
            SimpleQueue()
        )
        self._limit, self._ahead = seconds, 0.0
        self._changed = threading.Condition()
        self._stopped = False

    def submit(self, item: AudioInput | DecodedAudio) -> Future[DecodedAudio | AudioError]:
        future: Future[DecodedAudio | AudioError] = Future()
        self._requests.put((item, future))
        return future

    def take(self, future: Future[DecodedAudio | AudioError]) -> DecodedAudio | AudioError:
        result = future.result()
        with self._changed:
            self._ahead -= _seconds(result)
            self._changed.notify()
        return result

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._requests.put(None)

    def work(self) -> None:
        while (request := self._requests.get()) is not None:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._ahead < self._limit)
                if self._stopped:
                    return
            item, future = request
            try:
                result = self._read(item)
            except BaseException as error:
                future.set_exception(error)
                continue
            with self._changed:
                self._ahead += _seconds(result)
            future.set_result(result)


def _seconds(result: DecodedAudio | AudioError) -> float:
    return result.seconds if isinstance(result, DecodedAudio) else 0.0
