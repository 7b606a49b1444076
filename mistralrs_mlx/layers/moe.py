"""Mixtures of experts: a router picks a few of many feed-forward layers for every token.

The experts' matrices are stacked, so that one product serves all of them. A pick is one expert for
one row; a pass has `rows * chosen` of them. Products take each row as a matrix of one line, and so
does all around them: to reshape costs the host as much as to compute.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Self

import mlx.core as mx
import mlx.nn as nn

from .activations import Gated, gated
from .fusing import Fusing, side_by_side
from .routers import Router

__all__ = [
    "Experts",
    "Gated",
    "MoE",
    "Picks",
    "QuantizedSwitchLinear",
    "SwitchLinear",
    "gated",
]

SORT_FROM = 64  # picks; from here on kernels gain more by walking through the experts in order


@dataclass(frozen=True, kw_only=True)
class Picks:
    """Which row goes to which expert. Sorted ones have their rows gathered beforehand."""

    rows: mx.array | None  # (...) indices of a layer's input; None: pick i is row i
    experts: mx.array  # (...)
    sorted: bool = False

    def hidden(self) -> Self:
        """The same experts, each working on the row that it has made itself."""
        rows = None if self.sorted else _rows(self.experts.shape)[1]
        return type(self)(rows=rows, experts=self.experts, sorted=self.sorted)


class SwitchLinear(nn.Module):
    """A linear layer for each expert: weight (E, N, K), bias (E, N)."""

    def __init__(self, experts: int, in_dims: int, out_dims: int, *, bias: bool = False) -> None:
        super().__init__()
        bound = in_dims**-0.5
        self.weight = mx.random.uniform(-bound, bound, (experts, out_dims, in_dims))
        if bias:
            self.bias = mx.zeros((experts, out_dims))

    def __call__(self, x: mx.array, picks: Picks) -> mx.array:
        """Rows (..., 1, K) -> a line for each pick, (..., 1, N)"""
        y = _gather_mm(x, self.weight.swapaxes(-1, -2), picks)
        return y + self.bias[picks.experts][..., None, :] if "bias" in self else y


class QuantizedSwitchLinear(nn.Module):
    """A `SwitchLinear` with packed weights; `quant/layers.py` fills in the arrays."""

    weight: mx.array
    scales: mx.array
    biases: mx.array | None
    bits: int
    group_size: int
    mode: str

    def __call__(self, x: mx.array, picks: Picks) -> mx.array:
        """Rows (..., 1, K) -> a line for each pick, (..., 1, N)"""
        y = mx.gather_qmm(
            x,
            self["weight"],
            self["scales"],
            self.get("biases"),
            lhs_indices=picks.rows,
            rhs_indices=picks.experts,
            transpose=True,
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
            sorted_indices=picks.sorted,
        )
        y = y.astype(x.dtype)  # scales may be finer than the input
        return y + self["bias"][picks.experts][..., None, :] if "bias" in self else y


class Experts(Fusing):
    """Feed-forward layers with a gate, one for each expert: down(gated(gate(x), up(x)))."""

    def __init__(
        self, experts: int, dims: int, hidden: int, gated: Gated, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.gate_proj = SwitchLinear(experts, dims, hidden, bias=bias)
        self.up_proj = SwitchLinear(experts, dims, hidden, bias=bias)
        self.down_proj = SwitchLinear(experts, hidden, dims, bias=bias)
        self.gated = gated

    def __call__(self, x: mx.array, weights: mx.array, chosen: mx.array) -> mx.array:
        """Rows (R, 1, D), weights and experts (R, chosen) -> (R, 1, D)"""
        if chosen.size < SORT_FROM:
            y = self._forward(x, Picks(rows=_rows(chosen.shape)[0], experts=chosen))
        else:
            y = self._in_order(x, chosen)
        return _weighted(y, mx.expand_dims(weights, (-2, -1))).sum(1).astype(x.dtype)

    def fuse(self) -> None:
        joined = side_by_side([self.gate_proj, self.up_proj], axis=1)
        if joined is not None:
            self.gate_up_proj = joined
            del self.gate_proj, self.up_proj

    def _in_order(self, x: mx.array, chosen: mx.array) -> mx.array:
        """Each pick's line, computed expert by expert: (R, chosen, 1, D)"""
        order = mx.argsort(chosen.reshape(-1))
        picks = Picks(rows=None, experts=chosen.reshape(-1)[order], sorted=True)
        y = self._forward(x[order // chosen.shape[-1]], picks)[mx.argsort(order)]
        return y.reshape(*chosen.shape, *y.shape[1:])

    def _forward(self, x: mx.array, picks: Picks) -> mx.array:
        if "gate_up_proj" in self:
            gate, up = mx.split(self["gate_up_proj"](x, picks), 2, axis=-1)
        else:
            gate, up = self.gate_proj(x, picks), self.up_proj(x, picks)
        y: mx.array = self["down_proj"](self.gated(gate, up), picks.hidden())
        return y


class MoE(nn.Module):
    """The experts that a router picks, and what `shared` adds for every token."""

    def __init__(self, gate: Router, experts: Experts, shared: nn.Module | None = None) -> None:
        super().__init__()
        self.gate = gate
        self.experts = experts
        if shared is not None:
            self.shared_experts = shared

    def __call__(self, x: mx.array) -> mx.array:
        dims = x.shape[-1]
        rows = x.reshape(x.size // dims, 1, dims)  # given as it is, one row a sequence is no change
        weights, chosen = self["gate"](rows[:, 0])
        y: mx.array = self["experts"](rows, weights, chosen).reshape(x.shape)
        return y + self["shared_experts"](x) if "shared_experts" in self else y


@lru_cache(maxsize=16)
def _rows(picks: tuple[int, ...]) -> tuple[mx.array, mx.array]:
    """The rows of all picks (R, chosen), in and out: computed once, not again by each layer."""
    out = mx.arange(prod(picks), dtype=mx.uint32).reshape(picks)  # as kernels take indices
    both = out // picks[-1], out
    mx.eval(both)
    return both


@partial(mx.compile, shapeless=True)
def _weighted(y: mx.array, weights: mx.array) -> mx.array:
    """Each pick's line times its weight, in float32"""
    return y.astype(mx.float32) * weights


def _gather_mm(x: mx.array, weight: mx.array, picks: Picks) -> mx.array:
    dtype = x.dtype
    if mx.default_device().type == mx.cpu:  # whose kernel knows no other type
        x, weight = x.astype(mx.float32), weight.astype(mx.float32)
    return mx.gather_mm(x, weight, picks.rows, picks.experts, sorted_indices=picks.sorted).astype(
        dtype
    )
