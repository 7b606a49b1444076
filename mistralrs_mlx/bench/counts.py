"""What one decode step costs whatever the machine: kernels, graph nodes, waits for the device.

They are counted in the graph that the engine hands to the device, so they stand for Metal without
one: see `metal.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock

import mlx.core as mx

from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.logprobs import TokenLogprob
from mistralrs_mlx.engine.model import LanguageModel
from mistralrs_mlx.engine.params import SamplingParams
from mistralrs_mlx.engine.sequence import Sequence as Generation
from mistralrs_mlx.engine.sequence import Timing

from .graph import Graph
from .metal import metal_graphs

__all__ = ["StepCounts", "count_decode", "decoding", "watched"]

SETTLED = 3  # steps after the last prefill, until every buffer and constant is there
LIMIT = 64  # tokens to generate; counting takes fewer


@dataclass(frozen=True, kw_only=True)
class StepCounts:
    """One step that gives every row a token."""

    dispatches: int  # kernels; one for each `mx.fast` operation and each compiled function
    primitives: int  # nodes of the graph, views too: what the host builds
    vocabulary: int  # kernels on the logits, after the product that makes them
    waits: int  # times that the host stands still until the device is done
    kernels: tuple[tuple[str, int], ...]  # by name, most first; `Depends` stands for `mx.fast`


def count_decode(
    model: LanguageModel,
    vocab_size: int,
    *,
    prompts: Sequence[Sequence[int]] = ((1, 2, 3),),
    params: SamplingParams | None = None,
    compiled: bool = False,
) -> StepCounts:
    """Count a decode step of an engine that continues these prompts, greedily unless told.

    Prompts of unequal length make a ragged batch.
    """
    engine = decoding(model, vocab_size, prompts=prompts, params=params, compiled=compiled)
    return watched(engine.step)  # the engine is not used again: its arrays cannot be evaluated


def decoding(
    model: LanguageModel,
    vocab_size: int,
    *,
    prompts: Sequence[Sequence[int]] = ((1, 2, 3),),
    params: SamplingParams | None = None,
    limit: int = LIMIT,
    compiled: bool = False,
) -> Engine:
    """An engine whose every step, up to the limit, gives each of these prompts a token."""
    engine = Engine(model, max_seqs=len(prompts), compiled=compiled)
    params = params or SamplingParams(temperature=0.0)
    for prompt in prompts:
        engine.submit(
            Generation(
                prompt=list(prompt),
                params=params,
                sink=_Deaf(),
                limit=limit,
                stop_tokens=frozenset(),
                vocab_size=vocab_size,
            )
        )
    for _ in range(len(prompts) + SETTLED):
        engine.step()
    return engine


def watched(step: Callable[[], object]) -> StepCounts:
    """Run a step once and count the graph that it gives to `mx.async_eval`.

    Nothing of it is evaluated, so that whoever made the step can go no further.
    """
    graphs: list[Graph] = []
    waits = _Waits()

    def dispatched(*args: Any) -> None:
        graphs.append(Graph.of(list(_arrays(args))))

    with ExitStack() as stack:
        stack.enter_context(metal_graphs())
        stack.enter_context(mock.patch.object(mx, "async_eval", dispatched))
        waits.enter(stack)
        step()
    if len(graphs) != 1:
        raise RuntimeError(f"a step should dispatch one graph, not {len(graphs)}")
    graph = graphs[0]
    product = graph.last_product
    return StepCounts(
        dispatches=graph.kernels.total(),
        primitives=len(graph.names),
        vocabulary=0 if product is None else graph.launches(graph.after(product)),
        waits=waits.count,
        kernels=tuple(graph.kernels.most_common()),
    )


class _Waits:
    """Counts reads that have to wait: of what has been waited for already there is no more."""

    def __init__(self) -> None:
        self.count = 0
        self._ready: list[mx.array] = []

    def enter(self, stack: ExitStack) -> None:
        """Look at every way to wait until the stack closes."""
        real = mx.eval

        def evaluate(*args: Any) -> None:
            self._wait(*_arrays(args))
            real(*args)

        stack.enter_context(mock.patch.object(mx, "eval", evaluate))
        for name in ("item", "tolist"):
            reader = mx.array.__dict__[name]
            stack.enter_context(mock.patch.object(mx.array, name, self._reading(reader)))

    def _reading(self, reader: Callable[[mx.array], Any]) -> Callable[[mx.array], Any]:
        def read(array: mx.array) -> Any:
            self._wait(array)
            return reader(array)

        return read

    def _wait(self, *arrays: mx.array) -> None:
        fresh = [each for each in arrays if not any(each is known for known in self._ready)]
        self._ready.extend(fresh)
        self.count += bool(fresh)


class _Deaf:
    """A sink that keeps nothing."""

    def prefilled(self, done: int, total: int) -> None:
        pass

    def push(self, token: int, logprob: TokenLogprob | None, *, silent: bool, final: bool) -> bool:
        return False

    def finish(self, reason: str, timing: Timing) -> None:
        pass

    def fail(self, error: Exception) -> None:
        raise error


def _arrays(tree: Any) -> Iterator[mx.array]:
    """Every array in nested lists, tuples and dicts."""
    if isinstance(tree, mx.array):
        yield tree
    elif isinstance(tree, dict):
        yield from _arrays(list(tree.values()))
    elif isinstance(tree, list | tuple):
        for each in tree:
            yield from _arrays(each)
