"""A picture as embeddings: its tiles in reading order, then a small view of the whole.

Every line of cells ends with a learned newline, and a learned separator stands between the tiles
and the whole. What a tile holds beyond the picture's edge is left out.
"""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mistralrs_mlx.models.towers.siglip import Siglip

from .config import VisionConfig
from .projection import Projection

__all__ = ["ImageEmbedder"]

TILES = 4  # encoded at a time: each takes 64 MiB for its attention in float32


class ImageEmbedder(nn.Module):
    def __init__(self, config: VisionConfig, dims: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.tower = Siglip(config, layers=config.depth)
        self.separator = mx.zeros((1, 1, width))
        self.newline = mx.zeros((1, 1, 1, width))
        self.projection = Projection(width, dims)
        self.side, self.size = config.side, config.image_size

    def __call__(self, pixels: mx.array, mask: mx.array, size: mx.array) -> mx.array:
        """pixels (1 + tiles, H, W, 3), the whole first; mask (1 + tiles, h, w), true where a patch
        is part of the picture; size (2,), height and width that the tiles cover, in pixels
        -> (tokens, dims)
        """
        height, width = map(int, np.array(size) // self.size)
        there = _there(np.array(mask), height, width)
        cells = self._cells(pixels, mask)
        tiles = _grid(cells[1:], height, width)
        tiles = tiles[: there[:, 0].sum(), : there[0].sum()]
        lines = [self._lines(tiles), self.separator[0], self._lines(cells[0])]
        return self.projection(mx.concatenate(lines))

    def _cells(self, pixels: mx.array, mask: mx.array) -> mx.array:
        """(tiles, h / 2, w / 2, D): means over two by two patches, a few tiles at a time"""
        parts = []
        for start in range(0, len(pixels), TILES):
            some = slice(start, start + TILES)
            x = self.tower(pixels[some], mask[some])
            half = self.side // 2
            parts.append(x.reshape(len(x), half, 2, half, 2, -1).mean((2, 4)))
            mx.eval(parts[-1])
        return mx.concatenate(parts)

    def _lines(self, cells: mx.array) -> mx.array:
        """(h, w, D) -> (h * (w + 1), D)"""
        ends = mx.broadcast_to(self.newline[0], (len(cells), 1, cells.shape[-1]))
        lines = mx.concatenate([cells, ends], axis=1)
        return lines.reshape(-1, lines.shape[-1])


def _there(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which cells of the tiles are part of the picture, as one grid: by their first patch."""
    count, rows, columns = mask[1:, ::2, ::2].shape
    if count != height * width:
        raise ValueError(f"{count} tiles cannot be {height} rows of {width}")
    cells = mask[1:, ::2, ::2].astype(bool).reshape(height, width, rows, columns)
    return cells.swapaxes(1, 2).reshape(height * rows, width * columns)


def _grid(tiles: mx.array, height: int, width: int) -> mx.array:
    """(height * width, h, w, D) tiles in reading order -> (height * h, width * w, D)"""
    _, rows, columns, dims = tiles.shape
    cells = tiles.reshape(height, width, rows, columns, dims).swapaxes(1, 2)
    return cells.reshape(height * rows, width * columns, dims)
