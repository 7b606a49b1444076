"""A request's body: read within limits, and decoded into the type that says what may be in it."""

import asyncio
import re
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from .failure import Failure, Gone
from .settings import Settings

__all__ = ["body_of", "parameter_of"]

Body = TypeVar("Body")
PATH = re.compile(r"`\$\.?([^`]*)`$")
MOST_BRACKETS = 1 << 20  # each may become an object of twenty times its size in the body
UNKNOWN = re.compile(r"unknown field `(\w+)`")


async def body_of(request: Request, reader: msgspec.json.Decoder[Body]) -> Body:
    """The body as the reader reads it. Raises `Failure` with 400, 408, 413 or 415."""
    settings: Settings = request.app.state.settings
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != "application/json":  # other types a foreign web page may send without being asked
        raise Failure(415, f"the content type must be application/json, found {given!r}")
    content = await _read(request, settings)
    if content.count(b"{") + content.count(b"[") > MOST_BRACKETS:
        raise Failure(400, f"the body has more than {MOST_BRACKETS} braces and brackets")
    try:
        return reader.decode(content)
    except msgspec.ValidationError as error:
        raise Failure(400, str(error), parameter=parameter_of(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(400, f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Failure(400, "the body is nested too deeply") from None


def parameter_of(message: str) -> str | None:
    """The field that a complaint of msgspec is about."""
    if (unknown := UNKNOWN.search(message)) is not None:
        return unknown[1]
    found = PATH.search(message)
    return (found[1] or None) if found else None


async def _read(request: Request, settings: Settings) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > settings.max_body:
        raise _too_large(settings)
    parts, size = [], 0
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > settings.max_body:
                    raise _too_large(settings)
                parts.append(part)
    except TimeoutError:
        message = f"the body took longer than {settings.body_seconds:g} s to arrive"
        raise Failure(408, message, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Gone from None
    return b"".join(parts)


def _too_large(settings: Settings) -> Failure:
    message = f"the body is larger than {settings.max_body} bytes"
    return Failure(413, message, headers={"Connection": "close"})
