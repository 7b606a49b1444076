"""The memory of a whole model for a changing set of rows."""

from collections.abc import Hashable, Sequence

import mlx.core as mx

from .forecast import Extent
from .kv import KVCache, QuantizedKVCache
from .latent import LatentCache
from .layout import Attends, Compresses, Memory, Packing, Recurs
from .segment import Segment, joined
from .span import BLOCK, GROWTH, Track
from .state import StateCache
from .step import Step

__all__ = ["Caches", "LayerCache"]

LayerCache = KVCache | LatentCache | QuantizedKVCache | StateCache


class Caches:
    """One cache per layer. Row i lives in slot i of each arena; rows [0, len) are in use.

    Joining writes into the next free slot. Leaving moves the last row into the gap, so the rows
    stay together and no other row's columns are copied.
    """

    def __init__(
        self,
        layout: Sequence[Memory],
        *,
        packing: Packing | None = None,
        block: int = BLOCK,
        growth: int = GROWTH,
    ) -> None:
        self.layers: list[LayerCache] = [_build(memory, packing) for memory in layout]
        windows = {memory.window for memory in layout if isinstance(memory, Attends)}
        self.tracks = {window: Track(window, block, growth) for window in windows}
        self._block = block if any(window is not None for window in windows) else None
        self.slots = 0  # rows that the arenas hold, or will with the next pass
        self._grown: Hashable = None  # what they have been made to hold
        self.lengths: list[int] = []  # tokens remembered, per row
        self.prompts: list[int] = []  # how long each row's prompt is going to be
        self._highs: list[int] = []  # the most tokens each row ever remembered
        self._floors: list[int] = []  # rows that were put in cannot go back behind this

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    @property
    def recurs(self) -> bool:
        """Whether some layers carry a state, of which only the latest is there."""
        return any(isinstance(layer, StateCache) for layer in self.layers)

    @property
    def forgets(self) -> bool:
        """Whether some layers do not remember all of a row."""
        return self.recurs or any(window is not None for window in self.tracks)

    @property
    def longest_pass(self) -> int | None:
        """The most tokens that one pass may add to a row; None: any number."""
        return self._block

    def extent(self, rows: int, columns: int) -> Extent:
        """How large the arenas become for so many rows, the longest of so many tokens."""
        slots = self.slots
        while slots < rows:
            slots = max(1, 2 * slots)
        capacities = {window: track.grown(columns) for window, track in self.tracks.items()}
        return Extent(slots=slots, capacities=capacities)

    def reserve(self, columns: int) -> None:
        """Let the arenas grow once, with the next pass, to what rows of this length need."""
        for track in self.tracks.values():
            track.reserve(columns)

    def grow(self) -> None:
        """Make the arenas now what the next pass would make of them."""
        planned = (self.slots, *(track.capacity for track in self.tracks.values()))
        if planned == self._grown:
            return
        for layer in self.layers:
            track = self.tracks.get(layer.window)
            layer.grow(self.slots, 0 if track is None else track.capacity)
        self._grown = planned

    def fit(self) -> bool:
        """Give back slots that are free, one layer after the other. False: there are none."""
        slots = 1
        while slots < len(self.lengths):
            slots *= 2
        if slots >= self.slots:
            return False
        self.slots, self._grown = slots, None
        for layer in self.layers:
            layer.fit(slots)
        return True

    def advance(self, rows: int) -> list[int]:
        """Give the first rows one token each, as a step does, and return their lengths before."""
        before = self.lengths[:rows]
        for row in range(rows):
            self.lengths[row] += 1
            self._highs[row] = max(self._highs[row], self.lengths[row])
        return before

    def add(self, prompt: int = 0) -> int:
        """Open a row whose prompt will have this many tokens, and return its index."""
        for fact, value in zip(self._facts, (0, prompt, 0, 0), strict=True):
            fact.append(value)
        row = len(self.lengths) - 1
        while self.slots <= row:
            self.slots = max(1, 2 * self.slots)
        self._forget(row)
        return row

    def remove(self, row: int) -> None:
        """Close a row. The last row takes its place."""
        self.move(len(self.lengths) - 1, row)
        self.pop()

    def move(self, source: int, target: int) -> None:
        """Let row `target` become what row `source` is."""
        if source == target:
            return
        for layer in self.layers:
            layer.copy(source, target)
        for fact in self._facts:
            fact[target] = fact[source]

    def pop(self) -> None:
        """Close the last row."""
        for fact in self._facts:
            fact.pop()

    def copy(self, row: int) -> int:
        """Open another row with the same contents, and return its index."""
        new = self.add(self.prompts[row])
        for layer in self.layers:
            layer.copy(row, new)
        for fact in self._facts:
            fact[new] = fact[row]
        return new

    def trim(self, row: int, length: int) -> bool:
        """Forget a row's tokens from `length` on. False, and no change, where it cannot be."""
        if length == self.lengths[row]:
            return True
        if length == 0:
            self._forget(row)
            self.lengths[row] = self._highs[row] = self._floors[row] = 0
            return True
        if self.recurs or not self.holds(row, length):
            return False
        self.lengths[row] = length
        return True

    def holds(self, row: int, length: int) -> bool:
        """Whether the columns are there that a row of `length` tokens would look at."""
        if length < self._floors[row]:
            return False
        return all(track.keeps(self._highs[row], length) for track in self.tracks.values())

    def take(self, row: int, start: int, stop: int, *, end: int) -> Segment:
        """Copies of a row's columns of [start, stop), as far as a row of `end` tokens sees them.

        And one more of each window: the same prompt again computes its last token.
        """
        lows = {
            window: start
            if window is None
            else min(max(start, end - window - 1, self._oldest(row, window)), stop)
            for window in self.tracks
        }
        columns = {window: self.tracks[window].columns(low, stop) for window, low in lows.items()}
        layers = tuple(
            ()
            if isinstance(layer, StateCache) or lows[layer.window] == stop
            else layer.take(row, columns[layer.window])
            for layer in self.layers
        )
        windows = [layer.window for layer in self.layers]
        return Segment(start=start, stop=stop, windows=windows, lows=lows, layers=layers)

    def states(self, row: int) -> tuple[tuple[mx.array, ...], ...]:
        """Copies of a row's states, layer by layer; nothing for layers that have none."""
        return tuple(
            layer.take(row) if isinstance(layer, StateCache) else () for layer in self.layers
        )

    def put(
        self,
        row: int,
        segments: Sequence[Segment],
        states: Sequence[tuple[mx.array, ...]] | None = None,
    ) -> None:
        """Let a fresh row remember these segments, the first of which begins at 0, and states."""
        length = segments[-1].stop
        for index, layer in enumerate(self.layers):
            if isinstance(layer, StateCache):
                layer.put(row, self.slots, () if states is None else states[index])
                continue
            start = 0 if layer.window is None else max(0, length - layer.window)
            span = self.tracks[layer.window].place(row, self.slots, start, length)
            layer.put(joined(segments, index, start), span)
        self.lengths[row] = self._highs[row] = length
        self._floors[row] = length if self.forgets else 0

    def step(self, start: int, stop: int, length: int) -> Step:
        """Give rows [start, stop) `length` new tokens each. Their lengths advance now."""
        rows = range(start, stop)
        offsets = self.lengths[start:stop]
        spans = {
            window: track.span(rows, self.slots, offsets, length)
            for window, track in self.tracks.items()
        }
        for row in rows:
            self.lengths[row] += length
            self._highs[row] = max(self._highs[row], self.lengths[row])
        ends = [max(self.lengths[row], self.prompts[row]) for row in rows]
        return Step(
            rows,
            self.slots,
            length=length,
            offsets=offsets,
            ends=ends,
            spans=spans,
            caches=self.layers,
        )

    def arrays(self) -> list[mx.array]:
        """Every array, for the evaluation that ends a pass without logits."""
        return [array for layer in self.layers for array in layer.arrays()]

    def _oldest(self, row: int, window: int) -> int:
        """From where on the columns of a window are there."""
        return max(self._highs[row] - self.tracks[window].capacity, self._floors[row] - window)

    @property
    def _facts(self) -> tuple[list[int], ...]:
        return self.lengths, self.prompts, self._highs, self._floors

    def _forget(self, row: int) -> None:
        for layer in self.layers:
            if isinstance(layer, StateCache):
                layer.clear(row)


def _build(memory: Memory, packing: Packing | None) -> LayerCache:
    if isinstance(memory, Recurs):
        return StateCache(memory.states)
    if isinstance(memory, Compresses):
        return LatentCache(packing)
    if packing is None:
        return KVCache(memory.window)
    return QuantizedKVCache(memory.window, packing)
