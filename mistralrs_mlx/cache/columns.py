"""Arenas of key or value columns, shaped (slots, heads, capacity, dims)."""

import mlx.core as mx

from .layout import Packing
from .span import Span

__all__ = ["Columns", "QuantizedColumns"]


class Columns:
    """One arena. It grows as the span asks; writing touches only the columns written."""

    def __init__(self) -> None:
        self.buffer: mx.array | None = None  # nothing has been written

    @property
    def leaves(self) -> "tuple[Columns, ...]":
        return (self,)

    @property
    def nbytes(self) -> int:
        return 0 if self.buffer is None else self.buffer.nbytes

    def write(self, new: mx.array, span: Span) -> mx.array:
        """Store (B, heads, L, dims), then return all visible columns of these rows."""
        buffer = self._fitting(new, span)
        if isinstance(span.target, slice):
            buffer[span.start : span.stop, :, span.target] = new
        elif new.shape[0] == buffer.shape[0]:  # the same with fewer nodes for the host to build
            along = span.along(new.shape[1], new.shape[3])
            buffer = mx.put_along_axis(buffer, along, new, axis=2)
        else:
            buffer[span.place(new.shape[1])] = new
        self.buffer = buffer
        return buffer[span.start : span.stop, :, : span.visible]

    def copy(self, source: int, target: int) -> None:
        """Give row `target` the contents of row `source`."""
        if self.buffer is None or source >= self.buffer.shape[0]:
            return
        self.buffer = self._resized(max(self.buffer.shape[0], target + 1), self.buffer.shape[2])
        # A gather has its own memory; a slice would share the arena and make the update copy it.
        row = mx.take(self.buffer, mx.array([source]), axis=0)
        mx.eval(row)
        self.buffer[target : target + 1] = row

    def fit(self, slots: int) -> None:
        """Give back the memory of all slots but the first ones."""
        if self.buffer is not None and slots < self.buffer.shape[0]:
            kept = mx.take(self.buffer, mx.arange(slots), axis=0)
            mx.eval(kept)
            self.buffer = kept

    def take(self, row: int, columns: mx.array) -> mx.array:
        """A copy of some columns of a row, (1, heads, columns, dims)."""
        assert self.buffer is not None
        # Here, too, a slice would share the arena.
        return mx.take(self.buffer[row : row + 1], columns, axis=2)

    def grow(self, slots: int, capacity: int) -> None:
        """Make room, if a pass has written here before."""
        if self.buffer is not None:
            self.buffer = self._resized(slots, capacity)

    def _fitting(self, new: mx.array, span: Span) -> mx.array:
        if self.buffer is None:
            heads, dims = new.shape[1], new.shape[3]
            self.buffer = mx.zeros((span.slots, heads, span.capacity, dims), new.dtype)
        return self._resized(span.slots, span.capacity)

    def _resized(self, slots: int, capacity: int) -> mx.array:
        old = self.buffer
        assert old is not None
        if slots <= old.shape[0] and capacity <= old.shape[2]:
            return old
        shape = (
            max(slots, old.shape[0]),
            old.shape[1],
            max(capacity, old.shape[2]),
            old.shape[3],
        )
        buffer = mx.zeros(shape, old.dtype)
        buffer[: old.shape[0], :, : old.shape[2]] = old
        return buffer


class QuantizedColumns:
    """Columns stored as packed integers, scales and biases."""

    def __init__(self, packing: Packing) -> None:
        self.bits, self.group_size = packing.bits, packing.group_size
        self.leaves = (Columns(), Columns(), Columns())

    def write(self, new: mx.array, span: Span) -> tuple[mx.array, ...]:
        """Quantize and store, then return packed columns, scales and biases of these rows."""
        packed = mx.quantize(new, group_size=self.group_size, bits=self.bits)
        return tuple(leaf.write(x, span) for leaf, x in zip(self.leaves, packed, strict=True))
