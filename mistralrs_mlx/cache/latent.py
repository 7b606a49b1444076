"""The memory of one layer with multi-head latent attention."""

import mlx.core as mx

from .arenas import Arenas
from .columns import Columns, QuantizedColumns
from .layout import Packing
from .step import Step

__all__ = ["LatentCache"]


class LatentCache(Arenas):
    """One latent vector and one rotated key for each token, which all heads share."""

    def __init__(self, packing: Packing | None = None) -> None:
        self._latents = Columns() if packing is None else QuantizedColumns(packing)
        self._rotated = Columns()
        super().__init__(self._latents, self._rotated)

    def write(self, latent: mx.array, rotated: mx.array, step: Step) -> tuple[mx.array, mx.array]:
        """Store the new ones, then return all that these rows may see.

        (B, 1, L, latent) and (B, 1, L, rotary) -> the same of all visible columns.
        """
        span, columns = step.span(self.window), self._latents
        keys = self._rotated.write(rotated, span)
        if isinstance(columns, Columns):
            return columns.write(latent, span), keys
        weight, scales, biases = columns.write(latent, span)
        group_size, bits = columns.group_size, columns.bits
        return mx.dequantize(weight, scales, biases, group_size=group_size, bits=bits), keys
