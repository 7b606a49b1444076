"""One model of a roster: how it is loaded, the model while it is, and who is about to ask it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import mlx.core as mx

from mistralrs_mlx.engine.worker import worker

from .embedding import AnyHost
from .facts import Facts
from .opening import Opening

__all__ = ["Entry", "await_memory"]

Status = Literal["loaded", "unloaded", "reloading"]


class Entry:
    """Its fields are read and written under the roster's condition.

    A user is a thread between finding the model and having sent its request to the engine, or for
    an embedder having its vectors. What the engine then has to do needs no user: an answer that
    nobody reads cannot hold a model, and a tool that asks another model cannot wait for itself.
    """

    def __init__(self, name: str, opening: Opening, changed: threading.Condition) -> None:
        self.name, self.opening, self._changed = name, opening, changed
        self.host: AnyHost | None = None
        self.facts: Facts | None = None  # of the last time that it was loaded
        self.loading = False  # or about to be quantized anew
        self._users = 0
        self._pauses = 0  # reasons for new users to wait
        self._used = 0.0

    @property
    def status(self) -> Status:
        if self.host is not None:
            return "loaded"
        return "reloading" if self.loading else "unloaded"

    @property
    def ready(self) -> bool:
        """Whether one more user may come."""
        return self.host is not None and not self.loading and not self._pauses

    def seen(self) -> tuple[AnyHost | None, Facts, Status]:
        """The model, what is known of it, and its status, of one moment."""
        with self._changed:
            assert self.facts is not None  # others see it once it has been loaded
            return self.host, self.facts, self.status

    def put(self, host: AnyHost, opening: Opening) -> None:
        """It has been loaded, in this way."""
        self.host, self.facts, self.opening = host, host.facts, opening.knowing(host)
        self.loading = False
        self._used = time.monotonic()

    def enter(self) -> AnyHost:
        """Let a user in."""
        assert self.host is not None
        self._users += 1
        self._used = time.monotonic()
        return self.host

    def leave(self) -> None:
        """A user has sent what it had to."""
        with self._changed:
            self._users -= 1
            self._used = time.monotonic()
            self._changed.notify_all()

    def in_use(self) -> tuple[bool, float]:
        """Whether it answers, and when it was asked or came to rest last."""
        with self._changed:
            host, users, used = self.host, self._users, self._used
        if host is None:
            return False, used
        busy, rested = worker().call(lambda: (host.busy, host.rested))
        return bool(users or busy), max(used, rested)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let no new user in, and begin once everything has been answered."""
        with self._changed:
            self._pauses += 1
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._users)
                host = self.host
            if host is not None:
                host.await_rest()
            del host
            yield
        finally:
            with self._changed:
                self._pauses -= 1
                self._changed.notify_all()

    def unload(self, reason: str) -> None:
        """Give the memory back, and wait until that has happened."""
        if self.release(reason):
            await_memory()

    def release(self, reason: str) -> bool:
        """Give the memory back some time soon. False if there is none."""
        with self._changed:
            host, self.host = self.host, None
            if host is None:
                return False
            host.close(reason)  # sent before anybody may think that there is room
            self._changed.notify_all()
        return True


def await_memory() -> None:
    """Return once the system has the memory that was let go of."""
    worker().call(_give_back)


def _give_back() -> None:
    mx.synchronize()  # a pass that was under way holds its arrays until it ends
    mx.clear_cache()
