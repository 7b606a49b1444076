"""Causal softmax attention with grouped queries."""

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.kv import KVCache, QuantizedKVCache
from mistralrs_mlx.cache.step import Step

from .fusing import Fusing, side_by_side
from .rope import Rope

__all__ = ["Attention", "AttentionCache", "Norm", "merge_heads", "split_heads"]

AttentionCache = KVCache | QuantizedKVCache
Norm = Callable[[mx.array], mx.array]


class Attention(Fusing):
    """Attention with four separate projections, under Hugging Face's parameter names.

    `qk_norm` makes a norm over head_dim for queries and one for keys; without a rope the layer
    sees no positions; scores pass through `softcap * tanh(score / softcap)` if there is one.
    """

    def __init__(
        self,
        dims: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        rope: Rope | None,
        *,
        bias: bool = False,
        out_bias: bool = False,
        scale: float | None = None,
        softcap: float | None = None,
        qk_norm: Callable[[], Norm] | None = None,
    ) -> None:
        super().__init__()
        self.q_proj = nn.Linear(dims, heads * head_dim, bias=bias)
        self.k_proj = nn.Linear(dims, kv_heads * head_dim, bias=bias)
        self.v_proj = nn.Linear(dims, kv_heads * head_dim, bias=bias)
        self.o_proj = nn.Linear(heads * head_dim, dims, bias=out_bias)
        self.heads, self.kv_heads = heads, kv_heads
        self.head_dim, self.rope = head_dim, rope
        self.scale = head_dim**-0.5 if scale is None else scale
        self.softcap = softcap
        self.normed = qk_norm is not None
        if qk_norm is not None:
            self.q_norm, self.k_norm = qk_norm(), qk_norm()

    def __call__(self, x: mx.array, step: Step, cache: AttentionCache) -> mx.array:
        q, k, v = self._joined(x, step) if "qkv_proj" in self else self._separate(x, step)
        out = cache.attend(q, k, v, step, scale=self.scale, softcap=self.softcap)
        y: mx.array = self["o_proj"](merge_heads(out))
        return y

    def placed(self, q: mx.array, k: mx.array, step: Step) -> tuple[mx.array, mx.array]:
        """Queries and keys as they are compared: normed, then turned by their positions."""
        if self.normed:
            q, k = self["q_norm"](q), self["k_norm"](k)
        return self.turned(q, step), self.turned(k, step)

    def turned(self, x: mx.array, step: Step) -> mx.array:
        return x if self.rope is None else self.rope(x, step)

    def fuse(self) -> None:
        joined = side_by_side([self.q_proj, self.k_proj, self.v_proj])
        if joined is not None:
            self.qkv_proj = joined
            del self.q_proj, self.k_proj, self.v_proj

    def _separate(self, x: mx.array, step: Step) -> tuple[mx.array, mx.array, mx.array]:
        q, k, v = (
            split_heads(part, self.head_dim)
            for part in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        return *self.placed(q, k, step), v

    def _joined(self, x: mx.array, step: Step) -> tuple[mx.array, mx.array, mx.array]:
        """The same out of one product; without norms one rotation turns queries and keys."""
        both = self.heads + self.kv_heads
        heads = split_heads(self["qkv_proj"](x), self.head_dim)
        if self.normed:
            q, k, v = mx.split(heads, [self.heads, both], axis=1)
            return *self.placed(q, k, step), v
        qk, v = mx.split(heads, [both], axis=1)
        q, k = mx.split(self.turned(qk, step), [self.heads], axis=1)
        return q, k, v


def split_heads(x: mx.array, head_dim: int) -> mx.array:
    """(B, L, heads * head_dim) -> (B, heads, L, head_dim)"""
    batch, length, _ = x.shape
    if length == 1:  # a single token needs no transpose
        return x.reshape(batch, -1, 1, head_dim)
    return x.reshape(batch, length, -1, head_dim).transpose(0, 2, 1, 3)


def merge_heads(x: mx.array) -> mx.array:
    """(B, heads, L, head_dim) -> (B, L, heads * head_dim)"""
    batch, _, length, _ = x.shape
    if length == 1:
        return x.reshape(batch, 1, -1)
    return x.transpose(0, 2, 1, 3).reshape(batch, length, -1)
