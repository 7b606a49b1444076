"""Reading URLs, with limits of time and size, and without a way into private networks."""

import time
from dataclasses import dataclass
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    BaseHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    UnknownHandler,
)

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.media.public import public_handlers

__all__ = ["Reply", "checked_url", "read_public", "send", "text_of"]

PAGE_SECONDS = 15.0
PAGE_BYTES = 2 << 20
AGENT = "Mozilla/5.0 (compatible; mistralrs-mlx)"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A server's answer: its media type, as `text/html`, and its text."""

    kind: str
    text: str


def checked_url(url: object, where: str) -> str:
    """The URL, if it is one of a web server. `where` names it in messages."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:  # brackets that hold no address
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestError(f"{where} is {url!r}; it must be an http:// or https:// address")
    return parts.geturl()


def read_public(url: str) -> Reply:
    """Read a page that anyone on the internet could read; proxies are not used."""
    request = Request(checked_url(url, "url"), headers={"User-Agent": AGENT})
    handlers = (*public_handlers(), HTTPRedirectHandler())
    return send(request, handlers, seconds=PAGE_SECONDS, limit=PAGE_BYTES)


def send(
    request: Request,
    handlers: tuple[BaseHandler, ...] = (),
    *,
    seconds: float,
    limit: int,
) -> Reply:
    """Send a request and read the whole answer of at most `limit` bytes within `seconds`.

    Handlers replace those that connect to any address and follow no redirect.
    Raises `RequestError` or `OSError`.
    """
    opener = OpenerDirector()  # not build_opener: that also reads files and FTP
    connecting = handlers or (HTTPHandler(), HTTPSHandler())
    for handler in (*connecting, UnknownHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    deadline = time.monotonic() + seconds
    try:
        with opener.open(request, timeout=seconds) as response:
            body = _body(response, request.full_url, deadline, limit)
            kind, charset = response.headers.get_content_type(), _charset(response)
    except HTTPError as error:
        error.close()
        raise RequestError(f"{request.full_url} answered {error.code} {error.reason}") from error
    return Reply(kind=kind, text=text_of(body, charset))


def text_of(body: bytes, charset: str) -> str:
    """Decode what a server sent, whether or not it told the truth about its encoding."""
    try:
        return body.decode(charset, errors="replace")
    except LookupError:  # no such encoding
        return body.decode("utf-8", errors="replace")


def _body(response: HTTPResponse, url: str, deadline: float, limit: int) -> bytes:
    body = bytearray()
    while piece := response.read1(1 << 16):  # read() would wait for a trickle to fill it
        body += piece
        if len(body) > limit:
            raise RequestError(f"the answer of {url} is longer than {limit} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the answer of {url} takes too long")
    return bytes(body)


def _charset(response: HTTPResponse) -> str:
    return response.headers.get_content_charset() or "utf-8"
