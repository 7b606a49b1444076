"""Softmax attention where MLX's fused kernel cannot go: soft caps and quantized columns."""

from collections.abc import Callable
from functools import cache, partial

import mlx.core as mx

__all__ = ["capped_attention", "masked", "quantized_attention"]


def capped_attention(
    q: mx.array,
    k: mx.array,
    v: mx.array,
    *,
    scale: float,
    softcap: float,
    mask: mx.array | str | None,
) -> mx.array:
    """Attention whose scores pass through `softcap * tanh(scores / softcap)` (Gemma 2).

    q (B, heads, L, dims), k and v (B, kv_heads, columns, dims) -> like q.
    """
    q, k, v = _grouped(q, k.shape[1]), k[:, :, None], v[:, :, None]
    scores = _capped(q @ k.swapaxes(-1, -2), scale, softcap)
    return _ungrouped(_softmax(scores, mask) @ v)


def quantized_attention(
    q: mx.array,
    keys: tuple[mx.array, ...],
    values: tuple[mx.array, ...],
    *,
    scale: float,
    mask: mx.array | str | None,
    bits: int,
    group_size: int,
    sinks: mx.array | None = None,
    softcap: float | None = None,
) -> mx.array:
    """Attention over keys and values that stay packed: (packed, scales, biases) each."""
    packed, scales, biases = (part[:, :, None] for part in keys)
    q = _grouped(q, keys[0].shape[1])
    scores = mx.quantized_matmul(
        q * scale,
        packed,
        scales,
        biases,
        transpose=True,
        group_size=group_size,
        bits=bits,
    )
    if softcap is not None:
        scores = _capped(scores, 1.0, softcap)
    packed, scales, biases = (part[:, :, None] for part in values)
    out = mx.quantized_matmul(
        _softmax(scores, mask, sinks),
        packed,
        scales,
        biases,
        transpose=False,
        group_size=group_size,
        bits=bits,
    )
    return _ungrouped(out)


def masked(scores: mx.array, mask: mx.array | str | None) -> mx.array:
    """Scores (..., L, columns), the lowest there is wherever a query must not look."""
    if isinstance(mask, str):
        length, columns = scores.shape[-2:]
        mask = mx.arange(columns) <= mx.arange(columns - length, columns)[:, None]
    if mask is None:
        return scores
    return mx.where(mask, scores, mx.finfo(scores.dtype).min)


def _grouped(q: mx.array, kv_heads: int) -> mx.array:
    """(B, heads, L, dims) -> (B, kv_heads, heads / kv_heads, L, dims)"""
    return q.reshape(q.shape[0], kv_heads, -1, *q.shape[2:])


def _ungrouped(x: mx.array) -> mx.array:
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def _capped(scores: mx.array, scale: float, softcap: float) -> mx.array:
    capped: mx.array = _capping(scale, softcap)(scores)
    return capped


@cache
def _capping(scale: float, softcap: float) -> Callable[[mx.array], mx.array]:
    """What scales scores and keeps them between -softcap and softcap, in one kernel."""

    @partial(mx.compile, shapeless=True)
    def work(scores: mx.array) -> mx.array:
        return softcap * mx.tanh(scores * scale / softcap)

    return work


def _softmax(
    scores: mx.array, mask: mx.array | str | None, sinks: mx.array | None = None
) -> mx.array:
    """Softmax of (B, kv_heads, group, L, columns) under the mask of (B, heads, L, columns)."""
    scores = masked(scores, mask[:, :, None] if isinstance(mask, mx.array) else mask)
    if sinks is None:
        return mx.softmax(scores, axis=-1, precise=True)
    kv_heads, group, length = scores.shape[1:4]
    column = sinks.reshape(1, kv_heads, group, 1, 1).astype(scores.dtype)
    column = mx.broadcast_to(column, (len(scores), kv_heads, group, length, 1))
    scores = mx.concatenate([column, scores], axis=-1)
    return mx.softmax(scores, axis=-1, precise=True)[..., 1:]
