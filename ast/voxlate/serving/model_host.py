"""The thread of a model: it loads the model, lets requests join its search, and unloads it when it is idle."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.decoding.results import Segment
from voxlate.errors import VoxlateError, is_out_of_memory, memory_advice
from voxlate.models.cpu.malloc import return_freed_memory
from voxlate.serving.request_stream import AudioRequest, RequestDone, RequestFailed

if TYPE_CHECKING:
    from voxlate.serving.loaded_model import LoadedModel

_LOG = logging.getLogger(__name__)

Load = Callable[[Callable[[int, Segment], None]], "LoadedModel"]
_Waiting = tuple[DecodedAudio, AudioRequest]


class ModelHost:
    """A model with a thread of its own, which is the only one that uses it.

    - `load`: loads the model, which reports segments to the function that it gets.
    - `on_segment`, `on_end`: called in the thread, with the number of a request and its next segment or last event.
    - `on_work`: called after each piece of work.
    - `idle_seconds`: after which a model without requests leaves memory (None: never). The next request loads it.
    - `loading`: held while loading, so that several models do not need memory for that at once.
    """

    def __init__(
        self,
        name: str,
        load: Load,
        *,
        on_segment: Callable[[int, Segment], None],
        on_end: Callable[[int, RequestDone | RequestFailed], None],
        on_work: Callable[[], None] = lambda: None,
        idle_seconds: float | None = None,
        loading: AbstractContextManager[object] = nullcontext(),  # noqa: B008 (has no state)
    ) -> None:
        self.name = name
        self._load_model, self._loading = load, loading
        self._on_segment, self._on_end, self._on_work = on_segment, on_end, on_work
        self._idle_seconds = idle_seconds
        self._changed = threading.Condition()
        self._waiting: dict[int, _Waiting] = {}
        self._dropped: list[int] = []
        self._joined: set[int] = set()
        self._is_stopped = False
        self._model: LoadedModel | None = None
        self._thread = threading.Thread(target=self._run, name=f"model {name}", daemon=True)
        self.targets: list[str] | None = None  # codes of languages; None before the model was first loaded
        self.can_transcribe = False
        self.failure: str | None = None  # of the last attempt to load the model

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def start(self) -> None:
        """Start the thread, which loads the model."""
        self._thread.start()

    def put(self, number: int, audio: DecodedAudio, request: AudioRequest) -> None:
        """Let a request join the search."""
        with self._changed:
            self._waiting[number] = audio, request
            self._changed.notify()

    def drop(self, number: int) -> None:
        """Let a request leave the search."""
        with self._changed:
            if self._waiting.pop(number, None) is None:
                self._dropped.append(number)
                self._changed.notify()

    def close(self, patience_seconds: float) -> None:
        """Stop the thread after its current piece of work, and wait for that up to some seconds."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(patience_seconds)

    def _run(self) -> None:
        self._load()
        while True:
            with self._changed:
                while not (self._is_stopped or self._waiting or self._dropped or self._joined):
                    if not self._changed.wait(self._idle_seconds if self.is_loaded else None):
                        self._unload()
                if self._is_stopped:
                    break
                waiting, self._waiting = self._waiting, {}
                dropped, self._dropped = self._dropped, []
            self._work(waiting, dropped)
        self._unload()

    def _work(self, waiting: dict[int, _Waiting], dropped: list[int]) -> None:
        """Let requests leave and join, and do the next piece of work."""
        model = self._model  # which is false while it has no requests
        if model is None and waiting:
            model = self._load()
        if model is None:
            for number in waiting:
                self._on_end(number, RequestFailed("internal", f"{self.name} cannot be loaded: {self.failure}"))
            return
        try:
            for number in dropped:
                self._joined.discard(number)
                model.drop(number)
            for number, (audio, request) in waiting.items():
                self._join(model, number, audio, request)
            if len(model):
                for number, done in model.advance():
                    self._end(number, done)
            self._on_work()
        except Exception as error:  # other requests continue
            _LOG.exception("the search of %s failed", self.name)
            reason = memory_advice() if is_out_of_memory(error) else str(error) or type(error).__name__
            for number in [*self._joined]:
                model.drop(number)
                self._end(number, RequestFailed("internal", f"{self.name}: {reason}"))

    def _join(self, model: LoadedModel, number: int, audio: DecodedAudio, request: AudioRequest) -> None:
        self._joined.add(number)
        try:
            for one, done in model.join(number, audio, request):
                self._end(one, done)
        except VoxlateError as error:
            self._end(number, RequestFailed("unsupported", str(error)))

    def _end(self, number: int, event: RequestDone | RequestFailed) -> None:
        self._joined.discard(number)
        self._on_end(number, event)

    def _load(self) -> LoadedModel | None:
        self.failure = None
        try:
            with self._loading:
                self._model = self._load_model(self._on_segment)
        except Exception as error:
            if not isinstance(error, VoxlateError):  # which the command or the failed request reports
                _LOG.exception("loading %s failed", self.name)
            self.failure = memory_advice() if is_out_of_memory(error) else str(error) or type(error).__name__
            return None
        self.can_transcribe = self._model.can_transcribe
        self.targets = self._model.targets
        return self._model

    def _unload(self) -> None:
        """Free the memory of the model, and return it to the operating system."""
        self._model = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return_freed_memory()
