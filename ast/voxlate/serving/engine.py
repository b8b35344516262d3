"""The engine of the server: models that many requests share, with limits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.checkpoints.hub import find_model
from voxlate.decoding.results import Segment
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.serving.engine_options import EngineOptions
from voxlate.serving.model_host import ModelHost
from voxlate.serving.request_stream import (
    AudioRequest,
    EngineStopping,
    QueueFull,
    RequestDone,
    RequestFailed,
    RequestStream,
    UnsupportedRequestError,
)
from voxlate.serving.upload_decoder import UploadDecoder

if TYPE_CHECKING:
    from voxlate.serving.loaded_model import LoadedModel

_LONGEST_RETRY_SECONDS = 60
_CLOSE_SECONDS = 10.0  # for the current piece of work of a model


@dataclass(frozen=True)
class EngineStatistics:
    """What the engine has done since its start, and what it is doing. Requests are counted, sound is in seconds."""

    unfinished: int
    finished: int
    failed: int
    audio_seconds: float
    worker_restarts: int
    loaded_models: tuple[str, ...]


class ServingEngine:
    """Answers requests with models in memory; requests for the same model share its search.

    - `models`: folder, Hub id or id@revision of each model, by the name that requests have.
    - `identifier`: folder or Hub id of a language identifier (see `Identifier`).
    - `on_work`: called often by the threads of the models, after a piece of work (such as `FreedMemory.bound`).

    Uploads are decoded in processes of their own (see `UploadDecoder`), and each model has a thread (see `ModelHost`).
    VoxlateError if a model cannot be found.
    """

    def __init__(
        self,
        models: Mapping[str, str | Path],
        *,
        options: EngineOptions | None = None,
        identifier: str | Path | None = None,
        on_work: Callable[[], None] = lambda: None,
    ) -> None:
        if not models:
            raise VoxlateError("the server has no model; expected one or more")
        self.options = options or EngineOptions()
        for model in [*models.values(), *([] if identifier is None else [identifier])]:
            find_model(model)
        self._changed = threading.Condition()
        self._streams: dict[int, tuple[RequestStream, ModelHost]] = {}  # unfinished, by number
        self._next_number = self._finished = self._failed = 0
        self._audio_seconds = 0.0
        self._ends: deque[float] = deque(maxlen=16)  # when the last requests ended
        self._is_stopping = False
        self._decoder = UploadDecoder(
            self.options.segmentation.speech,
            max_seconds=self.options.max_audio_seconds,
            workers=self.options.decoding_workers,
            memory_bytes=self.options.decoding_memory_bytes,
            timeout_seconds=self.options.decoding_timeout_seconds,
        )
        idle_minutes = self.options.idle_minutes
        host = partial(
            ModelHost,
            on_segment=self._put_segment,
            on_end=self._finish,
            on_work=on_work,
            idle_seconds=None if idle_minutes is None else 60 * idle_minutes,
            loading=threading.Lock(),
        )
        self._hosts = {name: host(name, partial(_load_model, model, self.options)) for name, model in models.items()}
        self._identifier = (
            None if identifier is None else host("the identifier", partial(_load_identifier, identifier, self.options))
        )

    def start(self) -> None:
        """Load the models in the background, and take requests, which wait for that."""
        self._decoder.start()
        for host in self._all_hosts():
            host.start()

    @property
    def ready(self) -> bool:
        """Whether all models have been loaded; they may have been unloaded since."""
        return all(host.targets is not None for host in self._all_hosts())

    @property
    def failure(self) -> str | None:
        """Why a model could not be loaded, if one could not."""
        return next((f"{host.name}: {host.failure}" for host in self._all_hosts() if host.failure), None)

    @property
    def model_names(self) -> list[str]:
        """The names of the models."""
        return [*self._hosts]

    def languages(self, model: str) -> list[str]:
        """Return the codes of a model's target languages, sorted; none before it has been loaded for the first time."""
        return list(self._host(model).targets or ())

    def can_transcribe(self, model: str) -> bool:
        """Return whether a model has a CTC head; false before it has been loaded for the first time."""
        return self._host(model).can_transcribe

    @property
    def can_identify(self) -> bool:
        """Whether there is a language identifier."""
        return self._identifier is not None

    @property
    def statistics(self) -> EngineStatistics:
        """What the engine has done, and is doing."""
        with self._changed:
            loaded = tuple(host.name for host in self._all_hosts() if host.is_loaded)
            return EngineStatistics(
                len(self._streams), self._finished, self._failed, self._audio_seconds, self._decoder.restarts, loaded
            )

    def submit(self, request: AudioRequest) -> RequestStream:
        """Begin to answer a request; return the stream of its events.

        QueueFull or EngineStopping if the engine takes no more, UnsupportedRequestError if it cannot do this.
        """
        request, host = self._checked(request)
        with self._changed:
            if self._is_stopping:
                raise EngineStopping
            if len(self._streams) >= self.options.max_requests:
                raise QueueFull(len(self._streams), self._retry_after_seconds())
            number = self._next_number
            self._next_number += 1
            stream = RequestStream(request, partial(self._cancel, number))
            self._streams[number] = stream, host
        self._decoder.put(number, request, partial(self._decoded, number))
        return stream

    def shutdown(self, grace_seconds: float) -> None:
        """Take no more requests, give the others some seconds to finish, and stop."""
        with self._changed:
            self._is_stopping = True
            self._changed.wait_for(lambda: not self._streams, grace_seconds)
            left = [*self._streams]
        for number in left:
            self._remove(number, RequestFailed("stopped", "the server was shut down before the request was done"))
        self._decoder.close()
        deadline = monotonic() + _CLOSE_SECONDS
        for host in self._all_hosts():
            host.close(max(0.0, deadline - monotonic()))

    def _all_hosts(self) -> list[ModelHost]:
        return [*self._hosts.values(), *([] if self._identifier is None else [self._identifier])]

    def _host(self, model: str) -> ModelHost:
        if model not in self._hosts:
            raise UnsupportedRequestError(f"no model {model!r}; expected {', '.join(self._hosts)}")
        return self._hosts[model]

    def _checked(self, request: AudioRequest) -> tuple[AudioRequest, ModelHost]:
        """Return a request with codes of languages, and what answers it. UnsupportedRequestError if nothing does."""
        if request.task == "identify":
            if self._identifier is None:
                raise UnsupportedRequestError("this server has no language identifier; start it with one")
            return request, self._identifier
        host = self._host(request.model)
        try:
            target, source = (
                find_language(language).code if language else None
                for language in (request.target_language, request.source_language)
            )
        except VoxlateError as error:
            raise UnsupportedRequestError(str(error)) from None
        if request.task == "translate":
            if target is None:
                raise UnsupportedRequestError(f"no target language; expected one of {_listed(host)}")
            if host.targets is not None and target not in host.targets:
                raise UnsupportedRequestError(
                    f"{request.model} does not translate into {find_language(target).name} ({target}); expected one "
                    f"of {_listed(host)}"
                )
        elif host.targets is not None and not host.can_transcribe:
            raise UnsupportedRequestError(
                f"{request.model} has no CTC head, which transcription needs; name a target language to translate"
            )
        return replace(request, target_language=target, source_language=source), host

    def _decoded(self, number: int, result: DecodedAudio | RequestFailed) -> None:
        if isinstance(result, RequestFailed):
            self._finish(number, result)
            return
        with self._changed:
            if number in self._streams:  # not cancelled
                stream, host = self._streams[number]
                host.put(number, result, stream.request)

    def _put_segment(self, number: int, segment: Segment) -> None:
        with self._changed:
            unfinished = self._streams.get(number)
        if unfinished is not None:
            unfinished[0].put_segment(segment)

    def _finish(self, number: int, event: RequestDone | RequestFailed) -> None:
        self._end(number, event)

    def _end(self, number: int, event: RequestDone | RequestFailed) -> ModelHost | None:
        """End a request; return what was to answer it, None if it has ended already."""
        with self._changed:
            unfinished = self._streams.pop(number, None)
            if unfinished is None:
                return None
            self._ends.append(monotonic())
            if isinstance(event, RequestDone):
                self._finished += 1
                self._audio_seconds += event.duration_seconds
            else:
                self._failed += 1
            self._changed.notify_all()
        stream, host = unfinished
        stream.end(event)
        return host

    def _cancel(self, number: int) -> None:
        self._remove(number, RequestFailed("cancelled", "the request was cancelled"))

    def _remove(self, number: int, event: RequestFailed) -> None:
        host = self._end(number, event)
        if host is not None:
            self._decoder.drop(number)
            host.drop(number)

    def _retry_after_seconds(self) -> int:
        """Return when a request will end, as often as they do now."""
        if len(self._ends) < 2:
            return 5
        return max(1, min(_LONGEST_RETRY_SECONDS, ceil((monotonic() - self._ends[0]) / len(self._ends))))


def _listed(host: ModelHost) -> str:
    return ", ".join(host.targets or ()) or "the model's languages"


def _load_model(model: str | Path, options: EngineOptions, on_segment: Callable[[int, Segment], None]) -> LoadedModel:
    from voxlate.serving.loaded_model import SpeechModel  # noqa: PLC0415 (torch takes seconds)

    return SpeechModel(model, options, on_segment)


def _load_identifier(model: str | Path, options: EngineOptions, _: Callable[[int, Segment], None]) -> LoadedModel:
    from voxlate.serving.loaded_model import IdentifierModel  # noqa: PLC0415 (torch takes seconds)

    return IdentifierModel(model, options)
