"""The activation functions that configurations name, each by its exact formula, and gates."""

import math
from collections.abc import Callable
from functools import cache, partial

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.fused import fused
from mistralrs_mlx.errors import ConfigError

__all__ = ["Activation", "Gated", "activation", "gated"]

Activation = Callable[[mx.array], mx.array]
Gated = Callable[[mx.array, mx.array], mx.array]
"""How a gate works on what it lets through: (gate, up) -> hidden."""

FEW = 32  # rows; a batch of single tokens


def activation(name: str) -> Activation:
    """The function that `hidden_act` names. Exact and tanh GELU are different functions."""
    if name not in _KNOWN:
        raise ConfigError(
            f"the activation {name!r} is not known; known are {', '.join(sorted(_KNOWN))}"
        )
    return _KNOWN[name]


@cache
def gated(activation: Activation) -> Gated:
    """The usual gate, in one kernel: activation(gate) * up."""

    def work(gate: mx.array, up: mx.array) -> mx.array:
        return activation(gate) * up

    shapeless: Gated = mx.compile(work, shapeless=True)
    if activation is not _tanh_gelu:
        return shapeless
    shaped = mx.compile(work)
    return lambda gate, up: (shaped if _few(gate) else shapeless)(gate, up)


def _tanh_gelu(x: mx.array) -> mx.array:
    """x / 2 * (1 + tanh(z)) as x * sigmoid(2 z), computed in float32.

    One kernel holds 11 steps. Where shapes are open each constant takes two more, so that it is
    only for few rows, in shapes that come again and again, that one is enough.
    """
    return (_TANH_SHAPED if _few(x) else _TANH_SHAPELESS)(x)


def _tanh_formula(x: mx.array) -> mx.array:
    y, slope = x.astype(mx.float32), math.sqrt(8 / math.pi)
    return (y * fused.sigmoid(y * (slope + slope * 0.044715 * y * y))).astype(x.dtype)


def _few(x: mx.array) -> bool:
    return x.size <= FEW * x.shape[-1]


@partial(mx.compile, shapeless=True)
def _silu(x: mx.array) -> mx.array:
    return x * fused.sigmoid(x)


def _relu2(x: mx.array) -> mx.array:
    return mx.square(mx.maximum(x, 0))


_TANH_SHAPED: Activation = mx.compile(_tanh_formula)
_TANH_SHAPELESS: Activation = mx.compile(_tanh_formula, shapeless=True)

_KNOWN: dict[str, Activation] = {
    "gelu": nn.gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_new": _tanh_gelu,
    "gelu_python": nn.gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "quick_gelu": nn.gelu_fast_approx,
    "relu": nn.relu,
    "relu2": _relu2,
    "silu": _silu,
    "swish": _silu,
}
