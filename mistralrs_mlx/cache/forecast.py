"""How many bytes arenas are going to take, known before they are there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlx.core as mx

from .arenas import Arenas
from .state import StateCache
from .step import Step

if TYPE_CHECKING:
    from .caches import Caches

__all__ = ["Extent", "Forecast", "forecast"]

GROWING = 4  # layers whose old and new arenas may be there at once: MLX looks ahead a little


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How large arenas are: their slots, and for each window the columns of a slot."""

    slots: int
    capacities: Mapping[int | None, int]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one layer takes, in bytes of a slot."""

    window: int | None
    column: int  # of each column
    states: int  # whatever the number of columns

    def slot(self, extent: Extent) -> int:
        """Bytes of one slot."""
        return self.states + (self.column * extent.capacities[self.window] if self.column else 0)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What the caches of a model take."""

    layers: Sequence[Layer]

    def nbytes(self, extent: Extent) -> int:
        """All arenas of this extent."""
        return extent.slots * self.slot(extent)

    def slot(self, extent: Extent) -> int:
        """All that one row has in arenas of this extent."""
        return sum(layer.slot(extent) for layer in self.layers)

    def passing(self, extent: Extent) -> int:
        """What is there beside the new arenas while those of this extent are replaced."""
        largest = max((layer.slot(extent) for layer in self.layers), default=0)
        return min(GROWING * extent.slots * largest, self.nbytes(extent))


def forecast(caches: "Caches", run: Callable[[Step], mx.array]) -> Forecast:
    """Learn the shapes from fresh caches, by a pass of one token that is built and not computed."""
    caches.add(1)
    run(caches.step(0, 1, 1))
    extent = caches.extent(1, 1)
    return Forecast(layers=[_layer(each, extent) for each in caches.layers])


def _layer(cache: StateCache | Arenas, extent: Extent) -> Layer:
    if isinstance(cache, StateCache):
        return Layer(window=None, column=0, states=cache.nbytes)
    column = cache.nbytes // extent.capacities[cache.window]
    return Layer(window=cache.window, column=column, states=0)
