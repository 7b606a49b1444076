"""How far a download, a load or a prefill has come, and who is told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from mistralrs_mlx.errors import Canceled

from .bars import seen_bar

__all__ = ["Progress", "Telling", "Watcher", "function_of", "telling"]

Progress = Callable[[str, int, int | None], None]
"""`progress(stage, done, total)`: stage `download` or `load` in bytes, `prefill` in tokens."""

Watcher = Progress | Literal[False] | None
"""Who is told: a function, nobody, or by default a bar where somebody looks."""


class Telling:
    """What loaders tell. Once nobody waits for the load any more it raises, which ends the load."""

    def __init__(self, told: Progress | None) -> None:
        self._told = told
        self._ended = False

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Pass it on. On any thread."""
        self.check()
        if self._told is not None:
            self._told(stage, done, total)

    def check(self) -> None:
        """Raise if nobody waits any more."""
        if self._ended:
            raise Canceled("the load was interrupted")

    def end(self) -> None:
        """Let what still goes on end soon."""
        self._ended = True


def function_of(watcher: Watcher) -> Progress | None:
    """The function that was given, if one was."""
    return None if watcher is False else watcher


@contextmanager
def telling(watcher: Watcher) -> Iterator[Telling]:
    """What is told while the block waits for a model to come, on whatever thread that happens."""
    bar = seen_bar() if watcher is None else None
    told = Telling(bar if watcher is None else function_of(watcher))
    try:
        yield told
    finally:  # also when Ctrl-C interrupts the waiting
        told.end()
        if bar is not None:
            bar.close()
