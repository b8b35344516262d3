"""Run the application on a socket until a signal stops it."""

import asyncio
import errno
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from voxlate.errors import VoxlateError
from voxlate.serving.connections import MAX_CONNECTIONS, GuardedProtocol

if sys.platform != "win32":
    import resource

_FILES_PER_CONNECTION = 4
_CLOSING_SECONDS = 5  # in which the last answers are sent


class SignaledServer(uvicorn.Server):
    """A server that, at a signal, first runs `drain` while it still answers, and then closes.

    A second signal closes it at once. `check` is called several times a second; if it returns False, the server closes.
    """

    def __init__(self, app: ASGIApp, *, check: Callable[[], bool], drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_CLOSING_SECONDS,
            )
        )
        self._check, self._drain = check, drain
        self._draining: asyncio.Task[None] | None = None
        self.signal: int | None = None  # the first one

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs; uvicorn would raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to stop; at a second signal, close at once."""
        if self.signal is None:
            self.signal = sig
        else:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to close: after a signal, and what follows it."""
        if self.signal is not None and self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        is_drained = self._draining is not None and self._draining.done()
        if is_drained or not self._check():
            self.should_exit = True
        return bool(await super().on_tick(counter))


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address; port 0 chooses a free one. VoxlateError if that fails."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(1024)
        except OSError:
            bound.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VoxlateError(f"cannot listen on --host {host} --port {port}: {reason}; {_advice(error)}") from None
    return bound


def allow_open_files() -> None:
    """Raise this process's limit of open files, if it can be, to what all connections and their uploads need."""
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _FILES_PER_CONNECTION * MAX_CONNECTIONS
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def address_of(bound: socket.socket) -> str:
    """Return the URL of a socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(bound: socket.socket) -> bool:
    """Return whether only this machine can reach a socket."""
    host: str = bound.getsockname()[0]
    return host.startswith("127.") or host == "::1"


def _advice(error: Exception) -> str:
    """Say what to do about an address at which the server cannot listen."""
    number = None if isinstance(error, socket.gaierror) else getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return "choose another port, or end the program that uses it"
    if number in (errno.EACCES, errno.EPERM):
        return "choose a port from 1024 on"
    return "--host is an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them"
