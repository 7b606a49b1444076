"""What every request passes first: the key, and what is counted of it."""

import hmac
import ipaddress
import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failure import Failure, envelope
from .metrics import Metrics
from .pages import OPEN as PAGES
from .settings import LOCAL, Settings

__all__ = ["Guard"]

OPEN = (*PAGES, "/health")  # what is answered without a key
OTHER = "other"
PORT = re.compile(r":\d*$")
PRIVATE = (".home.arpa", ".internal", ".lan", ".local", ".localhost")  # names within a network
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")


class Guard:
    """Refuses requests without the key, and measures all. Outside of it stands only CORS."""

    def __init__(
        self, app: ASGIApp, *, settings: Settings, metrics: Metrics, routes: frozenset[str]
    ) -> None:
        self._app, self._key, self._metrics = app, settings.api_key, metrics
        self._routes = routes
        self._is_ours = _is_local if settings.local else _is_private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight += 1
        try:
            refusal = self._refusal(Headers(scope=scope), scope["path"])
            if refusal is None:
                await self._app(scope, receive, watched)
            else:
                await _refuse(refusal, scope, watched)
        finally:
            self._metrics.in_flight -= 1
            self._metrics.request_seconds.add(time.monotonic() - began)
            self._metrics.requests[self._label(scope, status)] += 1

    def _refusal(self, headers: Headers, path: str) -> Failure | None:
        """Why a request is not let in, if it is not."""
        if self._key is None and not self._is_ours(_name(headers.get("host", ""))):
            message = f"the host is {headers['host']!r}; for names that others may give set a key"
            return Failure(403, message, code="unknown_host")
        if self._key is None or path in OPEN or self._is_shown(headers):
            return None
        message = "this server wants a key: Authorization: Bearer KEY"
        return Failure(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    def _is_shown(self, headers: Headers) -> bool:
        bearer, _, token = headers.get("authorization", "").partition(" ")
        shown = token.strip() if bearer.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(shown.encode(), (self._key or "").encode())

    def _label(self, scope: Scope, status: int) -> tuple[str, str, int]:
        """Of unknown paths there could be any number, and each would be a line."""
        path = scope["path"] if scope["path"] in self._routes else OTHER
        return (scope["method"] if scope["method"] in METHODS else OTHER), path, status


def _name(host: str) -> str:
    """The name or address in a `Host`. A foreign page may have its own name lead here."""
    return (host.rpartition(":")[0] if PORT.search(host) else host).strip("[]").lower()


def _is_local(name: str) -> bool:
    """Whether the name is this machine's."""
    return name in ("", *LOCAL)


def _is_private(name: str) -> bool:
    """Whether it is an address, or a name that nobody can have registered."""
    if "." not in name or name.endswith(PRIVATE):
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


async def _refuse(failure: Failure, scope: Scope, send: Send) -> None:
    body = envelope(failure, scope["path"])
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    raw = [
        (name.lower().encode(), text.encode()) for name, text in (headers | failure.headers).items()
    ]
    await send({"type": "http.response.start", "status": failure.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
