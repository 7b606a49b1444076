"""Rotary positions for the CPU backend: sines and cosines once a pass, not twice in every layer."""

import threading
from dataclasses import dataclass

import mlx.core as mx

__all__ = ["rope"]

KEPT = 8  # tables; more than the ropes that any model has


def rope(
    x: mx.array,
    dims: int,
    /,
    *,
    traditional: bool,
    base: float | None,
    scale: float,
    offset: int | mx.array,
    freqs: mx.array,
) -> mx.array:
    """What `mx.fast.rope` computes of x (B, heads, L, head_dim) with the periods `freqs`.

    A single token is turned by one matrix product, more of them pair by pair.
    """
    if x.dtype != mx.float32 or base is not None or scale != 1:
        return mx.fast.rope(
            x, dims, traditional=traditional, base=base, scale=scale, offset=offset, freqs=freqs
        )
    cos, sin, matrix = _tables.of(x, dims, offset, freqs, traditional)
    if matrix is not None:
        return (x.squeeze(2) @ matrix)[:, :, None]
    turned = _pairs(x[..., :dims], cos, sin, traditional)
    return turned if dims == x.shape[-1] else mx.concatenate([turned, x[..., dims:]], axis=-1)


Table = tuple[mx.array, mx.array, mx.array | None]


@dataclass(frozen=True)
class _Entry:
    """A table, and the arrays that it was made of: while they live nobody else has their ids."""

    table: Table
    offset: int | mx.array
    freqs: mx.array


class _Tables(threading.local):  # an array that is not computed yet belongs to its thread
    """What the layers of one pass share."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int | bool, ...], _Entry] = {}

    def of(
        self, x: mx.array, dims: int, offset: int | mx.array, freqs: mx.array, traditional: bool
    ) -> Table:
        length, head_dim = x.shape[-2:]
        of_rows = isinstance(offset, mx.array)
        place = id(offset) if isinstance(offset, mx.array) else offset
        key = (id(freqs), of_rows, place, length, head_dim, traditional)
        entry = self._kept.get(key)
        if entry is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            cos, sin = _angles(offset, length, freqs)
            matrix = _matrix(cos, sin, head_dim, traditional) if length == 1 else None
            entry = self._kept[key] = _Entry((cos, sin, matrix), offset, freqs)
        return entry.table


_tables = _Tables()


def _angles(offset: int | mx.array, length: int, freqs: mx.array) -> tuple[mx.array, mx.array]:
    """Cosines and sines (rows, 1, L, dims / 2); one row if all stand at the same position."""
    first = offset.reshape(-1, 1, 1, 1) if isinstance(offset, mx.array) else offset
    positions = (mx.arange(length)[:, None] + first).astype(mx.float32).reshape(-1, 1, length, 1)
    angles = positions * mx.reciprocal(freqs)
    return mx.cos(angles), mx.sin(angles)


def _pairs(x: mx.array, cos: mx.array, sin: mx.array, traditional: bool) -> mx.array:
    if traditional:
        a, b = x[..., ::2], x[..., 1::2]
        return mx.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).flatten(-2)
    a, b = mx.split(x, 2, axis=-1)
    return mx.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def _matrix(cos: mx.array, sin: mx.array, head_dim: int, traditional: bool) -> mx.array:
    """The matrices (rows, head_dim, head_dim) that turn a row of a head: its pairs, no others."""
    pairs = cos.shape[-1]
    unit = mx.eye(2 * pairs).reshape(1, 1, 2 * pairs, 2 * pairs)
    turned = _pairs(unit, cos, sin, traditional)[:, 0]
    rest = head_dim - 2 * pairs
    if not rest:
        return turned
    zeros = mx.zeros((len(turned), 2 * pairs, rest))
    kept = mx.broadcast_to(mx.eye(rest, head_dim, k=2 * pairs), (len(turned), rest, head_dim))
    return mx.concatenate([mx.concatenate([turned, zeros], axis=2), kept], axis=1)
