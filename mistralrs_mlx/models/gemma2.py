"""Gemma 2: sandwich norms, soft caps on scores and logits, a window in every other layer.

Scores are scaled by `query_pre_attn_scalar`, which is not the head size in the 27B model.

Reference: transformers `Gemma2ForCausalLM`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import mlx.core as mx

from mistralrs_mlx.cache.layout import Memory
from mistralrs_mlx.layers.activations import Activation, activation
from mistralrs_mlx.layers.attention import Attention, Norm
from mistralrs_mlx.layers.block import SandwichBlock
from mistralrs_mlx.layers.mlp import GatedMLP
from mistralrs_mlx.layers.rope import Rope

from .base import FULL, SLIDING
from .gemma import GemmaConfig, GemmaLM

__all__ = ["Gemma2", "Gemma2Config"]


@dataclass(frozen=True, kw_only=True)
class Gemma2Config(GemmaConfig):
    num_key_value_heads: int | None = 4
    hidden_activation: str = "gelu_pytorch_tanh"
    query_pre_attn_scalar: float = 256
    sliding_window: int | None = 4096
    attn_logit_softcapping: float | None = 50.0
    final_logit_softcapping: float | None = 30.0

    @property
    def activation(self) -> Activation:
        return activation(self.hidden_activation)

    @property
    def usual_kinds(self) -> list[str]:
        return [FULL if index % 2 else SLIDING for index in range(self.num_hidden_layers)]

    @property
    def qk_norm(self) -> Callable[[], Norm] | None:
        """What makes the norms of queries and keys."""
        return None

    def ropes(self) -> list[Rope]:
        """Each layer's positions, in order."""
        return [self.rope()] * self.num_hidden_layers


class Gemma2(GemmaLM):
    config_class = Gemma2Config
    config: Gemma2Config

    def __init__(self, config: Gemma2Config) -> None:
        super().__init__(config, [self.layer(config, rope) for rope in config.ropes()])

    @staticmethod
    def layer(config: Gemma2Config, rope: Rope) -> SandwichBlock:
        attention = Attention(
            config.hidden_size,
            config.num_attention_heads,
            config.kv_heads,
            config.head_size,
            rope,
            bias=config.attention_bias,
            out_bias=config.attention_bias,
            scale=config.query_pre_attn_scalar**-0.5,
            softcap=config.attn_logit_softcapping,
            qk_norm=config.qk_norm,
        )
        mlp = GatedMLP(config.hidden_size, config.intermediate_size, config.activation)
        return SandwichBlock(config.norm, attention, mlp)

    def head(self, hidden: mx.array) -> mx.array:
        logits, cap = super().head(hidden), self.config.final_logit_softcapping
        return logits if cap is None else _capping(cap)(logits)

    def cache_layout(self) -> list[Memory]:
        return self.config.windowed(self.config.sliding_window)


@cache
def _capping(cap: float) -> Callable[[mx.array], mx.array]:
    """What keeps logits between -cap and cap, in one kernel."""

    @partial(mx.compile, shapeless=True)
    def work(logits: mx.array) -> mx.array:
        return cap * mx.tanh(logits / cap)

    capped: Callable[[mx.array], mx.array] = work
    return capped
