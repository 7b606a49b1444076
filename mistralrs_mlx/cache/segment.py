"""A stretch of what one row remembers, taken out of the arenas."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import mlx.core as mx

__all__ = ["NOTHING", "Segment", "joined"]

Layers = tuple[tuple[mx.array, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """The columns of positions [start, stop), layer by layer, in memory of their own.

    Layers with a window have the columns from `lows[window]` on only; state layers have none.
    """

    start: int
    stop: int
    windows: Sequence[int | None]  # of the layers
    lows: Mapping[int | None, int]
    layers: Layers  # arrays (1, heads, columns, dims)

    @cached_property
    def nbytes(self) -> int:
        return sum(array.nbytes for arrays in self.layers for array in arrays)

    def arrays(self) -> list[mx.array]:
        return [array for arrays in self.layers for array in arrays]

    def part(self, start: int, stop: int) -> "Segment":
        """The positions [start, stop) of it, which it must have, as views."""
        lows = {window: _within(low, start, stop) for window, low in self.lows.items()}
        layers = tuple(
            self._cut(layer, self._low(layer, start, stop), stop)
            for layer in range(len(self.layers))
        )
        return Segment(start=start, stop=stop, windows=self.windows, lows=lows, layers=layers)

    def standing_alone(self) -> "Segment":
        """The same columns, sharing no memory with what they were cut from."""
        layers = tuple(tuple(mx.contiguous(x) for x in arrays) for arrays in self.layers)
        return Segment(
            start=self.start, stop=self.stop, windows=self.windows, lows=self.lows, layers=layers
        )

    def columns(self, layer: int, start: int) -> tuple[mx.array, ...]:
        """One layer's columns from a position on, as far as they are here; () for none."""
        return self._cut(layer, self._low(layer, start, self.stop), self.stop)

    def _low(self, layer: int, start: int, stop: int) -> int:
        return _within(self.lows[self.windows[layer]], start, stop) if self.layers[layer] else stop

    def _cut(self, layer: int, start: int, stop: int) -> tuple[mx.array, ...]:
        if start >= stop:
            return ()
        low = self.lows[self.windows[layer]]
        if (start, stop) == (low, self.stop):
            return self.layers[layer]
        return tuple(array[:, :, start - low : stop - low] for array in self.layers[layer])


NOTHING = Segment(start=0, stop=0, windows=(), lows={}, layers=())


def joined(segments: Iterable[Segment], layer: int, start: int) -> list[mx.array]:
    """The columns of one layer from a position on, those of all segments in a row."""
    present = [columns for each in segments if (columns := each.columns(layer, start))]
    if len(present) == 1:
        return list(present[0])
    return [mx.concatenate(list(arrays), axis=2) for arrays in zip(*present, strict=True)]


def _within(low: int, start: int, stop: int) -> int:
    return min(max(low, start), stop)
