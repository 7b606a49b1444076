"""Embeddings of a prompt with media in their places, as the engine makes them by chunks."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx

__all__ = ["Encoded", "splice"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """A medium as embeddings, and where its placeholders are."""

    kind: str
    start: int  # position in the prompt of its first placeholder
    tokens: int  # placeholders that the prompt holds for it
    rows: mx.array  # (tokens, D)

    def __post_init__(self) -> None:
        assert len(self.rows) == self.tokens


def splice(embeddings: mx.array, media: Sequence[Encoded], offset: int = 0) -> mx.array:
    """Put media into the embeddings (1, L, D) of the tokens from position `offset` of a prompt.

    Of media that begin before or end behind these tokens, their share is taken.
    """
    pieces, done, end = [], offset, offset + embeddings.shape[1]
    for medium in sorted(media, key=lambda medium: medium.start):
        first, last = max(medium.start, offset), min(medium.start + medium.tokens, end)
        if last <= first:
            continue
        assert first >= done
        rows = medium.rows[first - medium.start : last - medium.start]
        pieces += [embeddings[:, done - offset : first - offset], rows[None]]
        done = last
    if not pieces:
        return embeddings
    pieces = [piece.astype(embeddings.dtype) for piece in [*pieces, embeddings[:, done - offset :]]]
    return mx.concatenate(pieces, axis=1)
