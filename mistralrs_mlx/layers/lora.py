"""Low-rank updates of linear layers, chosen row by row.

An adapter adds `scale * up(down(x))` to what a linear layer gives. The layer below stays as it is,
dense or packed, so rows with different adapters and rows with none share one pass, and taking an
adapter away leaves no trace. Reference: arXiv:2106.09685.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import mlx.core as mx
import mlx.nn as nn

from .fusing import side_by_side

__all__ = ["LoRALinear", "Slots", "Update"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Update:
    """What an adapter adds to one layer: down (r, K), up (N, r), and a factor for both."""

    down: mx.array
    up: mx.array
    scale: float


@dataclass(frozen=True, eq=False)
class _Active:
    """An adapter of the pass under way and its rows, (B, 1, 1) booleans; None: all of them."""

    name: str
    rows: mx.array | None


class Slots:
    """Which adapter each row of the pass under way uses; all layers of a model share one of these.

    Slot 0 changes nothing, slot n is the n-th name.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = list(names)
        self.active: tuple[_Active, ...] = ()

    def use(self, rows: Sequence[int] | None) -> None:
        """Choose for the passes to come: one slot for each row; None: slot 0 for all of them."""
        used = sorted(set(rows or ()))
        if used and not 0 <= used[0] <= used[-1] <= len(self.names):
            raise ValueError(f"slots {used}; there are the slots 0 to {len(self.names)}")
        choices = [_Active(self.names[slot - 1], _which(rows or (), slot)) for slot in used if slot]
        self.active = tuple(choices)


class LoRALinear(nn.Module):
    """A linear layer and the updates that adapters make to it, under the names that PEFT gives."""

    def __init__(self, base_layer: nn.Module, slots: Slots) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.lora_A: dict[str, nn.Module] = {}
        self.lora_B: dict[str, nn.Module] = {}
        self.slots = slots
        self._scales: dict[str, float] = {}

    def __call__(self, x: mx.array) -> mx.array:
        """(B, L, K) -> (B, L, N)"""
        y: mx.array = self.base_layer(x)
        for active in self.slots.active:
            if active.name in self.lora_A:
                y = y + self._update(x, active)
        return y

    def put(self, name: str, update: Update) -> None:
        """Let the adapter of this name make this update. The arrays are not read here."""
        self.lora_A[name] = _linear(update.down)
        self.lora_B[name] = _linear(update.up)
        self._scales[name] = update.scale

    def remove(self, name: str) -> None:
        """Let the adapter of this name change nothing here."""
        for parts in (self.lora_A, self.lora_B, self._scales):
            parts.pop(name, None)

    def beside(self, others: Sequence[nn.Module]) -> nn.Module | None:
        """One layer for these outputs: each adapter's updates stand in blocks, zero in between."""
        layers = [self, *(other for other in others if isinstance(other, LoRALinear))]
        names = [name for layer in layers for name in layer.lora_A]
        base = side_by_side([layer.base_layer for layer in layers])
        if base is None or not all(layer._readable() for layer in layers):
            return None
        joined = LoRALinear(base, self.slots)
        for name in dict.fromkeys(names):
            joined.put(name, _stacked(name, layers))
        return joined

    def _update(self, x: mx.array, active: _Active) -> mx.array:
        low = self.lora_A[active.name](x) * self._scales[active.name]
        if active.rows is not None:
            if len(active.rows) != len(x):
                raise ValueError(f"slots for {len(active.rows)} rows, but {len(x)} rows")
            low = mx.where(active.rows, low, 0)  # not a product: another row's NaN stays its own
        return cast(mx.array, self.lora_B[active.name](low))

    def _readable(self) -> bool:
        """Whether the updates are dense, so that they can be put together."""
        parts = [*self.lora_A.values(), *self.lora_B.values()]
        return not any("scales" in part for part in parts)


def _which(rows: Sequence[int], slot: int) -> mx.array | None:
    """Which rows have this slot; None: every one."""
    same = [row == slot for row in rows]
    return None if all(same) else mx.array(same)[:, None, None]


def _linear(weight: mx.array) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)  # random, never computed
    layer.weight = weight
    return layer


def _stacked(name: str, layers: Sequence[LoRALinear]) -> Update:
    """The update of layers side by side, those without this adapter included."""
    downs = [layer.lora_A[name].weight for layer in layers if name in layer.lora_A]
    rank, start, rows = sum(len(down) for down in downs), 0, []
    for layer in layers:
        outputs = layer.base_layer.weight.shape[0]
        if name not in layer.lora_A:
            rows.append(mx.zeros((outputs, rank), downs[0].dtype))
            continue
        up = layer.lora_B[name].weight * layer._scales[name]
        stop = start + up.shape[1]
        rows.append(mx.pad(up, [(0, 0), (start, rank - stop)]))
        start = stop
    return Update(down=mx.concatenate(downs), up=mx.concatenate(rows), scale=1.0)
