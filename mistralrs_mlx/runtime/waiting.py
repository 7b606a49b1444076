"""Reading an answer on a thread and on an event loop.

What turns events into answers is written once, as iterators that never wait: where they could only
wait they give None, and who reads them waits in its own way.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Protocol, TypeVar

__all__ = ["Over", "Source", "awaited", "following", "next_or_over", "waited"]

Item = TypeVar("Item")


class Source(Protocol):
    """Where the items of an iterator come from."""

    @property
    def works(self) -> bool:
        """Whether the iterator itself takes long: it runs tools, and an event loop must not."""

    def wait(self) -> None:
        """Block until there is more."""

    async def ready(self) -> None:
        """Return once there is more."""

    def cancel(self) -> None:
        """Nobody reads on. Safe on any thread, any number of times."""


class Over:
    """What comes after the last item."""


OVER = Over()


def next_or_over(items: Iterator[Item | None], source: Source) -> Item | Over:
    """The next item, on a thread that may block."""
    while (item := next(items, OVER)) is None:
        source.wait()
    return item


async def following(items: Iterator[Item | None], source: Source) -> Item | Over:
    """The next item, on an event loop, which goes on only while there is none."""
    while True:
        item = await asyncio.to_thread(next, items, OVER) if source.works else next(items, OVER)
        if item is not None:
            return item
        await source.ready()


def waited(items: Iterator[Item | None], source: Source) -> Iterator[Item]:
    """All items."""
    while not isinstance(item := next_or_over(items, source), Over):
        yield item


async def awaited(items: Iterator[Item | None], source: Source) -> AsyncIterator[Item]:
    """All items."""
    while not isinstance(item := await following(items, source), Over):
        yield item
