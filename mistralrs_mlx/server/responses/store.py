"""The responses that can be asked for again, and those still under way: in memory, and bounded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from mistralrs_mlx.server.failure import Failure

from .answers import Answer
from .items import Item
from .recording import Recording

__all__ = ["Kept", "Running", "Store"]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A response, what it was asked, and all that was said before."""

    answer: Answer
    before: tuple[Item, ...]
    asked: tuple[Item, ...]
    events: Recording | None = None  # if they can be read again

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        said = len(msgspec.json.encode((self.answer, self.before, self.asked)))
        return said + (0 if self.events is None else self.events.bytes)

    @property
    def heard(self) -> tuple[Item, ...]:
        """Everything that was said before the answer."""
        return (*self.before, *self.asked)

    @property
    def conversation(self) -> tuple[Item, ...]:
        """Everything that was said, the answer included."""
        return (*self.heard, *self.answer.output)


class Running(Protocol):
    """A response under way."""

    @property
    def kept(self) -> Kept:
        """What there is of it by now."""

    async def cancel(self) -> None:
        """End it, if nobody reads along."""


class Store:
    """Keeps responses until newer ones need the room. Used on the event loop's thread alone.

    Each has its whole conversation, and pays for it: that its beginning is dropped, or deleted,
    does not matter to one that goes on. How many are under way is the gate's to say.
    """

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: dict[str, Kept] = {}
        self._sizes: dict[str, int] = {}
        self._running: dict[str, Running] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept) + len(self._running)

    def keep(self, kept: Kept) -> None:
        """Keep a response that has ended; the oldest make room, or it is itself too large."""
        id = kept.answer.id
        self._kept[id], self._sizes[id] = kept, kept.size
        self.bytes += self._sizes[id]
        for oldest in list(self._kept):
            if len(self._kept) <= self._most and self.bytes <= self._most_bytes:
                return
            self._forget(oldest)

    def begin(self, id: str, running: Running) -> None:
        """Have a response that is under way, until it ends."""
        self._running[id] = running

    def end(self, id: str) -> None:
        """Keep what has become of a response, unless it was deleted meanwhile."""
        if (running := self._running.pop(id, None)) is not None:
            self.keep(running.kept)

    def find(self, id: str, *, parameter: str | None = None) -> Kept:
        """The response of this id. Raises `Failure` with 404."""
        if id in self._running:
            return self._running[id].kept
        if id not in self._kept:
            message = (
                f"response `{id}` was not found: it was not stored, was deleted, had to make room "
                "for newer ones, or is from before the server started"
            )
            if parameter is not None:
                message += "; send the whole conversation as `input`"
            code = "response_not_found" if parameter is None else "previous_response_not_found"
            raise Failure(404, message, parameter=parameter, code=code)
        return self._kept[id]

    def items(self) -> Mapping[str, Item]:
        """All items of all conversations, by their ids."""
        conversations = [*self._kept.values(), *(each.kept for each in self._running.values())]
        said = (item for kept in conversations for item in kept.conversation)
        return {item.id: item for item in said if item.id is not None}

    async def cancel(self, id: str) -> None:
        """End a response that is under way, if it is."""
        if (running := self._running.get(id)) is not None:
            await running.cancel()

    async def drop(self, id: str) -> None:
        """Forget a response, whether it has ended or not."""
        running = self._running.pop(id, None)
        if id in self._kept:
            self._forget(id)
        if running is not None:
            await running.cancel()

    async def close(self) -> None:
        """End all that are under way."""
        for id in list(self._running):
            await self.cancel(id)

    def _forget(self, id: str) -> None:
        del self._kept[id]
        self.bytes -= self._sizes.pop(id)
