"""Several linear layers on one input as one: fewer kernels for every token.

Checkpoints keep queries, keys and values apart, and so do names, adapters and quantization plans.
Once a model is loaded its blocks may put their layers together.
"""

import copy
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import mlx.core as mx
import mlx.nn as nn

__all__ = ["Fusing", "fuse", "side_by_side"]


class Fusing(nn.Module):
    """A block that knows which of its layers read the same input."""

    def fuse(self) -> None:
        """Replace these layers by one, if they have the same form. The block's work stays."""
        raise NotImplementedError


@runtime_checkable
class Joins(Protocol):
    """A layer that is more than its arrays, and knows how it stands beside others of its kind."""

    def beside(self, others: Sequence[nn.Module], /) -> nn.Module | None:
        """The layer whose output is that of this one, then those of others; None: there is none."""


def fuse(model: nn.Module) -> None:
    """Let every block of a loaded model put its layers together, one block after the other."""
    blocks = [module for module in model.modules() if isinstance(module, Fusing)]
    for block in blocks:  # a list of all modules would hold what has been joined already
        block.fuse()
        mx.eval(block.parameters())


def side_by_side(layers: Sequence[nn.Module], *, axis: int = 0) -> nn.Module | None:
    """The layer whose output is the outputs of these, joined; None if their forms differ.

    Each array of a linear layer has one row for each output: weight, scales, biases, bias. `axis`
    is that of the rows.
    """
    first = layers[0]
    if isinstance(first, Joins):
        alike = axis == 0 and all(type(layer) is type(first) for layer in layers)
        return first.beside(layers[1:]) if alike else None
    if any(_form(layer, axis) != _form(first, axis) for layer in layers):
        return None
    joined = copy.copy(first)
    for name in _arrays(first):
        joined[name] = mx.concatenate([layer[name] for layer in layers], axis=axis)
    return joined


def _arrays(layer: nn.Module) -> dict[str, mx.array]:
    return {name: value for name, value in layer.items() if isinstance(value, mx.array)}


def _form(layer: nn.Module, axis: int) -> tuple[object, ...]:
    """What layers must have in common: their kind, their settings, and how arrays are laid out."""
    arrays = {
        name: (array.dtype, array.shape[:axis], array.shape[axis + 1 :])
        for name, array in _arrays(layer).items()
    }
    others = {name: value for name, value in layer.items() if name not in arrays}
    settings = {name: value for name, value in vars(layer).items() if not name.startswith("_")}
    return type(layer), arrays, others, settings
