"""Protect the server from clients that send slowly, never finish, or don't stop when they are refused."""

import asyncio
import json
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from voxlate.serving.api_errors import ApiError

MAX_CONNECTIONS = 1000


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 whose connections are closed if the headers of a request take longer than `header_seconds`.

    Connections over `max_connections` are closed at once, so that uploads can still open their files.
    """

    header_seconds = 15.0
    max_connections = MAX_CONNECTIONS
    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the headers of the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.close()
        else:
            self._start_header_timer()

    def data_received(self, data: bytes) -> None:
        """Handle bytes of a request; the time for its headers ends with them."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_header_timer()
        elif self._header_timer is None:
            self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time for headers."""
        self._stop_header_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        body = json.dumps(ApiError(400, f"{msg} Expected HTTP/1.1").body).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _start_header_timer(self) -> None:
        self._stop_header_timer()
        self._header_timer = self.loop.call_later(self.header_seconds, self._drop)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _drop(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class CloseUnreadBodies:
    """Middleware that ends the connection if a request is answered before its body is read, as a 413 is.

    Otherwise the rest of the body, of any size, would be received. It is read for `linger_seconds`, since a connection
    that is closed with unread data may lose the answer.
    """

    linger_seconds = 3.0

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        is_read = False

        async def tracked_receive() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def closing_send(message: Message) -> None:
            if is_read:
                await send(message)
            elif message["type"] == "http.response.start":
                await send({**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]})
            elif message.get("more_body", False):
                await send(message)
            else:
                await send({**message, "more_body": True})
                await _drain(tracked_receive, lambda: is_read, self.linger_seconds)
                await send({"type": "http.response.body", "body": b""})

        await self._app(scope, tracked_receive, closing_send)


async def _drain(receive: Receive, is_read: Callable[[], bool], seconds: float) -> None:
    """Read the rest of a body for some seconds at most."""
    end = time.monotonic() + seconds
    while not is_read() and (left := end - time.monotonic()) > 0:
        try:
            await asyncio.wait_for(receive(), left)
        except TimeoutError:
            return


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
