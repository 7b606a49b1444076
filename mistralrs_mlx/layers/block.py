"""How the parts of one decoder layer are wired around the residual stream.

A module is a dict of its parts, and `self["part"]` finds one three times as fast as `self.part`:
the host looks up thousands for every token.
"""

from collections.abc import Callable
from typing import Any, Protocol

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.step import Step

from .attention import Norm

__all__ = ["Layer", "MixerBlock", "PreNormBlock", "SandwichBlock"]


class Layer(Protocol):
    """What mixes tokens, or a whole decoder layer: (B, L, D) -> (B, L, D).

    The cache is the one that the model's `cache_layout` declares for this layer.
    """

    def __call__(self, x: mx.array, step: Step, cache: Any, /) -> mx.array: ...


class PreNormBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): Llama's arrangement, under its names."""

    def __init__(
        self, norm: Callable[[], Norm], attention: Layer, mlp: Callable[[mx.array], mx.array]
    ) -> None:
        super().__init__()
        self.input_layernorm = norm()
        self.self_attn = attention
        self.post_attention_layernorm = norm()
        self.mlp = mlp

    def __call__(self, x: mx.array, step: Step, cache: Any) -> mx.array:
        x = x + self["self_attn"](self["input_layernorm"](x), step, cache)
        y: mx.array = x + self["mlp"](self["post_attention_layernorm"](x))
        return y


class MixerBlock(nn.Module):
    """A `PreNormBlock` of a model that mixes tokens in several ways, each under its own name."""

    def __init__(
        self,
        norm: Callable[[], Norm],
        name: str,
        mixer: Layer,
        mlp: Callable[[mx.array], mx.array],
    ) -> None:
        super().__init__()
        self.input_layernorm = norm()
        self[name] = mixer
        self.post_attention_layernorm = norm()
        self.mlp = mlp
        self.mixer = name

    def __call__(self, x: mx.array, step: Step, cache: Any) -> mx.array:
        x = x + self[self.mixer](self["input_layernorm"](x), step, cache)
        y: mx.array = x + self["mlp"](self["post_attention_layernorm"](x))
        return y


class SandwichBlock(nn.Module):
    """A norm before and after attention and MLP, under the names that Gemma 2 gives them."""

    def __init__(
        self, norm: Callable[[], Norm], attention: Layer, mlp: Callable[[mx.array], mx.array]
    ) -> None:
        super().__init__()
        self.input_layernorm = norm()
        self.self_attn = attention
        self.post_attention_layernorm = norm()
        self.pre_feedforward_layernorm = norm()
        self.mlp = mlp
        self.post_feedforward_layernorm = norm()

    def __call__(self, x: mx.array, step: Step, cache: Any) -> mx.array:
        attended = self["self_attn"](self["input_layernorm"](x), step, cache)
        x = x + self["post_attention_layernorm"](attended)
        worked = self["mlp"](self["pre_feedforward_layernorm"](x))
        y: mx.array = x + self["post_feedforward_layernorm"](worked)
        return y
