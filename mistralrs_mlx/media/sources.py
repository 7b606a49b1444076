"""Where media come from: a URL, a path, a data URL, or the bytes themselves."""

import os
import re
import stat
from base64 import b64decode
from urllib.parse import unquote, unquote_to_bytes
from urllib.request import url2pathname

from mistralrs_mlx.errors import RequestError

from .download import download
from .limits import Limits

__all__ = ["read_source"]

FORMS = "Use an http, https, data or file URL, or the path of a file"
SHOWN = 120  # characters of a source that a message repeats


def read_source(source: object, limits: Limits) -> bytes:
    """Read what a message's part names: a text in any of these forms, a path, or bytes.

    >>> read_source("data:text/plain;base64,SGk=", Limits())
    b'Hi'
    """
    match source:
        case bytes() | bytearray() | memoryview():
            data = bytes(source)
        case str():
            data = _named(source.strip(), limits)
        case os.PathLike():
            data = _file(os.fspath(source), limits)
        case _:
            raise RequestError(
                f"it is given as a {type(source).__name__}; it should be a URL, a path or bytes"
            )
    if not data:
        raise RequestError("it is empty; there should be a file's content")
    if len(data) > limits.bytes:
        raise RequestError(f"it has {len(data)} bytes; at most {limits.bytes} are taken")
    return data


def _named(text: str, limits: Limits) -> bytes:
    scheme = text[: text.find(":")].lower() if ":" in text else ""
    if scheme in ("http", "https"):
        return download(text, limits)
    if scheme == "data":
        return _data_url(text, limits)
    if scheme == "file":
        return _file_url(text, limits)
    if os.path.isfile(text):
        return _file(text, limits)
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", text):
        raise RequestError(f"Unsupported URL scheme: {scheme}. {FORMS}")
    raise RequestError(
        f"Invalid source '{_short(text)}': not a valid URL (http/https/data) and file not found. "
        "Use a full URL, a data URL, or a file path that exists."
    )


def _data_url(text: str, limits: Limits) -> bytes:
    head, comma, body = text.partition(",")
    if not comma:
        raise RequestError(f"{_short(text)} has no comma; write data:<type>;base64,<content>")
    if len(body) > 2 * limits.bytes:
        raise RequestError(f"its data URL is too long; at most {limits.bytes} bytes are taken")
    content = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return content
    try:
        return b64decode(b"".join(content.split()), validate=True)
    except ValueError as error:
        raise RequestError(
            f"its data URL, {_short(head)},..., is not base64: {error}; encode it again"
        ) from error


def _file_url(text: str, limits: Limits) -> bytes:
    host, slash, path = text[len("file:") :].removeprefix("//").partition("/")
    if host.lower() not in ("", "localhost"):
        raise RequestError(f"{_short(text)} names the host {host}; write file:///path/of/the/file")
    return _file(url2pathname(slash + path) if slash else unquote(path), limits)


def _file(path: str, limits: Limits) -> bytes:
    """Read a regular file; others, such as devices, might never end."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise RequestError(f"Could not open file at path: {_short(path)}, which is no file")
        if found.st_size > limits.bytes:
            raise RequestError(
                f"{_short(path)} has {found.st_size} bytes; at most {limits.bytes} are taken"
            )
        with open(path, "rb") as file:
            return file.read(limits.bytes + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"Could not open file at path: {_short(path)}: {_reason(error)}. Give the path of a "
            "file that exists"
        ) from error


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
