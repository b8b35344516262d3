"""Check the options of ``voxlate serve``, and run the server until it is stopped."""

import asyncio
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxlate.checkpoints.hub import find_model
from voxlate.decoding.command_streams import keep_freed_memory
from voxlate.decoding.subtitle_options import SubtitleOptions
from voxlate.errors import OptionError, VoxlateError
from voxlate.languages import find_language
from voxlate.serving.app import build_app
from voxlate.serving.audio_service import AudioService, ServiceLimits
from voxlate.serving.engine import ServingEngine
from voxlate.serving.engine_options import EngineOptions
from voxlate.serving.model_names import ModelNames
from voxlate.serving.server import SignaledServer, address_of, allow_open_files, is_loopback, open_socket
from voxlate.serving.server_metrics import ServerMetrics
from voxlate.serving.uploads import UploadLimits

_CLOSE_SECONDS = 5.0  # to send the answers of requests that have just ended
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ServeCommand:
    """The options of ``voxlate serve``. OptionError names every value out of its range."""

    models: Mapping[str, str]
    aliases: Mapping[str, str]
    engine: EngineOptions
    subtitles: SubtitleOptions
    identifier: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: Sequence[str] = ()
    to: str | None = None
    grace_seconds: float = 30.0
    max_upload: float = 1000.0  # in MB
    upload_timeout: float = 30.0
    temp_dir: Path | None = None

    def __post_init__(self) -> None:
        problems = {
            name: f"is {getattr(self, name):g}, expected more than 0"
            for name in ("max_upload", "upload_timeout")
            if not getattr(self, name) > 0  # true for NaN, too
        }
        if not all(key and key.isascii() and key.isprintable() and " " not in key for key in self.api_keys):
            problems["api_key"] = "is empty, or has spaces or other characters that no header can have"
        if self.temp_dir is not None and not self.temp_dir.is_dir():
            problems["temp_dir"] = f"is {self.temp_dir}, expected an existing folder"
        if problems:
            raise OptionError(problems)


def run_server(command: ServeCommand) -> int:
    """Serve until a signal stops the server; return the exit code: 0 after SIGTERM, 130 after Ctrl-C.

    VoxlateError if the address cannot be used, or a model cannot be loaded.
    """
    if command.to:
        find_language(command.to)
    with (
        open_socket(command.host, command.port) as bound,
        tempfile.TemporaryDirectory(prefix="voxlate-serve-", dir=command.temp_dir) as folder,
    ):
        for model in (*command.models.values(), *filter(None, [command.identifier])):
            find_model(model)  # before torch is imported, which takes seconds
        with keep_freed_memory(command.engine.device) as freed:
            engine = ServingEngine(
                command.models, options=command.engine, identifier=command.identifier, on_work=freed.bound
            )
            return _serve(command, engine, bound, Path(folder))


def _serve(command: ServeCommand, engine: ServingEngine, bound: socket.socket, folder: Path) -> int:
    """Serve an engine at a socket, with uploads in a folder; return the exit code."""
    metrics = ServerMetrics()
    upload = UploadLimits(round(command.max_upload * 1e6), idle_seconds=command.upload_timeout)
    names = ModelNames(engine, command.aliases, find_language(command.to).code if command.to else None)
    service = AudioService(
        engine,
        names,
        ServiceLimits(upload, command.engine.max_requests),
        folder,
        metrics,
        subtitles=command.subtitles,
    )
    _watch(metrics, engine, service)
    progress = _Progress(engine, names, address_of(bound))
    server = SignaledServer(
        build_app(service, command.api_keys),
        check=progress.check,
        drain=lambda: _drain(engine, service, command.grace_seconds),
    )
    if not is_loopback(bound) and not command.api_keys:
        _say("warning: other machines can use this server, and no --api-key is set; set one, or leave --host out")
    allow_open_files()
    engine.start()
    try:
        server.run(sockets=[bound])
    finally:
        engine.shutdown(0)
    if progress.failure is not None:
        raise VoxlateError(progress.failure)
    return 130 if server.signal == signal.SIGINT else 0


class _Progress:
    """Says what the server is doing until it is ready."""

    def __init__(self, engine: ServingEngine, names: ModelNames, address: str) -> None:
        self._engine, self._names, self._address = engine, names, address
        self._was_ready = False
        self.failure: str | None = None  # why the server cannot serve
        _say(f"loading {', '.join(engine.model_names)}")

    def check(self) -> bool:
        """Say when the models are loaded; return False if one cannot be, or does not fit the options."""
        if not self._was_ready:
            is_ready = self._engine.ready
            self.failure = self._names.problem() if is_ready else self._engine.failure
            if is_ready and self.failure is None:
                self._was_ready = True
                _say(f"serving {', '.join(self._engine.model_names)} at {self._address} (API: {self._address}/v1)")
        return self.failure is None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _drain(engine: ServingEngine, service: AudioService, grace_seconds: float) -> None:
    """Refuse new requests, and finish the others, for some seconds at most."""
    _say(f"stopping; unfinished requests have {grace_seconds:g} s" if service.active else "stopping")
    service.stopping = True
    await asyncio.to_thread(engine.shutdown, grace_seconds)
    end = time.monotonic() + _CLOSE_SECONDS
    while service.answering and time.monotonic() < end:
        await asyncio.sleep(_POLL_SECONDS)


def _watch(metrics: ServerMetrics, engine: ServingEngine, service: AudioService) -> None:
    metrics.watch(
        {
            "voxlate_requests_active": ("Audio requests that are received or answered", lambda: service.active),
            "voxlate_requests_unfinished": ("Audio requests in the engine", lambda: engine.statistics.unfinished),
            "voxlate_models_loaded": ("Models in memory", lambda: len(engine.statistics.loaded_models)),
            "voxlate_worker_restarts": (
                "Decoding processes that were replaced", lambda: engine.statistics.worker_restarts,
            ),
        }
    )  # fmt: skip
