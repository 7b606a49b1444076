"""Feed-forward layers, under Hugging Face's parameter names."""

import mlx.core as mx
import mlx.nn as nn

from .activations import Activation, gated
from .fusing import Fusing, side_by_side

__all__ = ["FusedGatedMLP", "GatedMLP"]


class GatedMLP(Fusing):
    """down(activation(gate(x)) * up(x)); with silu this is SwiGLU, with a GELU it is GeGLU."""

    def __init__(
        self, dims: int, hidden: int, activation: Activation, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dims, hidden, bias=bias)
        self.up_proj = nn.Linear(dims, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, dims, bias=bias)
        self.gated = gated(activation)

    def __call__(self, x: mx.array) -> mx.array:
        if "gate_up_proj" in self:
            gate, up = mx.split(self["gate_up_proj"](x), 2, axis=-1)
        else:
            gate, up = self.gate_proj(x), self.up_proj(x)
        y: mx.array = self["down_proj"](self.gated(gate, up))
        return y

    def fuse(self) -> None:
        joined = side_by_side([self.gate_proj, self.up_proj])
        if joined is not None:
            self.gate_up_proj = joined
            del self.gate_proj, self.up_proj


class FusedGatedMLP(nn.Module):
    """A `GatedMLP` whose checkpoint stores gate and up as one matrix (Phi-3, GLM-4)."""

    def __init__(self, dims: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(dims, 2 * hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dims, bias=False)
        self.gated = gated(activation)

    def __call__(self, x: mx.array) -> mx.array:
        gate, up = mx.split(self["gate_up_proj"](x), 2, axis=-1)
        y: mx.array = self["down_proj"](self.gated(gate, up))
        return y
