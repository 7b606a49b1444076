"""What the engine asks of a model."""

from typing import Protocol

import mlx.core as mx

from mistralrs_mlx.cache.layout import Memory
from mistralrs_mlx.cache.step import Step

__all__ = ["LanguageModel"]


class LanguageModel(Protocol):
    """What the engine asks of a model."""

    def embed(self, tokens: mx.array) -> mx.array:
        """(B, L) token ids -> (B, L, D)"""

    def hidden(self, embeddings: mx.array, step: Step) -> mx.array:
        """(B, L, D) -> (B, L, D), the final norm applied"""

    def head(self, hidden: mx.array) -> mx.array:
        """(B, L, D) -> logits (B, L, V)"""

    def cache_layout(self) -> list[Memory]:
        """What each layer remembers, in order."""

    @property
    def rope_border(self) -> int | None:
        """The length at which remembered keys become wrong and must be computed again."""
