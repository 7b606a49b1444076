"""The primitives that a function would run, with shapes and types."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from unittest import mock

import mlx.core as mx

from mistralrs_mlx.bench.metal import fuses, metal_graphs

__all__ = ["Node", "Trace", "traced"]

Shaped = tuple[tuple[int, ...], mx.Dtype]


@dataclass(frozen=True)
class Node:
    """One primitive, and the shape and type of all that it reads and writes."""

    name: str
    inputs: tuple[Shaped, ...]
    outputs: tuple[Shaped, ...]


@dataclass(frozen=True)
class Trace:
    """What a function runs, and the types of what it returns."""

    nodes: list[Node]
    results: list[mx.Dtype]


def traced(function: Callable[..., Any], *arrays: mx.array) -> Trace:
    """What a function of arrays would run on a GPU. Nothing of it is computed."""
    found: list[dict[str, Any]] = []
    with _uncomputed():
        mx.export_function(found.append, lambda *given: _flat(function(*given)), *arrays)
    return Trace(
        nodes=[_node(each) for each in found if each["type"] == "primitive"],
        results=[
            dtype for each in found if each["type"] == "outputs" for _, _, dtype in each["outputs"]
        ],
    )


@contextmanager
def _uncomputed() -> Iterator[None]:
    """Metal's graphs, in which what asks for a result in between goes on without it."""
    evaluate = mx.eval

    def constants(*arrays: Any) -> None:
        with suppress(ValueError):  # what depends on arguments has no value
            evaluate(*arrays)

    with ExitStack() as stack:
        if fuses():
            stack.callback(mx.enable_compile)
        stack.enter_context(metal_graphs())
        mx.disable_compile()  # what is compiled is traced by itself
        stack.enter_context(mock.patch.object(mx, "eval", constants))
        stack.enter_context(mock.patch.object(mx, "contiguous", mx.stop_gradient))  # no state
        stack.enter_context(mock.patch.object(mx, "default_device", return_value=mx.Device(mx.gpu)))
        yield


def _node(found: dict[str, Any]) -> Node:
    sides = ([(tuple(shape), dtype) for _, shape, dtype in found[s]] for s in ("inputs", "outputs"))
    inputs, outputs = map(tuple, sides)
    return Node(found["name"], inputs, outputs)


def _flat(made: Any) -> list[mx.array]:
    if isinstance(made, mx.array):
        return [made]
    return [array for each in made for array in _flat(each)]
