"""Attention for the CPU backend: quicker exponentials, and blocks that skip what none may see."""

from functools import cache

import mlx.core as mx

from .exponential import exponential

__all__ = ["attention"]

BLOCK = 96  # queries
MANY = 8192  # scores, from which quicker exponentials are worth more operations


def attention(
    q: mx.array,
    k: mx.array,
    v: mx.array,
    /,
    *,
    scale: float,
    mask: mx.array | str | None = None,
    sinks: mx.array | None = None,
    many: float = MANY,
) -> mx.array:
    """What `mx.fast.scaled_dot_product_attention` computes; a causal pass block by block.

    Where there are not so `many` scores, other passes are left to it. How many there are depends on
    the rows of a batch: those whose numbers must not depend on their company give infinity.
    """
    few = not isinstance(mask, str) and q.size // q.shape[-1] * k.shape[2] < many
    if few or sinks is not None or q.dtype != mx.float32 or _weighs(mask):
        fast = mx.fast.scaled_dot_product_attention
        return fast(q, k, v, scale=scale, mask=mask, sinks=sinks)
    heads, length, columns = *q.shape[1:3], k.shape[2]
    q = (q * scale).reshape(q.shape[0], k.shape[1], -1, length, q.shape[3])
    k, v = k[:, :, None], v[:, :, None]
    if not isinstance(mask, str):
        return _weighted(_masked(q @ k.swapaxes(-1, -2), mask), v).reshape(
            q.shape[0], heads, length, v.shape[-1]
        )
    parts = []
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        seen = columns - length + stop
        parts.append(_block(q[..., start:stop, :], k[..., :seen, :], v[..., :seen, :]))
    return mx.concatenate(parts, axis=3).reshape(q.shape[0], heads, length, v.shape[-1])


def _weighs(mask: mx.array | str | None) -> bool:
    """Whether a mask is added to the scores."""
    return isinstance(mask, mx.array) and mask.dtype != mx.bool_


def _masked(scores: mx.array, mask: mx.array | None) -> mx.array:
    """Scores (B, kv_heads, group, L, columns) under a mask of (B, heads, L, columns)."""
    if mask is None:
        return scores
    if mask.ndim == 4:
        shape = (scores.shape[1], -1) if mask.shape[1] > 1 else (1, 1)
        mask = mask.reshape(mask.shape[0], *shape, *mask.shape[2:])
    return mx.where(mask, scores, mx.finfo(mx.float32).min)


def _block(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    """The last queries of a causal pass, (B, kv_heads, group, L, dims), and all that they see."""
    length, before = q.shape[-2], k.shape[-2] - q.shape[-2]
    future = mx.pad(_triangle()[:length, :length], [(0, 0), (before, 0)])
    return _weighted(q @ k.swapaxes(-1, -2) + future, v)


def _weighted(scores: mx.array, v: mx.array) -> mx.array:
    """The mean of v that softmax of the scores weighs."""
    shares = exponential(scores - scores.max(-1, keepdims=True))
    return (shares @ v) / shares.sum(-1, keepdims=True)


@cache
def _triangle() -> mx.array:
    """What hides its future from each query of a block, to be added to scores."""
    places = mx.arange(BLOCK)
    bias = mx.where(places <= places[:, None], 0.0, -mx.inf)
    mx.eval(bias)
    return bias
