"""The keys and values of one attention layer."""

import mlx.core as mx

from .arenas import Arenas
from .attention import capped_attention, quantized_attention
from .columns import Columns, QuantizedColumns
from .fused import fused
from .layout import Packing
from .step import Step

__all__ = ["KVCache", "QuantizedKVCache"]


class KVCache(Arenas):
    """Keys and values of every row, all of them or at least the last `window`."""

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self._keys, self._values = Columns(), Columns()
        super().__init__(self._keys, self._values)

    def attend(
        self,
        q: mx.array,
        k: mx.array,
        v: mx.array,
        step: Step,
        *,
        scale: float,
        sinks: mx.array | None = None,
        softcap: float | None = None,
    ) -> mx.array:
        """Store k and v, then attend over everything these rows may see.

        q (B, heads, L, dims), k and v (B, kv_heads, L, dims) -> like q with v's dims.
        """
        span = step.span(self.window)
        k, v = self.store(k, v, step)
        if softcap is not None:
            return capped_attention(q, k, v, scale=scale, softcap=softcap, mask=span.mask)
        return fused.attention(q, k, v, scale=scale, mask=span.mask_of(q.shape[1]), sinks=sinks)

    def store(self, k: mx.array, v: mx.array, step: Step) -> tuple[mx.array, mx.array]:
        """Store k and v, then return all columns that these rows may see."""
        span = step.span(self.window)
        return self._keys.write(k, span), self._values.write(v, span)


class QuantizedKVCache(Arenas):
    """A `KVCache` whose columns are packed integers."""

    def __init__(self, window: int | None, packing: Packing) -> None:
        self.window, self.bits, self.group_size = window, packing.bits, packing.group_size
        self._keys, self._values = QuantizedColumns(packing), QuantizedColumns(packing)
        super().__init__(self._keys, self._values)

    def attend(
        self,
        q: mx.array,
        k: mx.array,
        v: mx.array,
        step: Step,
        *,
        scale: float,
        sinks: mx.array | None = None,
        softcap: float | None = None,
    ) -> mx.array:
        """As `KVCache.attend`."""
        keys, values = self.store(k, v, step)
        return quantized_attention(
            q,
            keys,
            values,
            scale=scale,
            mask=step.span(self.window).mask,
            bits=self.bits,
            group_size=self.group_size,
            sinks=sinks,
            softcap=softcap,
        )

    def store(
        self, k: mx.array, v: mx.array, step: Step
    ) -> tuple[tuple[mx.array, ...], tuple[mx.array, ...]]:
        """As `KVCache.store`, each as packed columns, scales and biases."""
        span = step.span(self.window)
        return self._keys.write(k, span), self._values.write(v, span)
