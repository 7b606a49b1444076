"""SigLIP's image encoder: patches, learned positions, attention to both sides.

A picture may fill only a part of its square; then a mask tells its patches, the others are hidden,
and the positions of the whole table are spread over what is there, as NaViT does it.

Reference: transformers `Idefics2VisionTransformer`, from which Phi-4-multimodal took its encoder.
"""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.layers.activations import activation
from mistralrs_mlx.layers.attention import Attention
from mistralrs_mlx.layers.encoder import Surroundings, encoder_step
from mistralrs_mlx.models.base import Config

__all__ = ["Siglip", "SiglipConfig", "spread_positions"]


@dataclass(frozen=True, kw_only=True)
class SiglipConfig(Config):
    """The defaults are those of SigLIP-SO400M with patches of 14 pixels."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 27
    num_attention_heads: int = 16
    num_channels: int = 3
    image_size: int = 448
    patch_size: int = 14
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        for whole, part in (
            ("hidden_size", "num_attention_heads"),
            ("image_size", "patch_size"),
        ):
            size, count = getattr(self, whole), getattr(self, part)
            if count <= 0 or size <= 0 or size % count:
                raise ConfigError(
                    f"{type(self).__name__}: {whole} {size} is not a multiple of {part} {count}"
                )

    @property
    def side(self) -> int:
        """Patches along one side of a full picture."""
        return self.image_size // self.patch_size

    def norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.hidden_size, eps=self.layer_norm_eps)


class Siglip(nn.Module):
    """The encoder up to some layer, without the norm and the pooling that follow the last one."""

    def __init__(self, config: SiglipConfig, layers: int | None = None) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        count = config.num_hidden_layers if layers is None else layers
        self.layers = [_Block(config) for _ in range(count)]

    def __call__(self, pixels: mx.array, mask: mx.array) -> mx.array:
        """pixels (B, H, W, C), mask (B, h, w) true where a patch is part of the picture
        -> (B, h * w, D)
        """
        seen = np.array(mask).astype(bool)
        x = self.embeddings(pixels, seen)
        step = encoder_step([x.shape[1]] * len(x), x.shape[1])
        hidden = None if seen.all() else mx.array(seen.reshape(len(x), 1, 1, -1))
        for layer in self.layers:
            x = layer(x, step, Surroundings(hidden))
        return x


def spread_positions(seen: np.ndarray, side: int) -> np.ndarray:
    """For patches (B, h, w): rows of a table of side * side positions, (B, h * w).

    The arithmetic is that of float32 throughout, since many places fall exactly on a border.
    """
    borders = np.arange(1 / side, 1.0, 1 / side).astype(np.float32)
    down = _bucketed(seen[:, :, 0].sum(1), seen.shape[1], borders)
    across = _bucketed(seen[:, 0, :].sum(1), seen.shape[2], borders)
    places = down[:, :, None] * side + across[:, None, :]
    return np.where(seen, places, 0).reshape(len(seen), -1)


class PatchEmbedding(nn.Module):
    """A convolution whose stride is its width, as one product."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.weight = mx.zeros((config.hidden_size, config.num_channels, size, size))  # torch's
        self.bias = mx.zeros((config.hidden_size,))

    def __call__(self, pixels: mx.array) -> mx.array:
        """(B, H, W, C) -> (B, h * w, D)"""
        out, channels, size, _ = self.weight.shape
        batch, height, width, _ = pixels.shape
        x = pixels.astype(self.weight.dtype)
        x = x.reshape(batch, height // size, size, width // size, size, channels)
        x = x.transpose(0, 1, 3, 5, 2, 4).reshape(batch, -1, channels * size * size)
        return x @ self.weight.reshape(out, -1).T + self.bias


class _Embeddings(nn.Module):
    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(config)
        self.position_embedding = nn.Embedding(config.side**2, config.hidden_size)
        self.side = config.side

    def __call__(self, pixels: mx.array, seen: np.ndarray) -> mx.array:
        places = mx.array(spread_positions(seen, self.side))
        x: mx.array = self.patch_embedding(pixels) + self.position_embedding(places)
        return x


class _Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), with biases everywhere."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        dims, heads = config.hidden_size, config.num_attention_heads
        self.layer_norm1 = config.norm()
        self.self_attn = Attention(
            dims, heads, heads, dims // heads, None, bias=True, out_bias=True
        )
        self.layer_norm2 = config.norm()
        self.mlp = _MLP(config)

    def __call__(self, x: mx.array, step: Step, seen: Any) -> mx.array:
        x = x + self.self_attn(self.layer_norm1(x), step, seen)
        return x + self.mlp(self.layer_norm2(x))


class _MLP(nn.Module):
    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = activation(config.hidden_act)

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(self.activation(self.fc1(x)))


def _bucketed(counts: np.ndarray, length: int, borders: np.ndarray) -> np.ndarray:
    """(B,) patches that are there, of `length` -> in which part of the table each stands, (B, L)"""
    step = np.float32(1) / np.maximum(counts, 1).astype(np.float32)
    places = np.arange(length, dtype=np.float32) * step[:, None]
    places = np.minimum(places, np.float32(1 - 1e-6))
    return np.asarray(np.searchsorted(borders, places, side="right"))
