"""A server for the page: the routes that it uses, with answers that a test chooses. It runs in a thread."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

PAGE = str(files("voxlate") / "serving" / "page")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MODELS = {"demo": ["de", "en", "ar"], "large": ["en", "zh"]}


@dataclass
class PageServer:
    """What the server answers, and the requests that it received.

    `gate` is waited for before each segment after the first; `refusals` are (status, headers, message) of the next
    requests; `key` is the API key that is needed.
    """

    segments: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 10.0
    refusals: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    late_error: str = ""
    warnings: list[str] = field(default_factory=list)
    key: str = ""
    gate: threading.Event = field(default_factory=threading.Event)
    requests: list[dict[str, Any]] = field(default_factory=list)
    left: int = 0  # clients that closed the connection
    url: str = ""

    def reset(self) -> None:
        """Forget requests, and answer as at the start."""
        fresh = PageServer(url=self.url)
        fresh.gate.set()
        vars(self).update(vars(fresh))

    def refuses(self, request: Request) -> Response | None:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _error(401, "Incorrect API key provided.", {"WWW-Authenticate": "Bearer"})
        return None

    async def models(self, request: Request) -> Response:
        data = [{"id": name, "object": "model", "target_languages": codes} for name, codes in MODELS.items()]
        data += [
            {"id": f"{name}:{code}", "object": "model", "target_languages": [code]}
            for name, codes in MODELS.items()
            for code in codes
        ]
        return self.refuses(request) or JSONResponse({"object": "list", "data": data})

    async def translate(self, request: Request) -> Response:
        async with request.form() as form:
            received: dict[str, Any] = {name: value for name, value in form.items() if isinstance(value, str)}
            file = form["file"]
            assert isinstance(file, UploadFile)
            self.requests.append(received | {"name": file.filename, "contents": await file.read()})
        if refusal := self.refuses(request):
            return refusal
        if self.refusals:
            status, headers, message = self.refusals.pop(0)
            return _error(status, message, headers)
        return StreamingResponse(self.events(), media_type="text/event-stream")

    async def events(self) -> AsyncIterator[str]:
        try:
            for number, segment in enumerate(self.segments):
                while number and not self.gate.is_set():
                    await asyncio.sleep(0.01)
                delta = {"type": "transcript.text.delta", "delta": segment["text"], "segment": segment | {"id": number}}
                yield _event(delta)
            if self.late_error:
                yield _event({"error": {"message": self.late_error, "type": "server_error"}})
            else:
                done = {"type": "transcript.text.done", "duration": self.seconds, "warnings": self.warnings}
                yield _event(done | {"segments": self.segments})
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left += 1
            raise


def _event(contents: dict[str, Any]) -> str:
    return f"data: {json.dumps(contents, ensure_ascii=False)}\n\n"


def _error(status: int, message: str, headers: dict[str, str]) -> Response:
    return JSONResponse({"error": {"message": message, "type": "error"}}, status, headers)


@contextmanager
def serve_page() -> Iterator[PageServer]:
    """Serve the page on a free port of this machine until the block ends."""
    server = PageServer()
    server.reset()

    async def page(request: Request) -> Response:
        return FileResponse(f"{PAGE}/index.html", headers={"Content-Security-Policy": POLICY})

    routes = [
        Route("/", page),
        Route("/v1/models", server.models),
        Route("/v1/audio/translations", server.translate, methods=["POST"]),
        Mount("/", StaticFiles(directory=PAGE)),
    ]
    config = uvicorn.Config(Starlette(routes=routes), port=0, log_level="error", lifespan="off", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            time.sleep(0.01)
        server.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/"
        yield server
    finally:
        server.gate.set()
        running.should_exit = True
        thread.join(timeout=10)
