"""What every model shares that reads more than text: encoders, adapters, and rows put in place.

Each picture or clip is encoded by itself and becomes as many rows of embeddings as it has
placeholder tokens in the prompt. `splice` writes them there, for whole prompts and for chunks.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import mlx.core as mx

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.layers.block import Layer
from mistralrs_mlx.layers.lora import Slots

from .base import CausalLM, DecoderConfig

__all__ = ["Encoded", "MultimodalLM", "splice"]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """A medium as embeddings, and where its placeholders are."""

    kind: str
    start: int  # position in the prompt of its first placeholder
    tokens: int  # placeholders that the prompt holds for it
    rows: mx.array  # (tokens, D)

    def __post_init__(self) -> None:
        if len(self.rows) != self.tokens:
            raise RequestError(
                f"{self.kind} at token {self.start}: the prompt holds {self.tokens} placeholders, "
                f"the encoder made {len(self.rows)}"
            )


def splice(embeddings: mx.array, media: Sequence[Encoded], offset: int = 0) -> mx.array:
    """Put media into the embeddings (1, L, D) of the tokens from position `offset` of a prompt.

    Of media that begin before or end behind these tokens, their share is taken.
    """
    pieces, done, end = [], offset, offset + embeddings.shape[1]
    for medium in sorted(media, key=lambda medium: medium.start):
        first, last = max(medium.start, offset), min(medium.start + medium.tokens, end)
        if last <= first:
            continue
        if first < done:
            raise RequestError(f"{medium.kind} at token {medium.start} begins inside another")
        rows = medium.rows[first - medium.start : last - medium.start]
        pieces += [embeddings[:, done - offset : first - offset], rows[None]]
        done = last
    if not pieces:
        return embeddings
    pieces = [piece.astype(embeddings.dtype) for piece in [*pieces, embeddings[:, done - offset :]]]
    return mx.concatenate(pieces, axis=1)
