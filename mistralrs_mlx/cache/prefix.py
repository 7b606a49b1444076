"""What earlier sequences have computed, kept for those that begin alike.

A radix tree over tokens. Each edge holds the columns of its tokens once, however many sequences run
along it. What a sequence can take over ends anywhere for layers that remember everything; where
their window is still covered for layers that have one; and where states were kept for those that
carry a state.
"""

import logging
from collections.abc import Hashable, Iterator, Sequence

import mlx.core as mx

from .caches import Caches
from .node import Node

__all__ = ["PrefixCache"]

log = logging.getLogger(__name__)

Keys = Sequence[Hashable]

KEPT_STATES = 4  # of one sequence: the first, and the latest


class PrefixCache:
    """Remembers up to `sequences` sequences and `limit` bytes; the oldest are forgotten first.

    Keys stand for tokens, one each: equal keys must mean equal contents of the caches. `salt` keeps
    apart what must never be shared, such as sequences of different adapters. Sequences longer than
    `steady` tokens turn their keys as their lengths say, and are not to be given to it.
    """

    def __init__(self, *, sequences: int, limit: int, steady: int | None = None) -> None:
        self.sequences, self.limit, self.steady = sequences, limit, steady
        self._roots: dict[Hashable, Node] = {}
        self._ends: dict[Node, None] = {}  # of the sequences, the oldest first

    @property
    def nbytes(self) -> int:
        return sum(node.nbytes for root in self._roots.values() for node in root.below())

    def __len__(self) -> int:
        """How many sequences are remembered."""
        return len(self._ends)

    def restore(self, caches: Caches, row: int, keys: Keys, salt: Hashable = ()) -> int:
        """Fill a fresh row with what is known of its prompt, and return how many tokens it is.

        The last one is never among them: its logits are wanted.
        """
        root = self._roots.get(salt, Node())
        path, known = root.walk(keys)
        path, length = _usable(path, min(known, len(keys) - 1), caches.recurs)
        if length:
            segments = [node.segment for node in path]
            segments[-1] = segments[-1].part(path[-1].start, length)
            caches.put(row, segments, path[-1].states)
        if log.isEnabledFor(logging.DEBUG):
            reason = self._reason(salt, keys, length)
            log.debug("prefix cache: %d of %d tokens: %s", length, len(keys), reason)
        return length

    def store(self, caches: Caches, row: int, keys: Keys, salt: Hashable = ()) -> None:
        """Remember the first tokens of a row, which these keys stand for.

        Only what is new is copied. Layers that carry a state have it only for the row's last token.
        """
        if not keys or not caches.holds(row, len(keys)):
            return
        path, known = self._roots.setdefault(salt, Node()).walk(keys)
        node = path[-1] if path else self._roots[salt]
        if known < node.stop:
            node = node.split(known)
        if known < len(keys):
            segment = caches.take(row, known, len(keys), end=len(keys))
            if segment.nbytes > self.limit:  # before it is computed: there may be no memory for it
                log.debug("prefix cache: %d bytes exceed the limit", segment.nbytes)
                return
            node = node.grow(tuple(keys[known:]), segment)
        _mend(node, caches, row)
        if caches.recurs and node.states is None:
            node.states = caches.states(row)
        # At once: the arena's next update must not find a reader that waits.
        mx.eval(node.arrays(), [each.arrays() for each in node.above()])
        self._remember(node)
        own = sum(each.nbytes for each in _and_above(node) if each.sequences == 1)
        if own > self.limit:
            log.debug("prefix cache: %d bytes exceed the limit of %d", own, self.limit)
            self._forget(node)
        self.shrink(self.limit)

    def shrink(self, to_bytes: int) -> None:
        """Forget the oldest sequences until the rest takes no more than this."""
        while self._ends and (len(self._ends) > self.sequences or self.nbytes > to_bytes):
            self._forget(next(iter(self._ends)))

    def clear(self) -> None:
        """Forget everything."""
        for end in list(self._ends):  # nodes know each other, and would await the collector
            self._forget(end)
        self._roots = {}

    def _remember(self, end: Node) -> None:
        """Note that a sequence ends here, and no more where it ended when it was shorter."""
        if end in self._ends:
            del self._ends[end]
        else:
            end.count(1)
        self._ends[end] = None
        for shorter in [node for node in end.above() if node in self._ends]:
            del self._ends[shorter]
            shorter.count(-1)
        own = [node for node in end.above() if node.states is not None and node.sequences == 1]
        for node in own[KEPT_STATES - 2 : -1]:  # from the end upwards
            node.states = None

    def _forget(self, end: Node) -> None:
        del self._ends[end]
        end.count(-1)

    def _reason(self, salt: Hashable, keys: Keys, length: int) -> str:
        """Why no more tokens were taken over, for people."""
        root = self._roots.get(salt)
        if root is None:
            others = any(keys[0] in other.children for other in self._roots.values())
            return "known for another adapter or context only" if others else "no entry"
        path, known = root.walk(keys)
        if length < min(known, len(keys) - 1):
            return f"{known} are known, but no boundary is stored from {length} on"
        last = path[-1] if path else root
        if known >= len(keys) - 1:
            return "all but the last"
        if known == last.stop and keys[known] in last.lost:
            return f"evicted from token {known} on"
        if not isinstance(keys[known], int):
            return f"other media at token {known}"
        return f"differs at token {known}" if path else "no entry"


def _usable(path: list[Node], length: int, recurs: bool) -> tuple[list[Node], int]:
    """The longest part of a path, at most `length` tokens, with which a row can begin."""
    for count in range(len(path), 0, -1):
        nodes = path[:count]
        stop = min(nodes[-1].stop, length)
        stateful = nodes[-1].states is not None and stop == nodes[-1].stop
        if stop > nodes[-1].start and (stateful or not recurs) and _covered(nodes, stop):
            return nodes, stop
    return [], 0


def _covered(path: list[Node], stop: int) -> bool:
    """Whether all windows that end at `stop` are there."""
    return all(_begin(path, window) <= max(0, stop - window) for window in path[-1].windows)


def _begin(path: list[Node], window: int) -> int:
    """From where on the columns of a window are there without a gap."""
    for node in reversed(path):
        if node.segment.lows[window] > node.start:
            return node.segment.lows[window]
    return 0


def _mend(end: Node, caches: Caches, row: int) -> None:
    """Take windows' columns again where older sequences, which ended later, did not need them."""
    for node in _and_above(end):
        for window in node.windows:
            if node.segment.lows[window] > max(node.start, end.stop - window):
                node.segment = caches.take(row, node.start, node.stop, end=end.stop)
                break


def _and_above(node: Node) -> Iterator[Node]:
    yield node
    yield from node.above()
