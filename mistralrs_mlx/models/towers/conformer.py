"""The audio encoder of Phi-4-multimodal: a Conformer with relative biases over eightfold steps.

Mel frames are thinned out by strided convolutions, then every layer lets the steps attend to each
other, shifted by a learned bias for each distance. Beyond 500 steps (40 s) the audio is cut into
pieces that attend alone; the last one is filled up with zeros, which it sees.

Reference: microsoft/Phi-4-multimodal-instruct, `speech_conformer_encoder.py`.
"""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.layers.activations import activation
from mistralrs_mlx.layers.attention import Attention
from mistralrs_mlx.layers.encoder import Surroundings, encoder_step
from mistralrs_mlx.models.base import Config

__all__ = ["Conformer", "ConformerConfig"]

REACH = 500  # steps that attend to each other
HALVINGS = 3  # of the number of frames
SLICE = 125  # steps whose frames are thinned out at a time: 80 MiB with 1024 channels


@dataclass(frozen=True, kw_only=True)
class ConformerConfig(Config):
    """Named as transformers does; the defaults are its, too."""

    hidden_size: int = 1024
    intermediate_size: int = 1536
    num_blocks: int = 24
    num_attention_heads: int = 16
    activation: str = "swish"
    conv_activation: str = "swish"
    conv_glu_type: str = "swish"
    kernel_size: int = 3
    input_size: int = 80
    nemo_activation: str = "relu"
    nemo_conv_channels: int = 1024
    bias_max_distance: int = 1000
    bias_symmetric: bool = False
    chunk_size: int = -1
    time_reduction: int = 2**HALVINGS
    downsample_rate: int = 1
    depthwise_multiplier: int = 1

    def __post_init__(self) -> None:
        name = type(self).__name__
        only = {
            "bias_symmetric": False,
            "chunk_size": -1,
            "time_reduction": 2**HALVINGS,
            "downsample_rate": 1,
            "depthwise_multiplier": 1,
        }
        for key, value in only.items():
            if (found := getattr(self, key)) != value:
                raise ConfigError(f"{name}: {key} {found!r} is not supported, only {value!r}")
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"{name}: hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )


class Conformer(nn.Module):
    """(frames, mels) log-mel features -> (ceil(frames / 8), D)"""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.encoder_embedding = _Standardized(config.input_size)
        self.embed = _Subsampling(config)
        self.relative_attention_bias_layer = _RelativeBias(config)
        self.layers = [_Block(config) for _ in range(config.num_blocks)]

    def __call__(self, features: mx.array) -> mx.array:
        x = self.embed(self.encoder_embedding(features))
        steps = len(x)
        span = min(steps, REACH)
        x = mx.pad(x, [(0, -steps % span), (0, 0)]).reshape(-1, span, x.shape[-1])
        step = encoder_step([span] * len(x), span)
        seen = Surroundings(self.relative_attention_bias_layer(span))
        for layer in self.layers:
            x = layer(x, step, seen)
        return x.reshape(-1, x.shape[-1])[:steps]


class _Standardized(nn.Module):
    """(x - mean) / deviation for each mel, with the statistics of the training data."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.global_mean = mx.zeros((size,))
        self.global_invstd = mx.ones((size,))

    def __call__(self, x: mx.array) -> mx.array:
        return (x - self.global_mean) * self.global_invstd


class _Subsampling(nn.Module):
    """Strided convolutions over time and mels, the first one full and the others separable."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        channels, mels = config.nemo_conv_channels, config.input_size
        self.first = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.deeper = [_SeparableConv2d(channels) for _ in range(HALVINGS - 1)]
        self.out = nn.Linear(channels * -(-mels // 2**HALVINGS), config.hidden_size)
        self.activation = activation(config.nemo_activation)

    def __call__(self, features: mx.array) -> mx.array:
        """(frames, mels) -> (steps, D), slice by slice, since there are many channels"""
        factor, starts = 2**HALVINGS, range(0, len(features), 2**HALVINGS * SLICE)
        if len(starts) == 1:
            return self._thinned(features)
        parts = []
        for start in starts:
            # A step reads back into the frames of the one before; that one's own is not whole.
            before = min(start, factor)
            piece = features[start - before : start + factor * SLICE]
            parts.append(self._thinned(piece)[before // factor :])
            mx.eval(parts[-1])
        return mx.concatenate(parts)

    def _thinned(self, features: mx.array) -> mx.array:
        x = features.astype(self.first.weight.dtype)[None, :, :, None]
        x = self.activation(self.first(x))
        for layer in self.deeper:
            x = self.activation(layer(x))
        x = x[0].swapaxes(1, 2)  # (steps, channels, mels / 8)
        return self.out(x.reshape(len(x), -1))


class _SeparableConv2d(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels)
        self.pointwise = _Pointwise(channels, channels, 2)

    def __call__(self, x: mx.array) -> mx.array:
        return self.pointwise(self.depthwise(x))


class _Pointwise(nn.Module):
    """A convolution of width one over the last axis, in torch's shape: (N, K, 1) or (N, K, 1, 1)"""

    def __init__(self, dims: int, out: int, axes: int) -> None:
        super().__init__()
        self.weight = mx.zeros((out, dims, *[1] * axes))
        self.bias = mx.zeros((out,))

    def __call__(self, x: mx.array) -> mx.array:
        return x @ self.weight.reshape(self.weight.shape[:2]).T + self.bias


class _RelativeBias(nn.Module):
    """A learned score for each head and each distance, from -`most` to `most - 1`."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.most = config.bias_max_distance
        self.bias_values = nn.Embedding(2 * self.most, config.num_attention_heads)

    def __call__(self, length: int) -> mx.array:
        """-> (1, heads, L, L)"""
        places = mx.arange(length)
        away = mx.clip(places - places[:, None], -self.most, self.most - 1)
        scores: mx.array = self.bias_values(away + self.most)
        return scores.transpose(2, 0, 1)[None]


class _Block(nn.Module):
    """Half a feed-forward, attention, convolution, the other half, and a norm at the end."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        dims, heads = config.hidden_size, config.num_attention_heads
        self.feed_forward_in = _FeedForward(config)
        self.layer_norm_att = nn.LayerNorm(dims)
        self.self_attn = Attention(
            dims, heads, heads, dims // heads, None, bias=True, out_bias=True
        )
        self.conv = _Convolution(config)
        self.feed_forward_out = _FeedForward(config)
        self.layer_norm = nn.LayerNorm(dims)

    def __call__(self, x: mx.array, step: Step, seen: Any) -> mx.array:
        x = x + 0.5 * self.feed_forward_in(x)
        x = x + self.self_attn(self.layer_norm_att(x), step, seen)
        x = x + self.conv(x)
        y: mx.array = self.layer_norm(x + 0.5 * self.feed_forward_out(x))
        return y


class _FeedForward(nn.Module):
    """down(up * activation(gate)); the first half of what the joined layer gives is `up`."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        dims, hidden = config.hidden_size, config.intermediate_size
        self.layer_norm = nn.LayerNorm(dims)
        self.gate_up_proj = nn.Linear(dims, 2 * hidden)
        self.down_proj = nn.Linear(hidden, dims)
        self.activation = activation(config.activation)

    def __call__(self, x: mx.array) -> mx.array:
        up, gate = mx.split(self.gate_up_proj(self.layer_norm(x)), 2, axis=-1)
        return self.down_proj(up * self.activation(gate))


class _Convolution(nn.Module):
    """A gated product, a causal convolution of each channel, and two products behind it."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        dims = config.hidden_size
        self.layer_norm = nn.LayerNorm(dims)
        self.glu = _GatedPointwise(config)
        self.dw_sep_conv_1d = _SeparableConv1d(dims, config.kernel_size)
        self.ext_pw_conv_1d = _Pointwise(dims, dims, 1)
        self.activation = activation(config.conv_activation)

    def __call__(self, x: mx.array) -> mx.array:
        x = self.dw_sep_conv_1d(self.glu(self.layer_norm(x)))
        return self.ext_pw_conv_1d(self.activation(x))


class _GatedPointwise(nn.Module):
    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        dims = config.hidden_size
        self.ext_pw_conv_1d = _Pointwise(dims, 2 * dims, 1)
        self.b1 = mx.zeros(
            (1, dims, 1)
        )  # channels in the middle, as torch's convolutions have them
        self.b2 = mx.zeros((1, dims, 1))
        self.activation = activation(config.conv_glu_type)

    def __call__(self, x: mx.array) -> mx.array:
        value, gate = mx.split(self.ext_pw_conv_1d(x), 2, axis=-1)
        return (value + self.b1.reshape(-1)) * self.activation(gate + self.b2.reshape(-1))


class _SeparableConv1d(nn.Module):
    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.dw_conv = _CausalConv1d(dims, width)
        self.pw_conv = _Pointwise(dims, dims, 1)

    def __call__(self, x: mx.array) -> mx.array:
        return self.pw_conv(self.dw_conv(x))


class _CausalConv1d(nn.Module):
    """Each channel by itself: a step sees itself and the `width - 1` steps before it."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.weight = mx.zeros((dims, 1, width))  # torch's shape; the last tap is the step's own
        self.bias = mx.zeros((dims,))

    def __call__(self, x: mx.array) -> mx.array:
        """(B, L, D) -> (B, L, D)"""
        length, width = x.shape[1], self.weight.shape[-1]
        x = mx.pad(x, [(0, 0), (width - 1, 0), (0, 0)])
        y = self.bias
        for tap in range(width):
            y = y + x[:, tap : tap + length] * self.weight[:, 0, tap]
        return y
