"""Log and count each request, and answer those that fail for a reason of the server's."""

import asyncio
import logging
import time
from collections.abc import Sequence

from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxlate.serving.api_errors import internal_error, unavailable
from voxlate.serving.server_metrics import ServerMetrics

_LOGGER = logging.getLogger(__name__)
_POLLED = ("/health", "/metrics")  # too often to be of interest
_CLIENT_LEFT = 499  # nginx's status


class RequestLog:
    """Middleware that logs the route, status and time of each request, but nothing else that a client sends."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, routes: Sequence[BaseRoute]) -> None:
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def watching_send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watching_send)
        except ClientDisconnect:
            status = status or _CLIENT_LEFT
        except asyncio.CancelledError:  # the server is closing
            if not status:
                await unavailable("the server is stopping").response()(scope, receive, watching_send)
        except Exception:
            _LOGGER.exception("a request failed")
            if not status:
                await internal_error().response()(scope, receive, watching_send)
        finally:
            seconds = time.perf_counter() - start
            route = self._route(scope)
            self._metrics.count_request(route, status or _CLIENT_LEFT, seconds)
            method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
            level = logging.DEBUG if route in _POLLED else logging.INFO
            _LOGGER.log(level, "%s %s %d %.2f s", method, route, status or _CLIENT_LEFT, seconds)

    def _route(self, scope: Scope) -> str:
        """Return the path of the matching route, with its parameters' names."""
        for route in self._routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "unknown"
