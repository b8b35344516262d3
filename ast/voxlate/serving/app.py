"""The web application: its routes, and what happens around each request."""

import mimetypes
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from voxlate.serving.api_errors import ApiError, unavailable
from voxlate.serving.audio_routes import audio_routes
from voxlate.serving.audio_service import AudioService
from voxlate.serving.authentication import BearerKeys
from voxlate.serving.connections import CloseUnreadBodies
from voxlate.serving.request_log import RequestLog

_PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def build_app(service: AudioService, api_keys: Sequence[str] = ()) -> Starlette:
    """Return the application. Each request needs one of the keys, if there are any, but the page and /health."""
    page = _page_routes(Path(str(files("voxlate.serving") / "page")))
    routes = [*audio_routes(service), *_information_routes(service), *page]
    open_paths = ["/health", *(route.path for route in page)]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(RequestLog, service.metrics, routes),
            Middleware(CloseUnreadBodies),
            Middleware(BearerKeys, api_keys, open_paths),
        ],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error},
    )


def _information_routes(service: AudioService) -> list[BaseRoute]:
    """Return the routes without audio."""

    async def health(_: Request) -> Response:
        if service.stopping or not service.engine.ready:
            status = "stopping" if service.stopping else "loading"
            return JSONResponse({"status": status}, 503, headers={"Retry-After": "5"})
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        return service.metrics.response()

    def listed() -> list[dict[str, object]]:
        if not service.engine.ready:
            raise unavailable("the models are being loaded")
        return [
            {
                "id": name,
                "object": "model",
                "created": service.started,
                "owned_by": "voxlate",
                "target_languages": codes,
            }
            for name, codes in service.names.listing()
        ]

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": listed()})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        for entry in listed():
            if entry["id"] == name:
                return JSONResponse(entry)
        raise service.names.unknown(name)

    return [
        Route("/health", health),
        Route("/metrics", metrics),
        *(Route(f"{prefix}/models", models) for prefix in ("/v1", "")),
        *(Route(f"{prefix}/models/{{name:path}}", model) for prefix in ("/v1", "")),
    ]


def _page_routes(folder: Path) -> list[Route]:
    """Return a route for each file of the page, and / for index.html. No path of a request is opened."""
    routes = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file() and not path.name.startswith(("_", ".")):
            url = "/" if path.name == "index.html" else f"/{path.name}"
            routes.append(Route(url, _PageFile(path).answer))
    return routes


class _PageFile:
    """A file of the page, which is read at start."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"

    async def answer(self, _: Request) -> Response:
        """Return the file."""
        return Response(self._content, media_type=self._media_type, headers=_PAGE_HEADERS)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer unknown paths and methods."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    message = (
        f"method {request.method} is not allowed for {path}; expected {(error.headers or {}).get('Allow', 'another')}"
        if error.status_code == 405
        else f"there is no {request.method} {path}; audio goes to POST /v1/audio/translations or "
        "/v1/audio/transcriptions"
    )
    return ApiError(error.status_code, message, headers=error.headers).response()
