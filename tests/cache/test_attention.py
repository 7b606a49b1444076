"""Attention beside MLX's kernel: caps mean the same in dense and in packed columns."""

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Attends, Packing

CAP, SCALE = 2.0, 0.5


def attended(lengths: list[int], *, bits: int | None, softcap: float | None) -> np.ndarray:
    """What random queries get from a cache with a window of 8, fed in chunks of these lengths."""
    keys = mx.random.split(mx.random.key(3), 3)
    q, k, v = (
        mx.random.normal((1, heads, sum(lengths), 64), key=key)
        for heads, key in zip((4, 2, 2), keys, strict=True)
    )
    caches, parts, start = Caches([Attends(8)], packing=bits and Packing(bits=bits)), [], 0
    caches.add()
    for length in lengths:
        step = caches.step(0, 1, length)
        chunk = [x[:, :, start : start + length] for x in (q, k, v)]
        parts.append(step.caches[0].attend(*chunk, step, scale=SCALE, softcap=softcap))
        start += length
    return np.array(mx.concatenate(parts, axis=2))


@pytest.mark.parametrize("lengths", [[20], [6, 1, 1, 12]])
def test_packed_columns_know_caps_too(lengths: list[int]) -> None:
    dense, packed = (attended(lengths, bits=bits, softcap=CAP) for bits in (None, 8))
    uncapped = attended(lengths, bits=8, softcap=None)
    assert np.abs(dense - packed).max() < 0.05
    assert np.abs(uncapped - packed).max() > 0.5


@pytest.mark.parametrize("bits", [None, 8])
def test_a_cap_far_beyond_all_scores_changes_nothing(bits: int | None) -> None:
    plain, capped = (attended([9, 3], bits=bits, softcap=cap) for cap in (None, 1e4))
    assert np.abs(plain - capped).max() < 1e-3
