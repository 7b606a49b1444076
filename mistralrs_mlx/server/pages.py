"""The pages for people: one to chat, one that describes the routes. Neither loads anything else."""

from functools import cache
from importlib.resources import files

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .described import description

__all__ = ["OPEN", "chat_page", "docs_page", "openapi"]

OPEN = ("/", "/ui", "/docs")  # what is shown without a key: the pages ask for it
POLICY = (
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src 'self' data: blob:; media-src blob:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


async def chat_page(_: Request) -> Response:
    """A page to chat with the models."""
    return _page("chat.html")


async def docs_page(_: Request) -> Response:
    """A page that shows the description, and lets one try what it describes."""
    return _page("docs.html")


async def openapi(_: Request) -> Response:
    """The description of all routes."""
    return Response(msgspec.json.encode(description()), media_type="application/json")


def _page(name: str) -> Response:
    policy = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(_read(name), media_type="text/html", headers=policy)


@cache
def _read(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()
