"""Granite 3 and 4.1: Llama's layers with multipliers of embeddings, scores, residuals and logits.

Reference: transformers `GraniteForCausalLM`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.layers.attention import Attention, Norm
from mistralrs_mlx.layers.block import Layer
from mistralrs_mlx.layers.mlp import GatedMLP
from mistralrs_mlx.layers.rope import Rope

from .base import CausalLM
from .llama import LlamaConfig

__all__ = ["Granite", "GraniteConfig", "ScaledBlock"]


@dataclass(frozen=True, kw_only=True)
class GraniteConfig(LlamaConfig):
    embedding_multiplier: float = 1.0
    attention_multiplier: float = 1.0
    residual_multiplier: float = 1.0
    logits_scaling: float = 1.0  # logits are divided by it


class ScaledBlock(nn.Module):
    """A `PreNormBlock` that adds a fraction of what attention and MLP say."""

    def __init__(
        self,
        norm: Callable[[], Norm],
        attention: Layer,
        mlp: Callable[[mx.array], mx.array],
        scale: float,
    ) -> None:
        super().__init__()
        self.input_layernorm = norm()
        self.self_attn = attention
        self.post_attention_layernorm = norm()
        self.mlp = mlp
        self.sum = _sum(scale)

    def __call__(self, x: mx.array, step: Step, cache: Any) -> mx.array:
        x = self.sum(x, self["self_attn"](self["input_layernorm"](x), step, cache))
        return self.sum(x, self["mlp"](self["post_attention_layernorm"](x)))


class Granite(CausalLM):
    config_class = GraniteConfig
    config: GraniteConfig

    def __init__(self, config: GraniteConfig) -> None:
        rope = config.rope()
        super().__init__(
            config, [self.layer(config, rope) for _ in range(config.num_hidden_layers)]
        )

    @classmethod
    def layer(cls, config: GraniteConfig, rope: Rope) -> ScaledBlock:
        attention = Attention(
            config.hidden_size,
            config.num_attention_heads,
            config.kv_heads,
            config.head_size,
            rope,
            bias=config.attention_bias,
            out_bias=config.attention_bias,
            scale=config.attention_multiplier,
        )
        return ScaledBlock(config.norm, attention, cls.mlp(config), config.residual_multiplier)

    @staticmethod
    def mlp(config: GraniteConfig) -> Callable[[mx.array], mx.array]:
        dims, hidden = config.hidden_size, config.intermediate_size
        return GatedMLP(dims, hidden, config.activation, bias=config.mlp_bias)

    def embed(self, tokens: mx.array) -> mx.array:
        return super().embed(tokens) * self.config.embedding_multiplier

    def head(self, hidden: mx.array) -> mx.array:
        return super().head(hidden) / self.config.logits_scaling


@cache
def _sum(scale: float) -> Callable[[mx.array, mx.array], mx.array]:
    """What adds a fraction of its second argument to the first, in one kernel."""

    @partial(mx.compile, shapeless=True)
    def work(x: mx.array, y: mx.array) -> mx.array:
        return x + scale * y

    adding: Callable[[mx.array, mx.array], mx.array] = work
    return adding
