"""Marks such as `<think>`, found in a text that arrives in pieces."""

import re
from collections.abc import Iterable
from functools import cache

__all__ = ["Marks", "any_of"]


class Marks:
    """Several marks that are looked for at once, in time that grows with the text alone.

    >>> marks = Marks(["<think>", "</think>"])
    >>> marks.find("a <think> b"), marks.find("a </th"), marks.find("a < b")
    ((2, '<think>'), (2, None), (5, None))
    """

    def __init__(self, marks: Iterable[str]) -> None:
        longest_first = sorted(set(marks), key=len, reverse=True)
        pattern = "|".join(re.escape(mark) for mark in longest_first)
        self._whole = re.compile(pattern or "(?!)")
        self._halves = {mark[:end] for mark in longest_first for end in range(1, len(mark))}
        self._longest = max(map(len, self._halves), default=0)
        beginnings = sorted({re.escape(mark[:1]) for mark in longest_first})
        self._beginning = re.compile("|".join(beginnings) or "(?!)")

    def find(self, text: str, start: int = 0) -> tuple[int, str | None]:
        """Return where the first mark stands, and the mark itself.

        Without one, return the place up to which the text is certainly no part of a mark.
        """
        found = self._whole.search(text, start)
        if found is not None:
            return found.start(), found[0]
        beginning = self._beginning.search(text, max(start, len(text) - self._longest))
        if beginning is None:
            return len(text), None
        for place in range(beginning.start(), len(text)):
            if text[place:] in self._halves:
                return place, None
        return len(text), None


@cache
def any_of(*marks: str) -> Marks:
    """Return `Marks` that are made only once, for the marks of a format."""
    return Marks(marks)
