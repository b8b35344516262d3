"""Errors of requests, in the form of OpenAI's API."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

# The `type` of OpenAI's errors by HTTP status.
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is answered with an HTTP status and an error. The message says what to do.

    - `param`: the field of the request that is wrong.
    - `code`: a name that programs can compare, such as model_not_found.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """The error as JSON types: message, type, param and code."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return the answer to the request."""
        return JSONResponse(self.body, self.status, headers=self.headers)


def overloaded(message: str, retry_seconds: float) -> ApiError:
    """Return a 429 that says when to try again."""
    return ApiError(429, message, code="rate_limit_exceeded", headers=_retry_after(retry_seconds))


def unavailable(message: str, retry_seconds: float = 5.0) -> ApiError:
    """Return a 503, for a server that is starting or stopping."""
    return ApiError(503, message, code="unavailable", headers=_retry_after(retry_seconds))


def internal_error() -> ApiError:
    """Return a 500 that says nothing about the server's internals."""
    return ApiError(500, "the server failed to answer this request; its log has the reason", code="internal_error")


def _retry_after(seconds: float) -> dict[str, Any]:
    return {"Retry-After": str(max(1, round(seconds)))}
