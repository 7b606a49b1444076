"""A decode step whose positions are arrays, so that one compiled function serves many steps.

A plain pass knows how long its rows are and looks at no more columns than they have. Here it looks
at whole arenas under a mask, and their shapes are all that it depends on.
"""

from collections.abc import Hashable, Iterator, Sequence

import mlx.core as mx

from .caches import Caches
from .span import Span, Track
from .step import Step

__all__ = ["Traced"]


class Traced:
    """The caches of a model, as arrays that go into a function and come out of it."""

    def __init__(self, caches: Caches, rows: int) -> None:
        """Let the arenas grow to what one more token for the first `rows` rows needs."""
        self._caches, self._rows = caches, rows
        caches.reserve(max(caches.lengths[:rows]) + 1)
        caches.grow()

    @property
    def shapes(self) -> Hashable:
        """What a function that was compiled for these caches depends on."""
        capacities = tuple(track.capacity for track in self._caches.tracks.values())
        return self._rows, self._caches.slots, capacities

    def arrays(self) -> list[mx.array]:
        """What goes in."""
        return self._caches.arrays()

    def put(self, arrays: Sequence[mx.array]) -> None:
        """Take what came out, or what stands for it while a function is traced."""
        each: Iterator[mx.array] = iter(arrays)
        for layer in self._caches.layers:
            layer.put_arrays(each)

    def step(self, offsets: mx.array, ends: list[int]) -> Step:
        """One token for each row: `offsets` (B,) int32 are their positions.

        Of `ends`, as in a plain step, only what `shapes` and the caller tell apart may be used.
        """
        caches, rows = self._caches, range(self._rows)
        spans = {
            window: _span(track, rows, caches.slots, offsets)
            for window, track in caches.tracks.items()
        }
        step = Step(
            rows,
            caches.slots,
            length=1,
            offsets=[end - 1 for end in ends],
            ends=ends,
            spans=spans,
            caches=caches.layers,
        )
        step.offset = offsets
        return step


def _span(track: Track, rows: range, slots: int, offsets: mx.array) -> Span:
    columns = (offsets % track.capacity).astype(mx.uint32)[:, None]
    target = mx.array([[row] for row in rows], mx.uint32), columns
    mask = track.seen(offsets[:, None, None, None])
    return Span(rows.start, rows.stop, slots, track.capacity, target, track.capacity, mask)
