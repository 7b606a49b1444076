"""How events leave the engine's thread: those of a step all together when it ends.

To wake a thread or an event loop takes longer than a small model takes for a token.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

__all__ = ["Mailbox", "Post"]

Event = TypeVar("Event")


class Post:
    """Carries events to mailboxes, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Mailbox[Any], list[Any]] | None = None  # of the step under way

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep what is put in this block, and deliver it at its end."""
        with self._lock:
            self._held = {}
        try:
            yield
        finally:
            with self._lock:
                held, self._held = self._held, None
            _deliver(held)

    def put(self, mailbox: "Mailbox[Event]", event: Event, *, now: bool) -> None:
        """Deliver an event when the step under way ends; or `now`, after those of its mailbox."""
        with self._lock:
            if self._held is not None and not now:
                self._held.setdefault(mailbox, []).append(event)
                return
            before = [] if self._held is None else self._held.pop(mailbox, [])
        _deliver({mailbox: [*before, event]})


class Mailbox(Generic[Event]):
    """Events on their way to one reader, which may be a thread or a coroutine."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._delivered: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
        self._opened: deque[Event] = deque()
        self._lock = threading.Lock()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, event: Event, *, now: bool = False) -> None:
        """Send an event, if need be `now` and not when the step ends. On any thread."""
        self._post.put(self, event, now=now)

    def get(self) -> Event | None:
        """The next event, if one has come."""
        if not self._opened:
            with suppress(queue.Empty):
                self._opened.extend(self._delivered.get_nowait())
        return self._opened.popleft() if self._opened else None

    def wait(self) -> None:
        """Block until an event has come."""
        if not self._opened:
            self._opened.extend(self._delivered.get())

    async def ready(self) -> None:
        """Return once an event has come; the event loop goes on meanwhile."""
        with self._lock:
            if self._opened or not self._delivered.empty():
                return
            waiting = self._waiting = asyncio.get_running_loop().create_future()
        await waiting

    def fill(self, events: list[Event]) -> "asyncio.Future[None] | None":
        """Take what has come. A coroutine that waits for it is left for the caller to wake."""
        with self._lock:
            self._delivered.put(events)
            waiting, self._waiting = self._waiting, None
        return waiting


def _deliver(held: dict[Mailbox[Any], list[Any]]) -> None:
    """Fill mailboxes; every event loop with a reader among them is woken once."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for mailbox, events in held.items():
        if (waiting := mailbox.fill(events)) is not None:
            loops.setdefault(waiting.get_loop(), []).append(waiting)
    for loop, readers in loops.items():
        with suppress(RuntimeError):  # it is closed, and so nobody waits any more
            loop.call_soon_threadsafe(_wake, readers)


def _wake(readers: Iterable["asyncio.Future[None]"]) -> None:
    for reader in readers:
        if not reader.done():  # one that was canceled is
            reader.set_result(None)
