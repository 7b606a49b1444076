"""Attention for the CPU backend: what no query of a block may see is not computed."""

import mlx.core as mx

__all__ = ["attention"]

BLOCK = 64  # queries


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
    fast = mx.fast.scaled_dot_product_attention
    if length <= BLOCK or not isinstance(mask, str):
        return fast(q, k, v, scale=scale, mask=mask, sinks=sinks)
    parts = []
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        seen = columns - length + stop
        here = q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen]
        parts.append(fast(*here, scale=scale, mask=mask, sinks=sinks))
    return mx.concatenate(parts, axis=2)
