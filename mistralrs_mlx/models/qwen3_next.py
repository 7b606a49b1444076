"""Qwen3-Next: the gated delta rule in three of four layers, gated attention in the others, experts.

Norms are stored minus one, but for the one inside the delta rule. Beside its experts a layer has a
shared one, behind a gate of its own. A quarter of each head is rotated.

Reference: transformers `Qwen3NextForCausalLM`.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.layout import Memory, Recurs
from mistralrs_mlx.cache.state import StateCache
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.layers.activations import Activation
from mistralrs_mlx.layers.attention import Attention, AttentionCache, merge_heads, split_heads
from mistralrs_mlx.layers.block import MixerBlock
from mistralrs_mlx.layers.fusing import Fusing, side_by_side
from mistralrs_mlx.layers.mlp import GatedMLP
from mistralrs_mlx.layers.moe import Experts, MoE, gated
from mistralrs_mlx.layers.recurrent import ShortConv, gated_delta, unit
from mistralrs_mlx.layers.rope import Rope
from mistralrs_mlx.layers.routers import SoftmaxRouter

from .base import FULL, LINEAR, CausalLM
from .layouts import Depthwise, Plain
from .qwen3_moe import Qwen3MoeConfig
from .weights import EXPERTS, Drop, Rule

__all__ = ["DeltaSizes", "GatedDelta", "Qwen3Next", "Qwen3NextConfig"]

KERNELS = r"\.conv1d\.weight$"


@dataclass(frozen=True, kw_only=True)
class DeltaSizes:
    """Heads of the delta rule. Each key head serves several neighbouring value heads."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int

    @property
    def keys(self) -> int:
        return self.key_heads * self.key_dim

    @property
    def values(self) -> int:
        return self.value_heads * self.value_dim


@dataclass(frozen=True, kw_only=True)
class Qwen3NextConfig(Qwen3MoeConfig):
    known_kinds = (LINEAR, FULL)

    intermediate_size: int = 5632
    num_key_value_heads: int | None = 2
    head_dim: int | None = 256
    partial_rotary_factor: float = 0.25
    full_attention_interval: int = 4
    linear_conv_kernel_dim: int = 4
    linear_key_head_dim: int = 128
    linear_value_head_dim: int = 128
    linear_num_key_heads: int = 16
    linear_num_value_heads: int = 32
    num_experts: int = 512
    num_experts_per_tok: int = 10
    moe_intermediate_size: int = 512
    shared_expert_intermediate_size: int = 512
    norm_topk_prob: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        keys, values = self.linear_num_key_heads, self.linear_num_value_heads
        if values % keys:
            raise ConfigError(
                f"{type(self).__name__}: linear_num_value_heads {values} is not a multiple of "
                f"linear_num_key_heads {keys}"
            )

    @property
    def delta(self) -> DeltaSizes:
        return DeltaSizes(
            key_heads=self.linear_num_key_heads,
            value_heads=self.linear_num_value_heads,
            key_dim=self.linear_key_head_dim,
            value_dim=self.linear_value_head_dim,
        )

    @property
    def usual_kinds(self) -> list[str]:
        every = self.full_attention_interval
        return [LINEAR if i % every else FULL for i in range(1, self.num_hidden_layers + 1)]

    def mlp(self, layer: int) -> Activation:
        dims, count = self.hidden_size, self.num_experts
        if not self.sparse(layer):
            return GatedMLP(dims, self.intermediate_size, self.activation)
        return SharedMoE(
            SoftmaxRouter(dims, count, self.num_experts_per_tok, normalize=self.norm_topk_prob),
            Experts(count, dims, self.moe_intermediate_size, gated(self.activation)),
            GatedMLP(dims, self.shared_expert_intermediate_size, self.activation),
            dims,
        )


class GatedAttention(Attention):
    """Attention whose query projection also makes a gate for what comes out, head by head."""

    def __init__(
        self,
        dims: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        rope: Rope,
        *,
        eps: float,
        bias: bool,
    ) -> None:
        norm = partial(nn.RMSNorm, head_dim, eps=eps)
        super().__init__(
            dims, heads, kv_heads, head_dim, rope, bias=bias, out_bias=bias, qk_norm=norm
        )
        self.q_proj = nn.Linear(dims, 2 * heads * head_dim, bias=bias)

    def __call__(self, x: mx.array, step: Step, cache: AttentionCache) -> mx.array:
        if "qkv_proj" in self:
            asked = 2 * self.heads * self.head_dim
            ends = [asked, asked + self.kv_heads * self.head_dim]
            q, k, v = mx.split(self.qkv_proj(x), ends, axis=-1)
        else:
            q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        q, gate = mx.split(split_heads(q, 2 * self.head_dim), 2, axis=-1)
        q, k = self.placed(q, split_heads(k, self.head_dim), step)
        out = cache.attend(q, k, split_heads(v, self.head_dim), step, scale=self.scale)
        return self.o_proj(merge_heads(out * mx.sigmoid(gate)))


class GatedDelta(Fusing):
    """A convolution, the gated delta rule, and a norm behind a gate."""

    projections: ClassVar[tuple[str, ...]] = ("in_proj_qkvz", "in_proj_ba")

    def __init__(self, dims: int, sizes: DeltaSizes, conv: ShortConv, eps: float) -> None:
        super().__init__()
        widths = self.widths(sizes)
        for name, width in zip(self.projections, widths, strict=True):
            self[name] = nn.Linear(dims, width, bias=False)
        self.conv1d = conv
        self.A_log, self.dt_bias = (mx.ones((sizes.value_heads,)) for _ in range(2))
        self.norm = nn.RMSNorm(sizes.value_dim, eps=eps)
        self.out_proj = nn.Linear(sizes.values, dims, bias=False)
        self.sizes = sizes
        self._ends = [sum(widths[:count]) for count in range(1, len(widths))]

    def __call__(self, x: mx.array, step: Step, cache: StateCache) -> mx.array:
        sizes, keys = self.sizes, self.sizes.keys
        mixed, gate, rate, pace = self.parts(self._projected(x))
        q, k, v = mx.split(self.conv1d(mixed, step, cache), [keys, 2 * keys], axis=-1)
        q, k = (unit(split_heads(each, sizes.key_dim)) for each in (q, k))
        v = split_heads(v, sizes.value_dim)
        state = (sizes.value_heads, sizes.key_dim, sizes.value_dim)
        out, new = gated_delta(
            q * sizes.key_dim**-0.5,
            k,
            v,
            self.decay(pace),
            mx.sigmoid(rate.astype(mx.float32)).swapaxes(1, 2),
            cache.read(step, 1, state, mx.float32),
        )
        cache.write(step, 1, new)
        gate = nn.silu(split_heads(gate, sizes.value_dim).astype(mx.float32))
        return self.out_proj(merge_heads((self.norm(out) * gate).astype(x.dtype)))

    def decay(self, pace: mx.array) -> mx.array:
        """Logarithm of what each head keeps of its state, (B, L, H) -> (B, H, L)"""
        span = nn.softplus(pace.astype(mx.float32) + self.dt_bias)
        decay: mx.array = -mx.exp(self.A_log) * span
        return decay.swapaxes(1, 2)

    def fuse(self) -> None:
        joined = side_by_side([self[name] for name in self.projections])
        if joined is not None:
            self.in_proj = joined
            for name in self.projections:
                del self[name]

    @staticmethod
    def widths(sizes: DeltaSizes) -> list[int]:
        """Of the projections."""
        return [2 * (sizes.keys + sizes.values), 2 * sizes.value_heads]

    def parts(self, projected: list[mx.array]) -> tuple[mx.array, mx.array, mx.array, mx.array]:
        """Input of the convolution, gate, rate and pace; stored together for each key head."""
        sizes = self.sizes
        qkvz, ba = (mx.unflatten(each, -1, (sizes.key_heads, -1)) for each in projected)
        keys, values = sizes.key_dim, sizes.values // sizes.key_heads
        parts = mx.split(qkvz, [keys, 2 * keys, 2 * keys + values], axis=-1)
        *qkv, gate = (mx.flatten(part, -2, -1) for part in parts)
        rate, pace = (mx.flatten(part, -2, -1) for part in mx.split(ba, 2, axis=-1))
        return mx.concatenate(qkv, axis=-1), gate, rate, pace

    def _projected(self, x: mx.array) -> list[mx.array]:
        if "in_proj" in self:
            return list(mx.split(self.in_proj(x), self._ends, axis=-1))
        return [self[name](x) for name in self.projections]


class SharedMoE(MoE):
    """A mixture of experts, and another expert that every token passes to the degree of a gate."""

    def __init__(self, gate: SoftmaxRouter, experts: Experts, shared: GatedMLP, dims: int) -> None:
        super().__init__(gate, experts)
        self.shared_expert = shared
        self.shared_expert_gate = nn.Linear(dims, 1, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        shared = mx.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)
        return super().__call__(x) + shared


class Qwen3Next(CausalLM):
    config_class = Qwen3NextConfig
    config: Qwen3NextConfig
    delta: ClassVar[type[GatedDelta]] = GatedDelta
    names: ClassVar[tuple[Rule, ...]] = (
        Drop(r"^mtp\."),  # a second head, for guessing ahead
        *EXPERTS,
        Plain(r"(layernorm|\.[qk]_norm|^model\.norm)\.weight$", KERNELS),
        Depthwise(KERNELS),
    )
    dense = (r"\.shared_expert_gate$",)
    precise = (r"\.linear_attn\.(A_log|dt_bias|norm\.weight)$",)  # all that meets float32

    def __init__(self, config: Qwen3NextConfig) -> None:
        rope, kinds = config.rope(), enumerate(config.kinds())
        super().__init__(config, [self.layer(config, rope, kind, i) for i, kind in kinds])

    @classmethod
    def layer(cls, config: Qwen3NextConfig, rope: Rope, kind: str, index: int) -> MixerBlock:
        dims, eps, mlp = config.hidden_size, config.rms_norm_eps, config.mlp(index)
        if kind == FULL:
            attention = GatedAttention(
                dims,
                config.num_attention_heads,
                config.kv_heads,
                config.head_size,
                rope,
                eps=eps,
                bias=config.attention_bias,
            )
            return MixerBlock(config.norm, "self_attn", attention, mlp)
        sizes = config.delta
        conv = ShortConv(
            2 * sizes.keys + sizes.values,
            config.linear_conv_kernel_dim,
            activation=config.activation,
        )
        return MixerBlock(config.norm, "linear_attn", cls.delta(dims, sizes, conv, eps), mlp)

    def cache_layout(self) -> list[Memory]:
        attends = self.config.attends(None)
        return [attends if kind == FULL else Recurs(2) for kind in self.config.kinds()]
