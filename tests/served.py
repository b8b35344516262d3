"""Run the web application on a port of this machine, in a thread."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from fake_engine import FakeEngine
from voxlate.serving.app import build_app
from voxlate.serving.audio_service import AudioEngine, AudioService, ServiceLimits
from voxlate.serving.model_names import ModelNames
from voxlate.serving.server import SignaledServer, address_of, open_socket
from voxlate.serving.server_metrics import ServerMetrics
from voxlate.serving.uploads import UploadLimits

BOUNDARY = "0123456789abcdef"


@dataclass
class Served:
    """A running server: its address, its engine, its service, and its folder of temporary files."""

    url: str
    engine: Any
    service: AudioService
    folder: Path

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def wait_until_idle(self, seconds: float = 5.0) -> None:
        """Wait until no request is left, and check that none has left a file."""
        end = time.monotonic() + seconds
        while (self.service.active or any(self.folder.iterdir())) and time.monotonic() < end:
            time.sleep(0.01)
        assert self.service.active == 0
        assert list(self.folder.iterdir()) == []

    def connect(self) -> socket.socket:
        """Return a connection."""
        return socket.create_connection(self.address, timeout=10)

    def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send the bytes of a request, and return status, headers and body of the answer."""
        with self.connect() as connection:
            with suppress(OSError):  # refused while it was sent
                connection.sendall(data)
            return read_answer(connection)


@contextmanager
def serving(
    folder: Path,
    engine: AudioEngine | None = None,
    *,
    api_keys: Sequence[str] = (),
    max_bytes: int = 1_000_000,
    max_waiting: int = 8,
    idle_seconds: float = 5.0,
    min_bytes_per_second: int = 1024,
    to: str | None = None,
) -> Iterator[Served]:
    """Serve an engine, with temporary files in a folder."""
    folder.mkdir(exist_ok=True)
    engine = engine or FakeEngine()
    limits = ServiceLimits(UploadLimits(max_bytes, idle_seconds, min_bytes_per_second), max_waiting)
    names = ModelNames(engine, {"whisper-1": f"{engine.model_names[0]}:de"}, to)
    service = AudioService(engine, names, limits, folder, ServerMetrics())
    stop = threading.Event()

    async def drained() -> None:
        pass

    bound = open_socket("127.0.0.1", 0)
    server = SignaledServer(build_app(service, api_keys), check=lambda: not stop.is_set(), drain=drained)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])), daemon=True)
    thread.start()
    try:
        yield Served(address_of(bound), engine, service, folder)
    finally:
        stop.set()
        thread.join(10)
        bound.close()
    assert not thread.is_alive()


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read an answer until it is complete or the connection ends."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if end and "content-length" in headers and len(body) >= int(headers["content-length"]):
            body = body[: int(headers["content-length"])]
            break
        try:
            received = connection.recv(65_536)
        except ConnectionResetError:
            received = b""
        if not received:
            break
        data += received
    status = int(lines[0].split()[1]) if data else 0
    return status, headers, body


def multipart(file: bytes, *, field: str = "file", **fields: str) -> bytes:
    """Return the body of a form with an upload, with BOUNDARY."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.wav"\r\n\r\n'
    return b"".join(parts) + head.encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()


def post(path: str, body: bytes, *, length: int | None = None, headers: str = "") -> bytes:
    """Return the bytes of a request with a form."""
    size = len(body) if length is None else length
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"{headers}Content-Length: {size}\r\n\r\n"
    ).encode() + body


def ask(url: str, file: bytes | None = None, *, key: str = "", **fields: str) -> tuple[int, str]:
    """Send a form with an upload, or get a page without one; return status and text of the answer."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if file is not None:
        headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
    request = Request(url, None if file is None else multipart(file, **fields), headers)
    try:
        with urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def error_of(body: bytes | str) -> dict[str, Any]:
    """Return the error of an answer, whose form is OpenAI's."""
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in error["message"]
    return error
