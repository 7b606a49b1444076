"""A node of the prefix cache's tree, with the edge that leads to it."""

from collections.abc import Hashable, Iterator, Sequence

import mlx.core as mx

from .segment import NOTHING, Segment

__all__ = ["Node"]


class Node:
    """Tokens that one or more sequences have in common, and what the layers remember of them."""

    def __init__(
        self,
        keys: tuple[Hashable, ...] = (),
        segment: Segment = NOTHING,
        parent: "Node | None" = None,
    ) -> None:
        self.keys, self.segment, self.parent = keys, segment, parent
        self.children: dict[Hashable, Node] = {}  # by the first of their keys
        self.lost: set[Hashable] = set()  # first keys of children that were forgotten
        self.sequences = 0  # that end here or below
        self.states: tuple[tuple[mx.array, ...], ...] | None = None  # after the last token

    @property
    def start(self) -> int:
        return self.segment.start

    @property
    def stop(self) -> int:
        return self.segment.stop

    @property
    def windows(self) -> list[int]:
        return [window for window in self.segment.lows if window is not None]

    @property
    def nbytes(self) -> int:
        states = sum(array.nbytes for arrays in self.states or () for array in arrays)
        return self.segment.nbytes + states

    def arrays(self) -> list[mx.array]:
        return [*self.segment.arrays(), *(x for arrays in self.states or () for x in arrays)]

    def above(self) -> "Iterator[Node]":
        """The nodes between this one and the root, the nearest first."""
        node = self.parent
        while node is not None and node.parent is not None:
            yield node
            node = node.parent

    def below(self) -> "Iterator[Node]":
        """This node and all that follow it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            waiting += node.children.values()
            yield node

    def walk(self, keys: Sequence[Hashable]) -> "tuple[list[Node], int]":
        """The nodes along which these keys lead, the last perhaps in part, and how many keys."""
        path: list[Node] = []
        node, done = self, 0
        while done == node.stop and done < len(keys) and keys[done] in node.children:
            node = node.children[keys[done]]
            path.append(node)
            done += _alike(node.keys, tuple(keys[done : done + len(node.keys)]))
        return path, done

    def grow(self, keys: tuple[Hashable, ...], segment: Segment) -> "Node":
        """Add a child."""
        child = self.children[keys[0]] = Node(keys, segment, self)
        self.lost.discard(keys[0])
        return child

    def split(self, at: int) -> "Node":
        """Part the edge before the token at this position, and return the upper node."""
        assert self.parent is not None
        segment, count = self.segment, at - self.start
        upper = self.parent.grow(self.keys[:count], segment.part(self.start, at).standing_alone())
        upper.sequences = self.sequences
        self.keys, self.parent = self.keys[count:], upper
        self.segment = segment.part(at, segment.stop).standing_alone()
        upper.children[self.keys[0]] = self
        mx.eval(upper.arrays(), self.arrays())
        return upper

    def count(self, change: int) -> None:
        """Say that a sequence more or less ends here. Nodes without any are let go."""
        for node in (self, *self.above()):
            node.sequences += change
            if node.sequences == 0 and node.parent is not None:
                del node.parent.children[node.keys[0]]
                node.parent.lost.add(node.keys[0])


def _alike(one: tuple[Hashable, ...], other: tuple[Hashable, ...]) -> int:
    """How many of their first elements are equal."""
    if one == other:
        return len(one)
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
