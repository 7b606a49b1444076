"""A clip as embeddings: one encoder, and a projection for each mode.

`vision` is for requests that hold pictures, too, and `speech` for all others.
"""

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.models.towers.conformer import Conformer, ConformerConfig

from .projection import Projection

__all__ = ["AudioEmbedder"]


class AudioEmbedder(nn.Module):
    def __init__(self, config: ConformerConfig, dims: int) -> None:
        super().__init__()
        self.tower = Conformer(config)
        self.speech = Projection(config.hidden_size, dims)
        self.vision = Projection(config.hidden_size, dims)

    def __call__(self, features: mx.array, *, with_pictures: bool) -> mx.array:
        """(frames, mels) log-mel features -> (ceil(frames / 8), dims)"""
        projection = self.vision if with_pictures else self.speech
        return projection(self.tower(features))
