"""The forward pass of a decode step as a compiled function.

Building the graph of a step takes the host a millisecond or two, which is more than a small model
takes to compute on a fast GPU. A compiled function is built once for every shape of the caches,
which grow in steps of hundreds of tokens, and then only called.
"""

from collections.abc import Callable, Hashable

import mlx.core as mx

from mistralrs_mlx.cache.traced import Traced

from .rows import Rows

__all__ = ["CompiledPass"]

MOST = 64  # functions: a batch that grows and shrinks has one for every size

Function = Callable[[mx.array, mx.array, list[mx.array]], tuple[mx.array, list[mx.array]]]


class CompiledPass:
    """Gives the next logits of all running rows."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._functions: dict[Hashable, Function] = {}
        self._traced: Traced | None = None  # of the pass under way

    def __call__(self, tokens: mx.array) -> mx.array:
        """(B,) tokens -> (B, V) logits. The rows' lengths advance now; each has had a prefill."""
        running, caches = self._rows.running, self._rows.caches
        self._traced = traced = Traced(caches, len(running))
        offsets = caches.advance(len(running))
        prompts = caches.prompts[: len(running)]
        ends = [max(before + 1, prompt) for before, prompt in zip(offsets, prompts, strict=True)]
        key = self._key(traced, ends)
        if key not in self._functions:
            self._remember(key, self._compiled(ends))
        logits, arrays = self._functions[key](tokens, mx.array(offsets, mx.int32), traced.arrays())
        traced.put(arrays)
        self._traced = None
        return logits

    def clear(self) -> None:
        """Forget all functions, and with them whatever they hold."""
        self._functions.clear()

    def _key(self, traced: Traced, ends: list[int]) -> Hashable:
        """All that a function is built for: shapes, each row's side of the border, its adapter."""
        border = self._rows.model.rope_border
        beyond = border is not None and tuple(end > border for end in ends)
        return traced.shapes, beyond, tuple(sequence.slot for sequence in self._rows.running)

    def _remember(self, key: Hashable, function: Function) -> None:
        if len(self._functions) >= MOST:
            self._functions.pop(next(iter(self._functions)))
        self._functions[key] = function

    def _compiled(self, ends: list[int]) -> Function:
        model = self._rows.model

        def forward(
            tokens: mx.array, offsets: mx.array, arrays: list[mx.array]
        ) -> tuple[mx.array, list[mx.array]]:
            traced = self._traced  # not held: caches come and go, the function stays
            assert traced is not None
            traced.put(arrays)
            hidden = model.hidden(model.embed(tokens[:, None]), traced.step(offsets, ends))
            return model.head(hidden)[:, 0], traced.arrays()

        compiled: Function = mx.compile(forward)
        return compiled
