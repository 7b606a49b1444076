"""A lazy computation as MLX shows it: its primitives, and which of them read which."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mlx.core as mx

__all__ = ["Graph"]

VIEWS = {
    "AsStrided",
    "Broadcast",
    "BroadcastAxes",
    "ExpandDims",
    "Flatten",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "StopGradient",
    "Transpose",
    "Unflatten",
    "View",
}
"""Primitives that launch no kernel: they look at memory in another way."""

PRODUCTS = {"AddMM", "Matmul", "QuantizedMatmul"}
LINE = re.compile(
    r"""
    \{\s(?P<node>\d+)\s\[label\s?=\s*"(?P<name>\S+)[^"]*",\sshape=rectangle\];\s\}
    | "(?P<read>\w+)"\s->\s\d+
    | \d+\s->\s"(?P<written>\w+)"
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The primitives' names in order, and for each the places of those that read its output."""

    names: list[str]
    readers: list[set[int]]

    @classmethod
    def of(cls, arrays: Sequence[mx.array]) -> "Graph":
        """Everything that would have to run for these arrays to be there."""
        text = io.StringIO()
        mx.export_to_dot(text, *arrays)
        names: list[str] = []
        readers: list[set[int]] = []
        writer: dict[str, int] = {}
        for line in LINE.finditer(text.getvalue()):  # inputs come before what they are inputs of
            if line["name"]:  # calls of one compiled function share a number, so it tells nothing
                names.append(line["name"])
                readers.append(set())
            elif line["written"]:
                writer[line["written"]] = len(names) - 1
            elif line["read"] in writer:
                readers[writer[line["read"]]].add(len(names) - 1)
        return cls(names=names, readers=readers)

    @property
    def kernels(self) -> Counter[str]:
        """How many primitives of each name launch a kernel."""
        return self._launched(range(len(self.names)))

    @property
    def last_product(self) -> int | None:
        """The matrix product on which no other depends; of several the one most is made of."""
        products = {place for place, name in enumerate(self.names) if name in PRODUCTS}
        tails = {place: self.after(place) for place in products}
        final = [place for place in sorted(products) if not tails[place] & products]
        return max(final, key=lambda place: len(tails[place]), default=None)

    def after(self, place: int) -> set[int]:
        """Everything that depends on a primitive."""
        found: set[int] = set()
        waiting = [place]
        while waiting:
            fresh = self.readers[waiting.pop()] - found
            found |= fresh
            waiting.extend(fresh)
        return found

    def launches(self, places: Iterable[int]) -> int:
        """How many of these launch a kernel."""
        return self._launched(places).total()

    def _launched(self, places: Iterable[int]) -> Counter[str]:
        return Counter(name for place in places if (name := self.names[place]) not in VIEWS)
