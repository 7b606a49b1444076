"""The functions of MLX on which most of a layer's time depends, as a table.

On Metal each is one kernel. MLX's CPU backend takes some apart into many small operations and has
slow loops for others, so `mistralrs_mlx.cpu` puts its own functions here, which compute the same.
"""

from collections.abc import Callable
from typing import Protocol

import mlx.core as mx

__all__ = ["AttentionFunction", "Fused", "RopeFunction", "fused"]


class RopeFunction(Protocol):
    """`mx.fast.rope`, with periods."""

    def __call__(
        self,
        x: mx.array,
        dims: int,
        /,
        *,
        traditional: bool,
        base: float | None,
        scale: float,
        offset: int | mx.array,
        freqs: mx.array,
    ) -> mx.array: ...


class AttentionFunction(Protocol):
    """`mx.fast.scaled_dot_product_attention`."""

    def __call__(
        self,
        q: mx.array,
        k: mx.array,
        v: mx.array,
        /,
        *,
        scale: float,
        mask: mx.array | str | None = None,
        sinks: mx.array | None = None,
    ) -> mx.array: ...


class Fused:
    """What layers call. Set before the first model is loaded, and never while one runs."""

    def __init__(self) -> None:
        self.rope: RopeFunction = mx.fast.rope
        self.attention: AttentionFunction = mx.fast.scaled_dot_product_attention
        self.sigmoid: Callable[[mx.array], mx.array] = mx.sigmoid


fused = Fused()
