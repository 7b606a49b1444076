"""Where one pass writes and looks in the arenas: columns and masks, from host integers alone.

A token at position p lives in column `p % capacity` of its row. While a row is shorter than the
capacity this is plain order; a windowed arena stops growing and becomes a ring. Keys hold their
rotation, so attention does not mind the order: the mask compares positions.
"""

from dataclasses import dataclass, field
from functools import cache, partial

import mlx.core as mx

__all__ = ["FEW", "Span", "Track"]

BLOCK = 512  # the most tokens that one pass may add to a windowed row
GROWTH = 256  # columns; capacities are multiples of it
FEW = 8  # queries of a row; up to so many Metal's attention reads a mask in order, or copies it

Index = tuple[mx.array, mx.array]


@dataclass(frozen=True)
class Span:
    """Rows, columns and mask of one pass, the same for every cache of one window."""

    start: int
    stop: int
    slots: int  # rows that the arena must hold
    capacity: int  # columns that the arena must hold
    target: slice | Index  # of the new tokens: one slice of columns, or (B, 1) rows, (B, L) columns
    visible: int  # attention looks at this many leading columns
    mask: mx.array | str | None  # for `mx.fast.scaled_dot_product_attention`
    _kept: dict[tuple[int, ...], tuple[mx.array, ...]] = field(default_factory=dict, compare=False)
    _masks: dict[int, mx.array] = field(default_factory=dict, compare=False)

    def place(self, heads: int) -> tuple[mx.array, ...]:
        """Rows, heads and columns of the new tokens, where they do not follow each other.

        All are (B, heads, L): what must be broadcast would else be so in every layer.
        """
        if (heads,) not in self._kept:
            rows, columns = self._index
            each = (rows[:, None], _heads(heads), columns[:, None])
            shape = (columns.shape[0], heads, columns.shape[1])
            self._kept[heads,] = tuple(mx.broadcast_to(x, shape) for x in each)
        return self._kept[heads,]

    def along(self, heads: int, dims: int) -> mx.array:
        """The columns alone, (B, heads, L, dims), for arenas that have no other rows."""
        if (heads, dims) not in self._kept:
            _, columns = self._index
            shape = (columns.shape[0], heads, columns.shape[1], dims)
            self._kept[heads, dims] = (mx.broadcast_to(columns[:, None, :, None], shape),)
        return self._kept[heads, dims][0]

    def mask_of(self, heads: int) -> mx.array | str | None:
        """The mask, written out for each of so many heads where every layer would do that again."""
        mask = self.mask
        if not isinstance(mask, mx.array) or mask.shape[0] == 1 or mask.shape[2] > FEW:
            return mask
        if heads not in self._masks:
            shape = (mask.shape[0], heads, *mask.shape[2:])
            self._masks[heads] = mx.contiguous(mx.broadcast_to(mask, shape))
        return self._masks[heads]

    @property
    def _index(self) -> Index:
        assert not isinstance(self.target, slice)
        return self.target


class Track:
    """The columns that all caches with the same window share. Knows lengths, holds no arrays."""

    def __init__(self, window: int | None, block: int = BLOCK, growth: int = GROWTH) -> None:
        self.window, self.block, self.growth = window, block, growth
        self.capacity = 0

    def span(self, rows: range, slots: int, offsets: list[int], length: int) -> Span:
        """Plan a pass that adds `length` tokens to each row at its own offset."""
        if self.window is not None and length > self.block:
            raise ValueError(f"a pass of {length} tokens; a windowed cache takes {self.block}")
        end = max(offsets) + length
        self.reserve(end)
        visible = min(end, self.capacity)
        target = self._target(rows, offsets, length)
        mask = self._mask(offsets, length, visible)
        return Span(rows.start, rows.stop, slots, self.capacity, target, visible, mask)

    def place(self, row: int, slots: int, start: int, stop: int) -> Span:
        """Where the positions [start, stop) of one row go. At most a window's length of them."""
        self.reserve(stop)
        target = self._target(range(row, row + 1), [start], stop - start)
        visible = min(stop, self.capacity)
        return Span(row, row + 1, slots, self.capacity, target, visible, None)

    def columns(self, start: int, stop: int) -> mx.array:
        """Where the positions [start, stop) of a row are."""
        return mx.arange(start, stop) % self.capacity

    def keeps(self, high: int, length: int) -> bool:
        """Whether a row that once had `high` tokens can be cut to `length` and go on."""
        if self.window is None or high <= self.capacity:
            return True
        return high - length <= self.capacity - self.window

    def grown(self, end: int) -> int:
        """The capacity with which rows may have `end` tokens."""
        if end <= self.capacity:
            return self.capacity
        needed = max(end, self.capacity + self.capacity // 8)  # copies stay amortised
        if self.window is not None:
            needed = min(needed, self.window + self.block)
        return max(self.capacity, -(-needed // self.growth) * self.growth)

    def reserve(self, end: int) -> None:
        """Let the next pass make room for rows of `end` tokens."""
        self.capacity = self.grown(end)

    def seen(self, last: mx.array) -> mx.array:
        """Which columns a row may look at whose newest token is at `last`, (B, 1, 1, 1)."""
        window = self.window or self.capacity
        sizes = (mx.array(n, mx.int32) for n in (self.capacity, window))
        return _seen(_columns(self.capacity), last, last, *sizes)

    def _target(self, rows: range, offsets: list[int], length: int) -> slice | Index:
        first = offsets[0] % self.capacity
        if len(set(offsets)) == 1 and first + length <= self.capacity:
            return slice(first, first + length)
        columns = [
            [(offset + token) % self.capacity for token in range(length)] for offset in offsets
        ]
        # of one unsigned type and made by the host, or every layer's scatter would cast them
        return mx.array([[row] for row in rows], mx.uint32), mx.array(columns, mx.uint32)

    def _mask(self, offsets: list[int], length: int, visible: int) -> mx.array | str | None:
        ends = [offset + length for offset in offsets]
        short = self.window is None or max(ends) <= self.window
        if short and len(set(offsets)) == 1:
            return "causal" if length > 1 else None
        if len(set(offsets)) == 1:
            offsets, ends = offsets[:1], ends[:1]
        last = mx.array([[[[end - 1]]] for end in ends], mx.int32)
        columns = _columns(self.capacity)[:visible]
        if self.window is None and length == 1:  # no ring, and one look back from the end
            return columns <= last
        query = (
            last if length == 1 else last + _columns(self.capacity)[:length, None] - (length - 1)
        )
        window = self.window or self.capacity
        return _seen(
            columns, query, last, *(mx.array(n, mx.int32) for n in (self.capacity, window))
        )


@cache
def _heads(count: int) -> mx.array:
    """The heads of an arena as an index, (1, heads, 1)."""
    heads = mx.arange(count, dtype=mx.uint32)[None, :, None]
    mx.eval(heads)
    return heads


@cache
def _columns(count: int) -> mx.array:
    """0, 1, 2 and so on, computed once and for every thread."""
    columns = mx.arange(count, dtype=mx.int32)
    mx.eval(columns)
    return columns


@partial(mx.compile, shapeless=True)
def _seen(
    columns: mx.array, query: mx.array, last: mx.array, capacity: mx.array, window: mx.array
) -> mx.array:
    """Whether the query at a position sees what is in a column of a ring."""
    key = last - (last - columns) % capacity  # negative where nothing is yet
    return (key >= 0) & (key <= query) & (key > query - window)
