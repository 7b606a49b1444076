"""The events of a response in the background, for those who read along and those who come later."""

import asyncio
from collections.abc import AsyncGenerator

from mistralrs_mlx.server.events import ALIVE

__all__ = ["Recording"]


class Recording:
    """Events in their order: an event's place is its number. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._news = asyncio.Event()
        self._ended = False
        self.bytes = 0

    def add(self, event: bytes) -> None:
        """Have one more."""
        self._events.append(event)
        self.bytes += len(event)
        self._wake()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._wake()

    async def read(self, start: int, seconds: float) -> AsyncGenerator[bytes]:
        """All from this number on, as they come, and a comment when none has come for so long."""
        place = start
        while True:
            while place < len(self._events):
                yield self._events[place]
                place += 1
            if self._ended:
                return
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                yield ALIVE

    def _wake(self) -> None:
        """Wake all who wait; who waits after this waits for the next."""
        self._news.set()
        self._news = asyncio.Event()
