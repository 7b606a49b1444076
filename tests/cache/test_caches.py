"""Rows, slots and windows: what attention sees through the arenas is what a plain one would see."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Attends, Packing, Recurs
from mistralrs_mlx.cache.span import FEW, Track
from mistralrs_mlx.cache.state import StateCache

HEADS, KV = 4, 2


class Row:
    """One sequence with all its keys and values kept, and attention the slow, obvious way."""

    def __init__(self, seed: int, window: int | None, dims: int = 8) -> None:
        self.random, self.window, self.dims = np.random.default_rng(seed), window, dims
        self.k, self.v = np.zeros((2, KV, 0, dims))

    def new(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        q = self.random.standard_normal((HEADS, length, self.dims))
        k, v = self.random.standard_normal((2, KV, length, self.dims))
        self.k, self.v = np.concatenate([self.k, k], 1), np.concatenate([self.v, v], 1)
        return q, k, v

    def attend(self, q: np.ndarray) -> np.ndarray:
        count, length = self.k.shape[1], q.shape[1]
        k, v = (np.repeat(x, HEADS // KV, axis=0) for x in (self.k, self.v))
        scores = q @ k.swapaxes(1, 2) * self.dims**-0.5
        distance = np.arange(count - length, count)[:, None] - np.arange(count)
        hidden = (distance < 0) | (distance >= (self.window or count))
        scores = np.where(hidden, -np.inf, scores)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True) @ v


def feed(caches: Caches, rows: list[Row], start: int, stop: int, length: int) -> float:
    """Pass `length` tokens of rows [start, stop) and return the largest error."""
    news = [row.new(length) for row in rows[start:stop]]
    expected = np.stack(
        [row.attend(q) for row, (q, _, _) in zip(rows[start:stop], news, strict=True)]
    )
    q, k, v = (mx.array(np.stack(x).astype(np.float32)) for x in zip(*news, strict=True))
    step = caches.step(start, stop, length)
    out = [cache.attend(q, k, v, step, scale=rows[0].dims ** -0.5) for cache in step.caches]
    return max(float(np.abs(np.array(x) - expected).max()) for x in out)


@pytest.fixture(params=[None, 8], ids=["full", "window8"])
def window(request: pytest.FixtureRequest) -> int | None:
    return request.param


def test_few_queries_of_several_rows_have_a_mask_for_every_head() -> None:
    track = Track(None)
    few, many, alone = (
        track.span(range(rows), 2, offsets, length)
        for rows, offsets, length in ((2, [3, 5], 2), (2, [3, 5], FEW + 1), (1, [3], 2))
    )
    mask = few.mask_of(HEADS)
    assert mask is few.mask_of(HEADS)  # made once, for all layers
    assert mx.array_equal(mask, mx.broadcast_to(few.mask, (2, HEADS, 2, few.visible)))
    assert many.mask_of(HEADS) is many.mask
    assert alone.mask_of(HEADS) == "causal"


def small(window: int | None, **options: Any) -> Caches:
    return Caches([Attends(window)] * 2, block=8, growth=4, **options)


def lengths(seed: int) -> Iterator[int]:
    random = np.random.default_rng(seed)
    while True:
        yield int(random.integers(1, 9))


def test_chunks_and_single_tokens_see_what_plain_attention_sees(
    window: int | None,
) -> None:
    caches, row = small(window), Row(0, window)
    caches.add()
    for length in islice(lengths(1), 20):
        assert feed(caches, [row], 0, 1, length) < 1e-5


def test_ragged_rows_join_leave_and_are_never_mixed_up(window: int | None) -> None:
    caches, rows, sizes = small(window), [], lengths(2)
    random = np.random.default_rng(3)
    for turn in range(40):
        if len(rows) < 5 and random.random() < 0.4:
            rows.append(Row(100 + turn, window))
            new = caches.add()
            assert feed(caches, rows, new, new + 1, next(sizes)) < 1e-5
        elif len(rows) > 1 and random.random() < 0.3:
            gone = int(random.integers(len(rows)))
            caches.remove(gone)
            rows[gone] = rows[-1]
            rows.pop()
        if rows:
            assert feed(caches, rows, 0, len(rows), 1) < 1e-5
    assert caches.lengths == [row.k.shape[1] for row in rows]


def test_a_windowed_arena_stays_within_window_and_block() -> None:
    caches, row = small(8), Row(0, 8)
    caches.add()
    for _ in range(100):
        feed(caches, [row], 0, 1, 1)
    assert caches.nbytes == 2 * 2 * KV * 8 * 16 * 4


def test_a_pass_longer_than_the_block_is_refused_by_a_window() -> None:
    caches = small(8)
    caches.add()
    with pytest.raises(ValueError, match="a pass of 9 tokens"):
        caches.step(0, 1, 9)


def test_a_trimmed_row_goes_on_as_if_the_rest_had_never_been(
    window: int | None,
) -> None:
    caches, row = small(window), Row(0, window)
    caches.add()
    feed(caches, [row], 0, 1, 8)
    feed(caches, [row], 0, 1, 6)
    assert caches.trim(0, 10)
    row.k, row.v = row.k[:, :10], row.v[:, :10]
    assert feed(caches, [row], 0, 1, 3) < 1e-5


def test_a_ring_refuses_to_go_back_to_what_it_has_overwritten() -> None:
    caches, row = small(8), Row(0, 8)
    caches.add()
    for _ in range(10):
        feed(caches, [row], 0, 1, 8)
    assert caches.trim(0, 75)
    assert caches.trim(0, 72)
    assert not caches.trim(0, 71)
    assert caches.lengths == [72]


def test_a_copied_row_goes_its_own_way(window: int | None) -> None:
    caches, row = small(window), Row(0, window)
    caches.add()
    feed(caches, [row], 0, 1, 7)
    caches.copy(0)
    twin = Row(9, window)
    twin.k, twin.v = row.k, row.v
    for _ in range(12):
        assert feed(caches, [row, twin], 0, 2, 1) < 1e-5


def test_joining_and_leaving_copies_no_other_row() -> None:
    caches = Caches([Attends()], growth=1024)
    rows = [Row(i, None) for i in range(4)]
    for i in range(4):
        caches.add()
        feed(caches, rows, i, i + 1, 4)
    mx.eval(caches.arrays())
    arena, before = caches.nbytes, mx.get_active_memory()
    mx.reset_peak_memory()
    caches.remove(1)
    caches.add()
    feed(caches, rows, 3, 4, 4)
    mx.eval(caches.arrays())
    assert mx.get_peak_memory() - before < 0.8 * arena / 2  # a row is an eighth of the two arenas


def test_quantized_columns_stay_close_to_dense_ones(window: int | None) -> None:
    caches, row = small(window, packing=Packing(bits=8)), Row(0, window, dims=64)
    caches.add()
    for length in islice(lengths(1), 10):
        assert feed(caches, [row], 0, 1, length) < 0.05


def three_states() -> tuple[Caches, StateCache]:
    """Three rows whose states were nothing at first and are ones, twos and threes."""
    caches = Caches([Recurs(1)])
    layer = caches.layers[0]
    assert isinstance(layer, StateCache)
    for value in (1.0, 2.0, 3.0):
        row = caches.add()
        step = caches.step(row, row + 1, 1)
        assert layer.read(step, 0, (2,), mx.float32).tolist() == [[0.0, 0.0]]
        layer.write(step, 0, mx.full((1, 2), value))
    return caches, layer


def test_states_start_from_zero_and_follow_their_row() -> None:
    caches, layer = three_states()
    caches.remove(0)
    step = caches.step(0, 2, 1)
    assert layer.read(step, 0, (2,), mx.float32).tolist() == [[3.0, 3.0], [2.0, 2.0]]


@pytest.mark.parametrize("packing", [None, Packing(bits=8)], ids=["dense", "packed"])
def test_a_chunk_goes_into_a_full_window_without_copying_it(packing: Packing | None) -> None:
    caches = Caches([Attends(4096)], packing=packing, block=4096)
    caches.add()
    new = mx.ones((1, KV, 64, 64))
    for length in [4096] * 3 + [64] * 3:  # the last ones wrap around
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        chunk = mx.broadcast_to(new[:, :, :1], (1, KV, length, 64))
        step = caches.step(0, 1, length)
        caches.layers[0].store(chunk, chunk, step)
        mx.eval(caches.arrays())
    assert mx.get_peak_memory() - before < caches.nbytes / 4


@pytest.mark.parametrize("packing", [None, Packing(bits=8)], ids=["dense", "packed"])
def test_windows_take_no_more_memory_however_long_a_row_gets(packing: Packing | None) -> None:
    caches, row = small(8, packing=packing), Row(0, 8, dims=64)
    caches.add()
    taken = []
    for length in islice(lengths(4), 30):
        feed(caches, [row], 0, 1, length)
        taken.append(caches.nbytes)
    columns = sum(array.shape[2] == 16 for array in caches.arrays())  # the window and a block
    assert row.k.shape[1] > 10 * 8
    assert columns == len(caches.arrays())
    assert taken[-1] == max(taken)


def test_free_slots_of_states_are_given_back_and_the_rest_keep_theirs() -> None:
    caches, layer = three_states()
    assert (caches.nbytes, caches.fit()) == (4 * 2 * 4, False)
    caches.remove(0)
    assert (caches.fit(), caches.nbytes, caches.fit()) == (True, 2 * 2 * 4, False)
    assert layer.read(caches.step(0, 2, 1), 0, (2,), mx.float32).tolist() == [[3.0] * 2, [2.0] * 2]


def test_a_row_in_a_slot_that_another_one_had_starts_from_zero() -> None:
    caches = Caches([Recurs(1)])
    layer = caches.layers[0]
    assert isinstance(layer, StateCache)
    for _ in range(2):
        row = caches.add()
        step = caches.step(row, row + 1, 1)
        assert layer.read(step, 0, (2,), mx.float32).tolist() == [[0.0, 0.0]]
        layer.write(step, 0, mx.ones((1, 2)))
        caches.remove(row)
