"""Pictures and clips made by formulas, the same on every machine."""

import numpy as np

__all__ = ["CLIPS", "PICTURES", "clip", "picture", "places"]

PICTURES = [
    (1, 1), (2, 3), (10, 448), (448, 448), (449, 448), (451, 300), (640, 427), (700, 1000),
    (896, 896), (1345, 1000), (4000, 300), (300, 4000), (16500, 40), (3100, 1900),
]  # fmt: skip
CLIPS = [(rate, seconds) for rate in (8000, 16000) for seconds in (0.025, 0.1, 1.0, 7.33, 60.0)]


def picture(width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8: slopes, arcs and a fine check, of integers only."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    slopes = (x * 5 + y * 3) // 4
    arcs = (x * x + y * y) // 97
    check = ((x // 3) ^ (y // 5)) * 17
    return np.asarray(np.stack([slopes, arcs, check], axis=-1) % 256, np.uint8)


def clip(rate: int, seconds: float) -> np.ndarray:
    """(samples,) float32: triangle waves that fall and rise, and some silence; of integers only."""
    n = np.arange(int(rate * seconds), dtype=np.int64)
    period = 16 + n // 64 % 100
    wave = np.abs(n % period * 2 - period) * 20000 // period - 10000
    hiss = n * n * 7919 % 601 - 300
    loud = (n // (rate // 50)) % 5 > 0
    return np.asarray((wave + hiss) * loud / 32768, np.float32)


def places(size: int, many: int = 24) -> np.ndarray:
    """Places all over an array of this size, without a common step."""
    return np.arange(1, many + 1) * 2_654_435_761 % size
