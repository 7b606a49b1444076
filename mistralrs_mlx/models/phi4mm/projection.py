"""From the width of an encoder to that of the language model."""

import mlx.core as mx
import mlx.nn as nn

__all__ = ["Projection"]


class Projection(nn.Module):
    """down(gelu(up(x))), exact GELU"""

    def __init__(self, width: int, dims: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, dims), nn.Linear(dims, dims)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down(nn.gelu(self.up(x)))
