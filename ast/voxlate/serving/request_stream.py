"""A request to the server's engine, and the stream of events that answers it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from voxlate.decoding.results import Segment, Translation, Word
from voxlate.errors import VoxlateError

Task: TypeAlias = Literal["translate", "transcribe", "identify"]
FailureKind: TypeAlias = Literal["undecodable", "empty", "too_long", "unsupported", "stopped", "cancelled", "internal"]


@dataclass(frozen=True)
class AudioRequest:
    """A request to translate or transcribe a file, or to identify its language.

    - `path`: the file, which the caller keeps until the last event, and then deletes.
    - `model`: a name from `ServingEngine.model_names`.
    - `target_language`: the language to translate into: a code, or an English name.
    - `source_language`: the language spoken, which is only recorded.
    - `raw`: the file has no header: 16-bit little-endian samples at 16 kHz, mono.
    - `name`: the name of the file for results and messages, such as the one it has on the client's side.
    """

    path: Path
    model: str
    task: Task = "translate"
    target_language: str | None = None
    source_language: str | None = None
    raw: bool = False
    name: str = "file"


@dataclass(frozen=True)
class SegmentReady:
    """The next segment of a result, numbered from 0; times are in seconds, on the file's own clock."""

    id: int
    segment: Segment

    @property
    def start_seconds(self) -> float:
        """Start of the segment."""
        return self.segment.start

    @property
    def end_seconds(self) -> float:
        """End of the segment."""
        return self.segment.end

    @property
    def text(self) -> str:
        """Its text."""
        return self.segment.text

    @property
    def words(self) -> tuple[Word, ...]:
        """Its words, with their times."""
        return self.segment.words


@dataclass(frozen=True)
class RequestDone:
    """The last event of a request that succeeded.

    - `result`: the translation or transcript, as `voxlate translate` and `transcribe` have it; None for "identify".
    - `duration_seconds`: length of the audio.
    - `language`: of the text; for "identify", of the speech (None if there is none).
    - `probabilities`: of the languages that may be spoken, for "identify".
    """

    duration_seconds: float
    language: str | None
    result: Translation | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in order."""
        return self.result.segments if self.result else ()

    @property
    def text(self) -> str:
        """All segments on one line, joined as the language is written."""
        return self.result.text if self.result else ""


@dataclass(frozen=True)
class RequestFailed:
    """The last event of a request that failed; `message` is one line for the user."""

    kind: FailureKind
    message: str


RequestEvent: TypeAlias = SegmentReady | RequestDone | RequestFailed


class QueueFull(VoxlateError):  # noqa: N818 (as queue.Full)
    """Too many requests are unfinished; `retry_after_seconds` is when one of them will probably be done."""

    def __init__(self, unfinished: int, retry_after_seconds: int) -> None:
        super().__init__(
            f"the server is busy with {unfinished} requests, as many as it takes; try again in {retry_after_seconds} s"
        )
        self.retry_after_seconds = retry_after_seconds


class EngineStopping(VoxlateError):  # noqa: N818 (a state)
    """The server is shutting down and takes no more requests."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down; try again later")


class UnsupportedRequestError(VoxlateError):
    """What a request asks for is none of the server's models, or nothing that the model can do."""


class RequestStream:
    """The events of a request, in order: segments, and at last `RequestDone` or `RequestFailed`.

    Any thread may iterate over it, or a coroutine over `events`; one of them. `request` is what it answers.
    """

    def __init__(self, request: AudioRequest, on_cancel: Callable[[], None]) -> None:
        self.request = request
        self._on_cancel = on_cancel
        self._changed = threading.Condition()
        self._events: deque[RequestEvent] = deque()
        self._segments = 0
        self._has_ended = self._is_read = False
        self._wake: Callable[[], object] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the last event is there, read or not."""
        return self._has_ended

    def cancel(self) -> None:
        """End the request; its segments leave the search at once. This changes nothing once it is done."""
        self._on_cancel()

    def put_segment(self, segment: Segment) -> None:
        """Add the next segment, on the engine's side."""
        with self._changed:
            if not self._has_ended:
                self._put(SegmentReady(self._segments, segment))
                self._segments += 1

    def end(self, event: RequestDone | RequestFailed) -> bool:
        """Add the last event, on the engine's side; return whether there was none yet."""
        with self._changed:
            if self._has_ended:
                return False
            self._has_ended = True
            self._put(event)
            return True

    def __iter__(self) -> Iterator[RequestEvent]:
        """Iterate over the events, and wait for those to come."""
        return self

    def __next__(self) -> RequestEvent:
        """Return the next event as soon as it is there."""
        with self._changed:
            if self._is_read:
                raise StopIteration
            self._changed.wait_for(lambda: self._events)
            return self._take()

    async def events(self) -> AsyncIterator[RequestEvent]:
        """Yield the events as soon as they are there. Closing the iterator before the last one cancels the request."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(arrived.set)

        self._wake = wake
        try:
            while not self._is_read:
                arrived.clear()
                with self._changed:
                    event = self._take() if self._events else None
                if event is None:
                    await arrived.wait()
                else:
                    yield event
        finally:
            self._wake = None
            if not self._is_read:
                self.cancel()

    def _put(self, event: RequestEvent) -> None:
        self._events.append(event)
        self._changed.notify_all()
        if (wake := self._wake) is not None:
            wake()

    def _take(self) -> RequestEvent:
        event = self._events.popleft()
        self._is_read = not isinstance(event, SegmentReady)
        return event
