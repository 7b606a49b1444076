"""Clients that leave: whatever is done for one ends when it is gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from .failure import Failure, Gone
from .settings import Settings

__all__ = ["departure", "unless_gone"]

Answer = TypeVar("Answer")


async def unless_gone(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """What the work gives. It is canceled when the client leaves (`Gone`) or time is up (504)."""
    settings: Settings = request.app.state.settings
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(departure(request.receive))
    try:
        await asyncio.wait(
            {working, leaving},
            timeout=settings.answer_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if working.done():
            return working.result()
        if leaving.done():
            raise Gone
        raise Failure(504, f"the answer took longer than {settings.answer_seconds:g} s")
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def departure(receive: Receive) -> None:
    """Return when the client has left. Only once its body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
