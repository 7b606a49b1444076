"""What a client is told when something fails: a status, and OpenAI's envelope."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mistralrs_mlx import (
    CheckpointError,
    InsufficientMemory,
    ModelUnloaded,
    UnknownModel,
    WeightMismatch,
)

__all__ = [
    "ANTHROPIC",
    "Envelope",
    "Failure",
    "Gone",
    "TheirEnvelope",
    "envelope",
    "failure_of",
    "shown",
    "told",
]

KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
ANTHROPIC = "/v1/messages"  # below it, errors have Anthropic's form
KNOWN: tuple[tuple[type[Exception], int, dict[str, Any]], ...] = (  # and what else is told
    (NotImplementedError, 400, {"code": "unsupported"}),
    (UnknownModel, 404, {"parameter": "model", "code": "model_not_found"}),
    (ModelUnloaded, 503, {"code": "model_unloaded", "headers": {"Retry-After": "1"}}),
    (InsufficientMemory, 507, {"code": "insufficient_storage"}),
    (CheckpointError, 500, {}),  # files that have changed since the model was loaded first
    (WeightMismatch, 500, {}),
)
CLIENT_LEFT = 499  # as nginx logs it


class Failure(Exception):
    """A request that ends with an error. `parameter` is the field at fault, if it is one."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        parameter: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.parameter, self.code = parameter, code
        self.headers = dict(headers or {})


class Gone(Exception):
    """The client has left; what was begun for it has ended."""


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, and with which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """How OpenAI's clients are told of an error."""

    error: Error


def failure_of(error: Exception) -> Failure:
    """The failure that an error of the package amounts to."""
    if isinstance(error, Failure):
        return error
    message = str(error) or type(error).__name__
    if isinstance(error, RecursionError):
        return Failure(400, "the request is nested too deeply")
    for kind, status, more in KNOWN:
        if isinstance(error, kind):
            return Failure(status, message, **more)
    return Failure(500 if _is_ours(error) else 400, message)


class TheirError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong."""

    type: str
    message: str


class TheirEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """How Anthropic's clients are told of an error."""

    type: str
    error: TheirError


def envelope(failure: Failure, path: str = "") -> bytes:
    """The JSON that tells of a failure, in the form of the route at this path."""
    if path.startswith(ANTHROPIC):
        return _anthropic(failure)
    kind = KINDS.get(failure.status)
    kind = kind or ("invalid_request_error" if failure.status < 500 else "server_error")
    error = Error(message=failure.message, type=kind, param=failure.parameter, code=failure.code)
    return msgspec.json.encode(Envelope(error=error))


def told(request: Request, error: Exception) -> Response:
    """The response that tells of an error; for Starlette."""
    failure = failure_of(error)
    return Response(
        envelope(failure, request.url.path),
        failure.status,
        failure.headers,
        media_type="application/json",
    )


def shown(request: Request, error: Exception) -> Response:
    """The same for what goes wrong before a route is found, and for what is our fault."""
    if isinstance(error, Gone):
        return Response(status_code=CLIENT_LEFT)
    if isinstance(error, HTTPException):
        return told(request, Failure(error.status_code, error.detail, headers=error.headers))
    return told(request, Failure(500, f"the server failed: {type(error).__name__}"))


def _is_ours(error: Exception) -> bool:
    """Whether the model failed, and not the request: a computation broke off."""
    cause = error.__cause__
    return isinstance(cause, RuntimeError | MemoryError) and not isinstance(
        cause, RecursionError | NotImplementedError
    )


def _anthropic(failure: Failure) -> bytes:
    kind = KINDS.get(failure.status)
    kind = kind or ("invalid_request_error" if failure.status < 500 else "api_error")
    error = TheirError(type=kind, message=failure.message)
    return msgspec.json.encode(TheirEnvelope(type="error", error=error))
