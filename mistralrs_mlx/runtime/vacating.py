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

    def make_room(self, missing: int, beside: Entry) -> bool:
        """Free so many bytes; False, and nothing is unloaded, if that is not possible."""
        return _unload(_enough(self._others(beside), missing))

    def quiet(self, beside: Entry, until: ExitStack) -> None:
        """Wait until the others have answered all; they begin nothing before `until` is closed."""
        for each in self._others(beside):
            until.enter_context(each.paused())

    def _others(self, beside: Entry) -> list[Entry]:
        return [each for each in self._loaded() if each is not beside]


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
