"""Attention for the CPU backend: what no query of a block may see is not computed."""

from functools import cache

import mlx.core as mx

from .exponential import exponential

__all__ = ["attention"]

BLOCK = 96  # queries


def attention(
    q: mx.array,
    k: mx.array,
    v: mx.array,
    /,
    *,
    scale: float,
    mask: mx.array | str | None = None,
    sinks: mx.array | None = None,
) -> mx.array:
    """What `mx.fast.scaled_dot_product_attention` computes; a causal pass block by block."""
    length, columns = q.shape[2], k.shape[2]
    if not isinstance(mask, str) or sinks is not None or q.dtype != mx.float32:
        fast = mx.fast.scaled_dot_product_attention
        return fast(q, k, v, scale=scale, mask=mask, sinks=sinks)
    q = (q * scale).reshape(q.shape[0], k.shape[1], -1, length, q.shape[3])
    parts = []
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        seen = columns - length + stop
        parts.append(_block(q[..., start:stop, :], k[:, :, None, :seen], v[:, :, None, :seen]))
    out = mx.concatenate(parts, axis=3)
    return out.reshape(out.shape[0], -1, *out.shape[3:])


def _block(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    """The last queries of a causal pass, (B, kv_heads, group, L, dims), and all that they see."""
    length, before = q.shape[-2], k.shape[-2] - q.shape[-2]
    future = mx.pad(_triangle()[:length, :length], [(0, 0), (before, 0)])
    scores = q @ k.swapaxes(-1, -2) + future
    shares = exponential(scores - scores.max(-1, keepdims=True))
    return (shares @ v) / shares.sum(-1, keepdims=True)


@cache
def _triangle() -> mx.array:
    """What hides its future from each query of a block, to be added to scores."""
    places = mx.arange(BLOCK)
    bias = mx.where(places <= places[:, None], 0.0, -mx.inf)
    mx.eval(bias)
    return bias
