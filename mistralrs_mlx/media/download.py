"""Downloading media, with limits of time and size, and without being led into private networks."""

import time
from http.client import HTTPException, HTTPResponse
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from mistralrs_mlx.errors import RequestError

from .limits import Limits
from .public import public_handlers

__all__ = ["download"]

AGENT = "Mozilla/5.0 (compatible; mistralrs-mlx)"
MOVED = (301, 302, 303, 307, 308)


def download(url: str, limits: Limits) -> bytes:
    """Read a URL of a web server, following redirects.

    The address that the user wrote may be private; one that a server sends us to may not.
    """
    deadline = time.monotonic() + limits.download_seconds
    asked, at = _host(url), url
    for _ in range(limits.redirects + 1):
        try:
            with _opened(at, limits, checked=_host(at) != asked) as response:
                target = response.headers.get("Location")
                if response.status not in MOVED or target is None:
                    return _body(response, at, deadline, limits)
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, RequestError):
                raise
            raise RequestError(
                f"{at} could not be downloaded: {error}. Check the address, or download the file "
                "and give its path"
            ) from error
        at = urljoin(at, target)
    raise RequestError(f"{url} redirects more than {limits.redirects} times; give the last address")


def _host(url: str) -> str:
    """The host of an address that can be downloaded."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:  # brackets that hold no address
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise RequestError(f"{url} is not an http:// or https:// address of a server; give one")
    return host


def _opened(url: str, limits: Limits, *, checked: bool) -> HTTPResponse:
    opener = OpenerDirector()  # not build_opener: that also reads files, and follows redirects
    anywhere = (ProxyHandler(), HTTPHandler(), HTTPSHandler())
    for handler in public_handlers() if checked else anywhere:
        opener.add_handler(handler)
    opener.add_handler(UnknownHandler())
    parts = urlsplit(url)
    quoted = parts._replace(
        path=quote(parts.path, safe="%/:=&~+!$,;'@()*"),
        query=quote(parts.query, safe="%/:=&?~+!$,;'@()*"),
    )
    request = Request(quoted.geturl(), headers={"User-Agent": AGENT})
    response: HTTPResponse = opener.open(request, timeout=limits.download_seconds)
    return response


def _body(response: HTTPResponse, url: str, deadline: float, limits: Limits) -> bytes:
    if response.status != 200:
        raise RequestError(f"{url} answered {response.status} {response.reason}; check the address")
    length = response.headers.get("Content-Length", "0")
    if length.isdecimal() and int(length) > limits.bytes:
        raise RequestError(f"{url} has {length} bytes; at most {limits.bytes} are taken")
    body = bytearray()
    while piece := response.read1(1 << 16):  # read() would wait for a trickle to fill it
        body += piece
        if len(body) > limits.bytes:
            raise RequestError(f"{url} has more than {limits.bytes} bytes, which is the limit")
        if time.monotonic() > deadline:
            raise RequestError(f"{url} took longer than {limits.download_seconds:g} s; try again")
    if response.length:
        raise RequestError(f"{url} ended {response.length} bytes too early; try again")
    return bytes(body)
