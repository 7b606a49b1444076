"""Room for a model that is to be loaded: those that have gone unused longest leave for it."""

import logging
from collections.abc import Callable
from contextlib import ExitStack

from .entry import Entry

__all__ = ["Vacating"]

log = logging.getLogger(__name__)


class Vacating:
    """Makes room among models. Only the thread whose turn it is to load may use it.

    Waiting here ends: a model that is to leave lets no new user in, and those that are inside
    neither load anything nor wait for whoever reads.
    """

    def __init__(self, loaded: Callable[[], list[Entry]]) -> None:
        """`loaded` gives the models that are in memory."""
        self._loaded = loaded

    def make_room(self, missing: int, beside: Entry, until: ExitStack) -> bool:
        """Free so many bytes; False, and nothing is unloaded, if that is not possible.

        With nothing missing, running answers are all that is in the way: they are waited for, and
        no others begin before `until` is closed.
        """
        others = [each for each in self._loaded() if each is not beside]
        if missing > 0:
            return _unload(_enough(others, missing))
        running = [each for each in others if each.in_use()[0]]
        for each in running:
            until.enter_context(each.paused())
        return bool(running)


def _enough(others: list[Entry], missing: int) -> list[Entry]:
    """As many as hold so many bytes of weights, unused ones first; none if all are not enough."""
    chosen: list[Entry] = []
    for each in sorted(others, key=Entry.in_use):
        if missing > 0:
            host = each.host
            chosen.append(each)
            missing -= 0 if host is None else host.memory.weights
    return [] if missing > 0 else chosen


def _unload(chosen: list[Entry]) -> bool:
    for each in chosen:
        with each.paused():
            log.info("model `%s` is unloaded to make room", each.name)
            each.unload(f"model `{each.name}` was unloaded to make room")
    return bool(chosen)
