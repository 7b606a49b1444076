"""Granite 4: Mamba-2 or attention in each layer, an MLP, and experts beside it in some models.

Granite's four multipliers are here too. Attention sees no positions unless
`position_embedding_type` is "rope". Files call the layers "mamba" and "attention", or as
transformers 5 does.

Reference: transformers `GraniteMoeHybridForCausalLM`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.layout import Memory, Recurs
from mistralrs_mlx.cache.state import StateCache
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.layers.attention import Attention, Norm, merge_heads, split_heads
from mistralrs_mlx.layers.block import Layer
from mistralrs_mlx.layers.mlp import GatedMLP
from mistralrs_mlx.layers.moe import Experts, MoE, gated
from mistralrs_mlx.layers.recurrent import ShortConv, state_space
from mistralrs_mlx.layers.rope import Rope
from mistralrs_mlx.layers.routers import SoftmaxRouter

from .base import FULL, LINEAR, CausalLM
from .granite import GraniteConfig
from .layouts import Depthwise
from .weights import EXPERTS, Rename, Split

__all__ = ["GraniteMoeHybrid", "GraniteMoeHybridConfig"]

OLDER = {"mamba": LINEAR, "attention": FULL}


@dataclass(frozen=True, kw_only=True)
class GraniteMoeHybridConfig(GraniteConfig):
    known_kinds = (LINEAR, FULL, *OLDER)

    intermediate_size: int = 11008  # of an expert
    shared_intermediate_size: int = 1024
    num_local_experts: int = 8
    num_experts_per_tok: int = 2
    position_embedding_type: str | None = None
    mamba_n_heads: int = 128
    mamba_n_groups: int = 1
    mamba_d_state: int = 256
    mamba_d_head: int | str = "auto"
    mamba_d_conv: int = 4
    mamba_expand: int = 2
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False
    time_step_limit: list[Any] | None = None  # of the time that a token takes; None: no limits

    def __post_init__(self) -> None:
        super().__post_init__()
        heads, groups, inner = self.mamba_n_heads, self.mamba_n_groups, self.mamba_size
        if heads * self.mamba_head_dim != inner or heads % groups:
            raise ConfigError(
                f"{type(self).__name__}: mamba_n_heads {heads} must be a multiple of mamba_n_groups"
                f" {groups} and, times mamba_d_head {self.mamba_d_head}, be mamba_expand times "
                f"hidden_size, which is {inner}"
            )

    @property
    def mamba_size(self) -> int:
        return self.mamba_expand * self.hidden_size

    @property
    def mamba_head_dim(self) -> int:
        auto = self.mamba_size // self.mamba_n_heads
        return self.mamba_d_head if isinstance(self.mamba_d_head, int) else auto

    @property
    def time_limits(self) -> tuple[float, float]:
        low, high = self.time_step_limit or (0.0, math.inf)
        return _number(low), _number(high)

    @property
    def usual_kinds(self) -> list[str]:
        return [LINEAR] * self.num_hidden_layers

    def kinds(self) -> list[str]:
        return [OLDER.get(kind, kind) for kind in super().kinds()]


class GatedGroupNorm(nn.Module):
    """RMS norm of x * silu(gate), each of several groups of neighbours by itself."""

    def __init__(self, dims: int, groups: int, eps: float) -> None:
        super().__init__()
        self.weight = mx.ones((dims,))
        self.groups, self.eps = groups, eps

    def __call__(self, x: mx.array, gate: mx.array) -> mx.array:
        """(B, L, D) in float32 and in any type -> (B, L, D) in float32"""
        x = mx.unflatten(x * nn.silu(gate.astype(mx.float32)), -1, (self.groups, -1))
        return self.weight * mx.flatten(mx.fast.rms_norm(x, None, self.eps), -2, -1)


class Mamba2(nn.Module):
    """A convolution, then a state space whose pace, input and output depend on the token."""

    def __init__(
        self,
        dims: int,
        heads: int,
        head_dim: int,
        states: int,
        conv: ShortConv,
        norm: GatedGroupNorm,
        *,
        bias: bool,
        limits: tuple[float, float],
    ) -> None:
        super().__init__()
        inner, mixed = heads * head_dim, conv.weight.shape[0]
        self.in_proj = nn.Linear(dims, inner + mixed + heads, bias=bias)
        self.conv1d = conv
        self.A_log, self.D, self.dt_bias = mx.zeros((heads,)), mx.ones((heads,)), mx.ones((heads,))
        self.norm = norm
        self.out_proj = nn.Linear(inner, dims, bias=bias)
        self.heads, self.head_dim, self.states, self.limits = heads, head_dim, states, limits
        self.inner, self.mixed = inner, mixed

    def __call__(self, x: mx.array, step: Step, cache: StateCache) -> mx.array:
        inner, side = self.inner, (self.mixed - self.inner) // 2
        gate, mixed, span = mx.split(self.in_proj(x), [inner, inner + self.mixed], axis=-1)
        values, b, c = mx.split(self.conv1d(mixed, step, cache), [inner, inner + side], axis=-1)
        values = split_heads(values, self.head_dim).astype(mx.float32)
        b, c = split_heads(b, self.states), split_heads(c, self.states)
        state = cache.read(step, 1, (self.heads, self.head_dim, self.states), mx.float32)
        y, state = state_space(values, self.span(span), -mx.exp(self.A_log), b, c, state)
        cache.write(step, 1, state)
        y = merge_heads(y + self.D[:, None, None] * values)
        return self.out_proj(self.norm(y, gate).astype(x.dtype))

    def span(self, raw: mx.array) -> mx.array:
        """How long each token lasts for each head, (B, L, H) -> (B, H, L)"""
        span = nn.softplus(raw.astype(mx.float32) + self.dt_bias)
        return mx.clip(span, *self.limits).swapaxes(1, 2)


class Block(nn.Module):
    """Adds fractions of what the mixer says, and of what shared MLP and experts say together."""

    def __init__(
        self,
        norm: Callable[[], Norm],
        name: str,
        mixer: Layer,
        shared: GatedMLP,
        experts: MoE | None,
        scale: float,
    ) -> None:
        super().__init__()
        self.input_layernorm = norm()
        self[name] = mixer
        self.post_attention_layernorm = norm()
        self.shared_mlp = shared
        if experts is not None:
            self.block_sparse_moe = experts
        self.mixer, self.scale = name, scale

    def __call__(self, x: mx.array, step: Step, cache: Any) -> mx.array:
        x = x + self.scale * self[self.mixer](self.input_layernorm(x), step, cache)
        normed = self.post_attention_layernorm(x)
        y = self.shared_mlp(normed)
        if "block_sparse_moe" in self:
            y = y + self.block_sparse_moe(normed)
        return x + self.scale * y


class GraniteMoeHybrid(CausalLM):
    config_class = GraniteMoeHybridConfig
    config: GraniteMoeHybridConfig
    names = (
        Rename(r"\.mlp\.", ".shared_mlp."),  # what mlx-lm calls it where there are no experts
        Rename(r"\.shared_mlp\.output_linear\.", ".shared_mlp.down_proj."),
        Split(
            r"\.shared_mlp\.input_linear\.",
            (".shared_mlp.gate_proj.", ".shared_mlp.up_proj."),
            (1, 1),
        ),
        Rename(r"\.block_sparse_moe\.router\.layer\.", ".block_sparse_moe.gate."),
        Rename(r"\.block_sparse_moe\.output_linear\.", ".block_sparse_moe.experts.down_proj."),
        Split(
            r"\.block_sparse_moe\.input_linear\.",
            (".block_sparse_moe.experts.gate_proj.", ".block_sparse_moe.experts.up_proj."),
            (1, 1),
            axis=1,
        ),
        *EXPERTS,
        Depthwise(r"\.conv1d\.weight$"),
    )
    precise = (r"\.mamba\.(A_log|D|dt_bias|norm\.weight)$",)  # all that meets float32

    def __init__(self, config: GraniteMoeHybridConfig) -> None:
        rope = config.rope() if config.position_embedding_type == "rope" else None
        super().__init__(config, [self.layer(config, rope, kind) for kind in config.kinds()])

    @classmethod
    def layer(cls, config: GraniteMoeHybridConfig, rope: Rope | None, kind: str) -> Block:
        name = "mamba" if kind == LINEAR else "self_attn"
        mixer = cls.mamba(config) if kind == LINEAR else cls.attention(config, rope)
        shared = GatedMLP(config.hidden_size, config.shared_intermediate_size, config.activation)
        experts = cls.experts(config) if config.num_local_experts else None
        return Block(config.norm, name, mixer, shared, experts, config.residual_multiplier)

    @staticmethod
    def attention(config: GraniteMoeHybridConfig, rope: Rope | None) -> Attention:
        return Attention(
            config.hidden_size,
            config.num_attention_heads,
            config.kv_heads,
            config.head_size,
            rope,
            bias=config.attention_bias,
            out_bias=config.attention_bias,
            scale=config.attention_multiplier,
        )

    @staticmethod
    def mamba(config: GraniteMoeHybridConfig) -> Mamba2:
        inner, groups, states = config.mamba_size, config.mamba_n_groups, config.mamba_d_state
        conv = ShortConv(
            inner + 2 * groups * states,
            config.mamba_d_conv,
            bias=config.mamba_conv_bias,
            activation=config.activation,
        )
        return Mamba2(
            config.hidden_size,
            config.mamba_n_heads,
            config.mamba_head_dim,
            states,
            conv,
            GatedGroupNorm(inner, groups, config.rms_norm_eps),
            bias=config.mamba_proj_bias,
            limits=config.time_limits,
        )

    @staticmethod
    def experts(config: GraniteMoeHybridConfig) -> MoE:
        dims, count = config.hidden_size, config.num_local_experts
        router = SoftmaxRouter(dims, count, config.num_experts_per_tok, normalize=True)
        return MoE(router, Experts(count, dims, config.intermediate_size, gated(config.activation)))

    def embed(self, tokens: mx.array) -> mx.array:
        return super().embed(tokens) * self.config.embedding_multiplier

    def head(self, hidden: mx.array) -> mx.array:
        return super().head(hidden) / self.config.logits_scaling

    def cache_layout(self) -> list[Memory]:
        attends = self.config.attends(None)
        return [Recurs(2) if kind == LINEAR else attends for kind in self.config.kinds()]


def _number(value: Any) -> float:
    """A number in JSON. transformers 5 writes {"__float__": "Infinity"} for one without end."""
    return float(value["__float__"] if isinstance(value, Mapping) else value)
