"""From logits to tokens for sequences, those included whose next token is not free."""

import mlx.core as mx

from .sampling import Sampled, Sampler
from .sequence import Sequence

__all__ = ["choose"]


def choose(sampler: Sampler, logits: mx.array, sequences: list[Sequence]) -> Sampled:
    """A token for each, (B, V) -> (B,). Sequences that have none to choose are over."""
    masks = None
    if any(each.row.constrained for each in sequences):
        mx.async_eval(logits)  # the device works while the masks are awaited
        masks = [each.mask() for each in sequences]
    return sampler(logits, [each.row for each in sequences], masks)
