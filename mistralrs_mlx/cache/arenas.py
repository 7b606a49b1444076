"""What the caches of all attention layers have in common: the arenas that they are made of."""

from collections.abc import Iterator, Sequence

import mlx.core as mx

from .columns import Columns, QuantizedColumns
from .span import Span

__all__ = ["Arenas"]


class Arenas:
    """One layer's arenas, in which a token has the same row and column everywhere."""

    window: int | None = None

    def __init__(self, *columns: Columns | QuantizedColumns) -> None:
        self._leaves = tuple(leaf for each in columns for leaf in each.leaves)

    @property
    def nbytes(self) -> int:
        return sum(leaf.nbytes for leaf in self._leaves)

    def copy(self, source: int, target: int) -> None:
        """Give row `target` the contents of row `source`."""
        for leaf in self._leaves:
            leaf.copy(source, target)

    def fit(self, slots: int) -> None:
        """Give back the memory of all slots but the first ones."""
        for leaf in self._leaves:
            leaf.fit(slots)

    def grow(self, slots: int, capacity: int) -> None:
        """Make room ahead of a pass."""
        for leaf in self._leaves:
            leaf.grow(slots, capacity)

    def put_arrays(self, arrays: Iterator[mx.array]) -> None:
        """Let other arrays be what `arrays` gave."""
        for leaf in self._leaves:
            leaf.buffer = next(arrays)

    def arrays(self) -> list[mx.array]:
        """What must be evaluated for this cache to stand on its own."""
        return [leaf.buffer for leaf in self._leaves if leaf.buffer is not None]

    def take(self, row: int, columns: mx.array) -> tuple[mx.array, ...]:
        """Copies of some columns of a row as they are stored, (1, heads, columns, dims) each."""
        return tuple(leaf.take(row, columns) for leaf in self._leaves)

    def put(self, columns: Sequence[mx.array], span: Span) -> None:
        """Write back what `take` gave, where the span says."""
        for leaf, new in zip(self._leaves, columns, strict=True):
            leaf.write(new, span)
