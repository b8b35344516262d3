"""Check the API keys of requests."""

import hashlib
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from voxlate.serving.api_errors import ApiError


class BearerKeys:
    """Middleware that refuses requests without one of the keys, as OpenAI does. `open_paths` need none.

    Keys are compared by their hashes in constant time, so that the time of the answer says nothing about them.
    """

    def __init__(self, app: ASGIApp, keys: Collection[str], open_paths: Collection[str]) -> None:
        self._app = app
        self._digests = [_digest(key) for key in keys]
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, or answer with 401."""
        if scope["type"] == "http" and self._digests and scope["path"] not in self._open_paths:
            error = self._error(Headers(scope=scope).get("authorization", ""))
            if error is not None:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _error(self, authorization: str) -> ApiError | None:
        kind, _, key = authorization.strip().partition(" ")
        given = key.strip() if kind.lower() == "bearer" else ""
        digest = _digest(given)
        matches = [hmac.compare_digest(digest, one) for one in self._digests]  # all of them, for constant time
        if given and any(matches):
            return None
        message = (
            "the API key is wrong; expected that of this server (--api-key)"
            if given
            else "no API key was given; expected the header 'Authorization: Bearer KEY' with that of this server"
        )
        return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
