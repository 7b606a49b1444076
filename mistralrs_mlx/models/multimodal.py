"""What every model shares that reads more than text: encoders, and adapters for what they read.

Each picture or clip is encoded by itself and becomes as many rows of embeddings as it has
placeholder tokens in the prompt.
"""

from collections.abc import Mapping, Sequence, Set

import mlx.core as mx

from mistralrs_mlx.layers.block import Layer
from mistralrs_mlx.layers.lora import Slots

from .base import CausalLM, DecoderConfig

__all__ = ["MultimodalLM"]


class MultimodalLM(CausalLM):
    """A decoder that also reads what its encoders make of pictures, clips and the like."""

    whole_media = False  # whether all of a medium has to be in one pass

    def __init__(self, config: DecoderConfig, layers: Sequence[Layer]) -> None:
        super().__init__(config, layers)
        self.slots = Slots()

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters that the checkpoint has for media: slots 1, 2, ..."""
        return tuple(self.slots.names)

    def adapter_for(self, kinds: Set[str]) -> str | None:
        """The mode for a request with media of these kinds; None: as for text."""
        return None

    def slot_for(self, kinds: Set[str]) -> int:
        """The slot of that mode; 0 where the checkpoint has no weights for it."""
        name = self.adapter_for(kinds)
        return 1 + self.adapters.index(name) if name in self.adapters else 0

    def adapt(self, slots: Sequence[int] | None) -> None:
        """Choose the slot of each row of the passes to come; None: slot 0 for all of them."""
        self.slots.use(slots)

    def encode(self, kind: str, arrays: Mapping[str, mx.array], adapter: str | None) -> mx.array:
        """One medium, in the mode `adapter`, as (tokens, D) embeddings."""
        raise NotImplementedError
