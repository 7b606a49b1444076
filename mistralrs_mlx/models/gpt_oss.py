"""GPT-OSS: attention sinks, a window in every other layer, experts with biases, a clamped gate.

A sink is a logit of its own in each head's softmax, for looking at nothing. Published experts are
packed (MXFP4) and stay so; unpacked ones are stored turned around. Both have the rows of gate and
up in turn.

Reference: transformers `GptOssForCausalLM`.
"""

from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import mlx.core as mx

from mistralrs_mlx.cache.layout import Memory
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.layers.attention import Attention, AttentionCache, merge_heads
from mistralrs_mlx.layers.block import PreNormBlock
from mistralrs_mlx.layers.moe import Experts, Gated, MoE
from mistralrs_mlx.layers.rope import Rope
from mistralrs_mlx.layers.routers import SoftmaxRouter

from .base import FULL, SLIDING, CausalLM, DecoderConfig
from .weights import Deal, Rename, Transpose

__all__ = ["GptOss", "GptOssConfig"]


@dataclass(frozen=True, kw_only=True)
class GptOssConfig(DecoderConfig):
    num_key_value_heads: int | None = 8
    head_dim: int | None = 64
    rms_norm_eps: float = 1e-5
    rope_theta: float = 150_000.0
    rope_parameters: dict[str, Any] | None = field(
        default_factory=lambda: {
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        }
    )
    attention_bias: bool = True  # of all four projections
    sliding_window: int | None = 128
    num_local_experts: int = 128
    num_experts_per_tok: int = 4
    swiglu_alpha: float = 1.702
    swiglu_limit: float = 7.0

    @property
    def usual_kinds(self) -> list[str]:
        return [FULL if index % 2 else SLIDING for index in range(self.num_hidden_layers)]


class SinkAttention(Attention):
    """Attention that may also look at nothing, as much as its heads' sinks weigh."""

    def __init__(self, config: GptOssConfig, rope: Rope) -> None:
        super().__init__(
            config.hidden_size,
            config.num_attention_heads,
            config.kv_heads,
            config.head_size,
            rope,
            bias=config.attention_bias,
            out_bias=config.attention_bias,
        )
        self.sinks = mx.zeros((config.num_attention_heads,))

    def __call__(self, x: mx.array, step: Step, cache: AttentionCache) -> mx.array:
        q, k, v = self._joined(x, step) if "qkv_proj" in self else self._separate(x, step)
        out = cache.attend(q, k, v, step, scale=self.scale, sinks=self.sinks)
        return self.o_proj(merge_heads(out))


@cache
def clamped(alpha: float, limit: float) -> Gated:
    """The gate of GPT-OSS: gate * sigmoid(alpha * gate) * (up + 1), both clamped."""

    @partial(mx.compile, shapeless=True)
    def gated(gate: mx.array, up: mx.array) -> mx.array:
        gate, up = mx.minimum(gate, limit), mx.clip(up, -limit, limit)
        return gate * mx.sigmoid(alpha * gate) * (up + 1)

    clamping: Gated = gated
    return clamping


class GptOss(CausalLM):
    config_class = GptOssConfig
    config: GptOssConfig
    names = (
        Rename(r"\.mlp\.router\.", ".mlp.gate."),
        Rename(r"(\.experts\.\w+_proj)_bias$", r"\1.bias"),
        Transpose(r"\.experts\.(gate_up|down)_proj$", (0, 2, 1)),
        Rename(r"(\.experts\.\w+_proj)$", r"\1.weight"),
        Deal(r"\.gate_up_proj\.", (".gate_proj.", ".up_proj.")),
    )

    def __init__(self, config: GptOssConfig) -> None:
        rope = config.rope()
        super().__init__(
            config, [self.layer(config, rope) for _ in range(config.num_hidden_layers)]
        )

    @staticmethod
    def layer(config: GptOssConfig, rope: Rope) -> PreNormBlock:
        dims, experts = config.hidden_size, config.num_local_experts
        gated = clamped(config.swiglu_alpha, config.swiglu_limit)
        mlp = MoE(
            SoftmaxRouter(dims, experts, config.num_experts_per_tok, normalize=True, bias=True),
            Experts(experts, dims, config.intermediate_size, gated, bias=True),
        )
        return PreNormBlock(config.norm, SinkAttention(config, rope), mlp)

    def cache_layout(self) -> list[Memory]:
        return self.config.windowed(self.config.sliding_window)
