"""Take an upload from a request to the engine, and its result back, for all routes with audio."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from voxlate.decoding.results import Translation
from voxlate.decoding.subtitle_formats import SUBTITLE_WRITERS
from voxlate.decoding.subtitle_options import DEFAULT_SUBTITLES, SubtitleOptions
from voxlate.serving.api_errors import ApiError, internal_error, overloaded, unavailable
from voxlate.serving.audio_fields import AudioFields
from voxlate.serving.event_stream import EventStream, SegmentEvents, event
from voxlate.serving.model_names import ModelNames
from voxlate.serving.request_stream import (
    AudioRequest,
    EngineStopping,
    QueueFull,
    RequestDone,
    RequestEvent,
    RequestFailed,
    RequestStream,
    SegmentReady,
    UnsupportedRequestError,
)
from voxlate.serving.server_metrics import ServerMetrics
from voxlate.serving.uploads import UploadForm, UploadLimits, received_form

_LOGGER = logging.getLogger(__name__)
_FIRST_EVENT_SECONDS = 5.0  # in which an error still gets an HTTP status of its own, before a stream begins
_RETRY_SECONDS = 5.0
_STATUS = {"undecodable": 400, "empty": 400, "unsupported": 400, "too_long": 413}

Result = TypeVar("Result")


@dataclass(frozen=True)
class ServiceLimits:
    """`max_waiting`: audio requests that are received, wait or run at once."""

    upload: UploadLimits
    max_waiting: int


class AudioEngine(Protocol):
    """What the routes need of the engine."""

    @property
    def ready(self) -> bool:
        """Whether the models are loaded."""

    @property
    def model_names(self) -> list[str]:
        """The names of the models, the default one first."""

    def languages(self, model: str) -> list[str]:
        """Return the codes of a model's target languages."""

    def can_transcribe(self, model: str) -> bool:
        """Return whether a model has a CTC head."""

    @property
    def can_identify(self) -> bool:
        """Whether there is a language identifier."""

    def submit(self, request: AudioRequest) -> RequestStream:
        """Begin a request. QueueFull, EngineStopping or UnsupportedRequestError if the engine does not take it."""


class AudioService:
    """Runs the requests of all routes with audio. `folder` is for temporary files."""

    def __init__(
        self,
        engine: AudioEngine,
        names: ModelNames,
        limits: ServiceLimits,
        folder: Path,
        metrics: ServerMetrics,
        *,
        subtitles: SubtitleOptions = DEFAULT_SUBTITLES,
    ) -> None:
        self.engine, self.names, self.metrics, self.subtitles = engine, names, metrics, subtitles
        self.stopping = False
        self.active = 0  # requests that are received or answered
        self.answering = 0  # of these, those that are in the engine or beyond
        self.started = int(time.time())
        self._limits, self._folder = limits, folder

    @asynccontextmanager
    async def form(self, request: Request, file_field: str) -> AsyncIterator[UploadForm]:
        """Receive the form of a request with audio, if the server can take one; it counts as active until the end."""
        if self.stopping:
            raise unavailable("the server is stopping")
        if not self.engine.ready:
            raise unavailable("the models are being loaded")
        if self.active >= self._limits.max_waiting:
            raise overloaded(
                f"{self.active} requests are being answered, the limit of this server (--max-waiting); try again later",
                _RETRY_SECONDS,
            )
        self.active += 1
        try:
            async with received_form(request, self._folder, self._limits.upload, file_field) as form:
                if form.path is None:
                    raise _missing_file(form, file_field)
                if form.size == 0:
                    raise ApiError(400, "the uploaded file is empty (0 bytes)", param=file_field, code="empty_file")
                self.metrics.count_upload(form.size)
                yield form
        finally:
            self.active -= 1

    @asynccontextmanager
    async def submitted(
        self, form: UploadForm, fields: AudioFields, *, raw: bool = False
    ) -> AsyncIterator[RequestStream]:
        """Give a request for a text to the engine (see `taken`)."""
        assert form.path is not None
        if fields.target_language is None and not self.engine.can_transcribe(fields.model):
            languages = self.engine.languages(fields.model)
            raise ApiError(
                400,
                f"model {fields.model} has no CTC head, and cannot transcribe; to translate, set to_language, or use a "
                f"model such as {fields.model}:{languages[0]}",
                param="to_language",
                code="missing_language",
            )
        request = AudioRequest(
            form.path,
            fields.model,
            fields.task,
            target_language=fields.target_language,
            source_language=fields.source_language,
            words=fields.words or fields.response_format in SUBTITLE_WRITERS,  # of which cues are made
            raw=raw,
            name=form.name,
        )
        async with self.taken(request) as stream:
            yield stream

    @asynccontextmanager
    async def taken(self, request: AudioRequest) -> AsyncIterator[RequestStream]:
        """Give a request to the engine; ApiError if it does not take it. It is dropped at the end if it is not done."""
        try:
            stream = self.engine.submit(request)
        except QueueFull as full:
            raise overloaded(str(full), full.retry_after_seconds) from None
        except EngineStopping as stopping:
            raise unavailable(str(stopping)) from None
        except UnsupportedRequestError as error:
            raise ApiError(400, str(error), code="unsupported") from None
        self.answering += 1
        try:
            yield stream
        finally:
            self.answering -= 1
            stream.cancel()

    async def result(self, request: Request, stream: RequestStream, fields: AudioFields) -> Translation:
        """Return the result of a request (see `outcome`)."""
        return self._finished(await self.outcome(request, stream), fields)

    async def outcome(self, request: Request, stream: RequestStream) -> RequestDone:
        """Return the last event of a request. ApiError if it fails, ClientDisconnect if the client leaves."""

        async def wait() -> RequestDone:
            async for item in stream.events():
                if isinstance(item, RequestDone):
                    return item
                if isinstance(item, RequestFailed):
                    raise _failure(item)
            raise internal_error()

        return await unless_gone(request, wait())

    async def event_stream(self, request: Request, stream: RequestStream, fields: AudioFields) -> Response:
        """Return a response with the events of a request. ApiError if it fails soon."""
        events = stream.events()
        first = asyncio.ensure_future(anext(events))
        try:
            await unless_gone(request, asyncio.wait([first], timeout=_FIRST_EVENT_SECONDS))
        except BaseException:
            first.cancel()
            raise
        if first.done() and isinstance(failed := first.result(), RequestFailed):
            raise _failure(failed)
        return EventStream(self._texts(first, events, fields))

    async def _texts(
        self, first: "asyncio.Future[RequestEvent]", events: AsyncIterator[RequestEvent], fields: AudioFields
    ) -> AsyncIterator[str]:
        """Yield the events of a request as text."""
        written = SegmentEvents(fields.target_language or fields.source_language)
        item: RequestEvent | None = await first
        while item is not None:
            if isinstance(item, SegmentReady):
                yield written.delta(item.segment)
            elif isinstance(item, RequestDone):
                yield written.done(self._finished(item, fields))
                return
            else:
                yield event(_failure(item).body)
                return
            item = await anext(events, None)

    def _finished(self, done: RequestDone, fields: AudioFields) -> Translation:
        assert done.result is not None
        self.metrics.count_audio(fields.model, fields.task, done.duration_seconds)
        return done.result


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of some work. If the client leaves, stop the work and raise ClientDisconnect."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(
            task, gone, return_exceptions=True
        )  # what they clean up is done before the file is deleted


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _missing_file(form: UploadForm, file_field: str) -> ApiError:
    """Return the error of a form without a file in its field."""
    if file_field in form.fields:
        message = f"the field '{file_field}' is text, expected a file; with curl: -F {file_field}=@talk.mp3"
    else:
        message = f"the form has no file; expected audio in the field '{file_field}'"
    return ApiError(400, message, param=file_field)


def _failure(failed: RequestFailed) -> ApiError:
    """Return the error of a request that failed in the engine."""
    if failed.kind in ("stopped", "cancelled"):
        return unavailable("the server is stopping")
    if failed.kind not in _STATUS:
        _LOGGER.error("a request failed: %s", failed.message)
        return internal_error()
    return ApiError(_STATUS[failed.kind], failed.message, param="file", code=failed.kind)
