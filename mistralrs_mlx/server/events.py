"""Server-sent events: a response that grows until its source ends, or until the client leaves."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .failure import Failure, envelope, failure_of
from .leaving import departure
from .metrics import Metrics

__all__ = [
    "ALIVE",
    "DONE",
    "EventStream",
    "chunk_events",
    "event",
    "failing",
    "merged",
    "named",
    "paced",
]

log = logging.getLogger(__name__)

ALIVE = b": alive\n\n"  # a comment, which clients skip
DONE = b"data: [DONE]\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
BODY = "http.response.body"
FAREWELL_SECONDS = 2.0
Item = TypeVar("Item")


def event(content: object) -> bytes:
    """One event that carries this as JSON."""
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def named(content: Mapping[str, Any]) -> bytes:
    """One event of a kind, which its `type` says."""
    kind: str = content["type"]
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(content))


async def paced(source: AsyncIterator[Item], seconds: float) -> AsyncGenerator[Item | None]:
    """Pass items on, and None whenever none has come for so long."""
    coming = asyncio.ensure_future(_next(source))
    try:
        while True:
            if not (await asyncio.wait({coming}, timeout=seconds))[0]:
                yield None
                continue
            if (found := coming.result()) is None:
                return
            coming = asyncio.ensure_future(_next(source))
            yield found
    finally:
        coming.cancel()
        await asyncio.wait({coming})
        if not coming.cancelled():
            coming.exception()  # nobody reads on: what the rest would have failed of is no matter


async def merged(
    sources: Sequence[AsyncIterator[Item]],
) -> AsyncGenerator[tuple[int, Item]]:
    """The items of all sources as they come, each with the number of its source."""
    coming = {asyncio.ensure_future(_next(each)): i for i, each in enumerate(sources)}
    try:
        while coming:
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = coming.pop(task)
                if (found := task.result()) is not None:
                    coming[asyncio.ensure_future(_next(sources[number]))] = number
                    yield number, found
    finally:
        for task in coming:
            task.cancel()
        if coming:
            await asyncio.wait(coming)


async def chunk_events(
    chunks: AsyncGenerator[Item | None],
    first: Item | None,
    event_of: Callable[[Item], bytes],
    metrics: Metrics,
) -> AsyncGenerator[bytes]:
    """The first chunk, the others, and what a stream of OpenAI's ends with."""
    try:
        yield ALIVE if first is None else event_of(first)
        last = time.monotonic()
        async for chunk in chunks:
            if chunk is None:
                yield ALIVE
                continue
            metrics.token_seconds.add(time.monotonic() - last)
            last = time.monotonic()
            yield event_of(chunk)
        yield DONE
    finally:
        await chunks.aclose()


class EventStream(Response):
    """Sends events as they come. When it ends in any way, it closes `closing`."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        *,
        seconds: float,
        closing: ExitStack,
        failed: Callable[[Failure], bytes] | None = None,
    ) -> None:
        """`seconds` is the most that it may all take; `failed` tells of an error as an event."""
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._events, self._seconds, self._closing = events, seconds, closing
        self._failed = failed or _failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(departure(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            leaving.cancel()
            try:
                await asyncio.wait({sending, leaving})
                await self._events.aclose()
            finally:
                self._closing.close()

    async def _send(self, send: Send) -> None:
        """Everything. A client that does not read holds nothing up once time is over."""
        failure = await failing(self._pour(send), self._seconds)
        farewell = b"" if failure is None else self._failed(failure)
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await send({"type": BODY, "body": farewell, "more_body": False})

    async def _pour(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async for content in self._events:
            await send({"type": BODY, "body": content, "more_body": True})


async def failing(work: Coroutine[Any, Any, None], seconds: float) -> Failure | None:
    """What the work fails of, if it does. It may take so long."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return Failure(504, f"the answer took longer than {seconds:g} s")
    except (ValueError, NotImplementedError, RecursionError) as error:
        return failure_of(error)
    except Exception as error:  # ours; whoever waits for an end is told of one all the same
        log.error("an answer failed", exc_info=error)
        return Failure(500, f"the server failed: {type(error).__name__}")
    return None


def _failed(failure: Failure) -> bytes:
    """How a stream ends when its answer fails: as mistral.rs ends it."""
    return b"data: " + envelope(failure) + b"\n\n" + DONE


async def _next(source: AsyncIterator[Item]) -> Item | None:
    return await anext(source, None)
