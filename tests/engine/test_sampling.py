"""The sampler: right distribution, right token, whatever its neighbours want."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from threading import Thread

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.engine.params import DryParams, SamplingParams, derived_seed
from mistralrs_mlx.engine.sampling import Sampler, SamplerRow, _exponential
from mistralrs_mlx.errors import RequestError

from .reference_sampler import VOCAB, Answer, Case, answer, random_case

GREEDY = SamplingParams(temperature=0)
VIEWS = {"Squeeze", "View"}  # primitives without a kernel


def cases(seed: int, count: int) -> tuple[list[Case], list[Answer]]:
    """Random rows and what must come of them, without those that rounding may decide."""
    random = np.random.default_rng(seed)
    made = [random_case(random) for _ in range(count)]
    pairs = [(case, right) for case in made if (right := answer(case)).margin > 2e-5]
    assert len(pairs) > 0.97 * count
    return [case for case, _ in pairs], [right for _, right in pairs]


def arguments(made: list[Case]) -> tuple[mx.array, list[SamplerRow], list[mx.array | None]]:
    masks = [None if case.mask is None else mx.array(case.mask) for case in made]
    return mx.array(np.stack([c.logits for c in made])), [c.row() for c in made], masks


def draw(logits: mx.array, params: list[SamplingParams], *, position: int = 0) -> list[int]:
    rows = [SamplerRow(each, [0], logits.shape[-1]) for each in params]
    for row in rows:
        row.position = position
    return [token for token, _ in Sampler()(logits, rows).read()]


def kernels(array: mx.array, file: Path) -> Counter[str]:
    """What runs to make an array: primitive -> how many."""
    mx.export_to_dot(str(file), array)
    names = re.findall(r'label ="(\w+)[^"]*", shape=rectangle', file.read_text())
    return Counter(name for name in names if name not in VIEWS)


def test_the_distribution_is_that_of_a_plain_implementation() -> None:
    made, right = cases(0, 3000)
    scores = Sampler().candidates(*arguments(made))
    ours = np.array(mx.softmax(scores, axis=-1))
    theirs = np.stack([each.probabilities for each in right])
    draws = np.array([not case.params.greedy for case in made])
    assert np.array_equal((ours > 0)[draws], (theirs > 1e-38)[draws])
    np.testing.assert_allclose(ours[draws], theirs[draws], atol=1e-5)


def test_only_tokens_that_are_left_are_sampled_and_greedy_rows_take_the_best() -> None:
    made, right = cases(1, 2000)
    tokens = Sampler()(*arguments(made)).tokens.tolist()
    for case, each, token in zip(made, right, tokens, strict=True):
        assert each.probabilities[token] > 0
        assert not case.params.greedy or each.probabilities[token] == 1


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0.7, top_k=9),
        SamplingParams(temperature=1.5, top_p=0.8, min_p=0.1),
    ],
)
def test_tokens_are_as_frequent_as_they_are_likely(params: SamplingParams) -> None:
    logits, count = np.random.default_rng(2).normal(size=20).astype(np.float32), 8000
    batch = mx.broadcast_to(mx.array(logits), (count, 20))
    tokens = draw(batch, [replace(params, seed=seed) for seed in range(count)])
    expected = answer(Case(logits=logits, params=params)).probabilities * count
    seen, likely = np.bincount(tokens, minlength=20), expected > 0
    assert not seen[~likely].any()
    chi_square = ((seen - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_square < 50  # 19 degrees of freedom: less than 1 in 7000


def test_one_seed_gives_the_right_frequencies_over_positions_too() -> None:
    logits, count = np.random.default_rng(3).normal(size=10).astype(np.float32), 6000
    rows = [SamplerRow(SamplingParams(seed=5), [0], 10) for _ in range(count)]
    for position, row in enumerate(rows):
        row.position = position
    sampled = Sampler()(mx.broadcast_to(mx.array(logits), (count, 10)), rows)
    expected = np.exp(logits) / np.exp(logits).sum() * count
    seen = np.bincount(sampled.tokens.tolist(), minlength=10)
    assert ((seen - expected) ** 2 / expected).sum() < 34  # 9 degrees of freedom


def test_a_row_does_not_see_its_neighbours() -> None:
    made, _ = cases(4, 300)
    logits, rows, masks = arguments(made)
    together = Sampler()(logits, rows, masks).tokens.tolist()
    alone = Sampler()
    for i, row in enumerate(rows):
        assert alone(logits[i : i + 1], [row], masks[i : i + 1]).tokens.item() == together[i]


def test_a_row_does_not_see_its_neighbours_in_a_large_vocabulary() -> None:
    logits = mx.random.normal((4, 50021), key=mx.random.key(1)) * 2
    params = [
        SamplingParams(seed=1),
        SamplingParams(seed=2, top_k=40, top_p=0.9),
        SamplingParams(seed=3, top_p=0.95),
        GREEDY,
    ]
    for position in range(5):
        alone = [draw(logits[i : i + 1], [p], position=position)[0] for i, p in enumerate(params)]
        assert draw(logits, params, position=position) == alone


def test_a_neighbour_with_a_small_top_k_cuts_nobody_else() -> None:
    rows = [SamplerRow(p, [0], 40) for p in (SamplingParams(top_k=3), SamplingParams(), GREEDY)]
    logits = mx.random.normal((3, 40), key=mx.random.key(2))
    kept = Sampler().candidates(logits, rows) > -mx.inf
    assert kept.sum(axis=-1).tolist() == [3, 40, 40]


def test_a_seed_repeats_and_another_seed_differs() -> None:
    logits = mx.zeros((1, 1000))
    tokens = {seed: draw(logits, [SamplingParams(seed=seed)]) for seed in (0, 1, -1, 2**64 - 2)}
    assert len({token for (token,) in tokens.values()}) == 4
    assert draw(logits, [SamplingParams(seed=1)]) == tokens[1]
    assert draw(logits, [SamplingParams()]) == tokens[0]


def test_every_token_of_a_sequence_has_noise_of_its_own() -> None:
    row, sampler, tokens = SamplerRow(SamplingParams(), [0], 10**5), Sampler(), []
    for _ in range(20):
        tokens.append(sampler(mx.zeros((1, 10**5)), [row]).tokens.item())
        row.accept(tokens[-1])
    assert len(set(tokens)) == 20


def test_sampling_twice_without_accepting_gives_the_same_token() -> None:
    row, logits = SamplerRow(SamplingParams(seed=9), [0], 1000), mx.zeros((1, 1000))
    first, second = Sampler()(logits, [row]), Sampler()(logits, [row])
    assert first.read() == second.read()


def test_choices_differ_and_the_first_is_the_request_alone() -> None:
    params, logits = SamplingParams(seed=7), mx.zeros((3, 10**5))
    made = [SamplerRow(params, [0], 10**5, choice=choice) for choice in range(3)]
    tokens = Sampler()(logits, made).tokens.tolist()
    assert len(set(tokens)) == 3
    assert tokens[:1] == draw(logits[:1], [params])


def test_a_twin_keeps_the_past_and_goes_its_own_way() -> None:
    params = SamplingParams(
        temperature=0, frequency_penalty=1, dry=DryParams(multiplier=5, allowed_length=1)
    )
    row = SamplerRow(params, [3, 4], 6)
    row.accept(3)  # now 4 would repeat
    twin = row.twin()
    row.accept(5)
    logits = mx.array([[0, 0, 0, 0.5, 1, 0]] * 2)
    scores = Sampler().candidates(logits, [row, twin])
    assert scores.tolist() == [[0, 0, 0, -0.5, 1, -1], [0, 0, 0, -0.5, -4, 0]]


def test_a_row_may_be_made_on_another_thread() -> None:
    made = []
    params = SamplingParams(temperature=0, repetition_penalty=2, presence_penalty=1)
    thread = Thread(target=lambda: made.append(SamplerRow(params, [1], 4)))
    thread.start()
    thread.join()
    assert Sampler()(mx.array([[1.0, 1.5, 0, 0]]), made).read() == [(0, None)]


def test_tokens_that_nobody_has_read_are_penalized() -> None:
    params = SamplingParams(temperature=0, frequency_penalty=1, repetition_penalty=1.5)
    ahead, behind = (SamplerRow(params, [2], 12) for _ in range(2))
    logits, sampler = mx.random.normal((1, 12), key=mx.random.key(3)) * 2, Sampler()
    pending, read = [], []
    for _ in range(8):
        pending.append(sampler(logits, [ahead]).tokens)
        ahead.accept(pending[-1][0])
        read.append(sampler(logits, [behind]).tokens.item())
        behind.accept(read[-1])
    assert [tokens.item() for tokens in pending] == read
    assert len(set(read)) > 1


def test_a_row_says_when_it_needs_its_tokens_on_the_host() -> None:
    dry = DryParams(multiplier=1)
    row = SamplerRow(SamplingParams(dry=dry), [1], 8)
    assert row.needs_host_token
    assert SamplerRow(GREEDY, [1], 8, constrained=True).needs_host_token
    assert not SamplerRow(SamplingParams(frequency_penalty=1), [1], 8).needs_host_token
    assert not SamplerRow(SamplingParams(dry=replace(dry, multiplier=0)), [1], 8).needs_host_token
    with pytest.raises(TypeError, match="DRY"):
        row.accept(mx.array(1))


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
def test_a_greedy_batch_runs_one_kernel_over_the_vocabulary(
    dtype: mx.Dtype, tmp_path: Path
) -> None:
    logits = mx.random.normal((5, 300), key=mx.random.key(0)).astype(dtype)
    mx.eval(logits)
    sampled = Sampler()(logits, [SamplerRow(GREEDY, [0], 300)] * 5)
    assert kernels(sampled.tokens, tmp_path / "graph.dot") == {"ArgReduce": 1}
    assert sampled.tokens.tolist() == np.argmax(np.array(logits.astype(mx.float32)), 1).tolist()


def test_nothing_is_sorted_unless_somebody_cuts(tmp_path: Path) -> None:
    logits = mx.zeros((2, 300))
    mx.eval(logits)
    rows = [SamplerRow(SamplingParams(min_p=0.1, top_k=300), [0], 300) for _ in range(2)]
    counts = kernels(Sampler()(logits, rows).tokens, tmp_path / "graph.dot")
    assert not {"Sort", "Partition", "ArgSort", "LogSumExp"} & set(counts)


def test_noise_is_finite_even_where_the_random_bits_are_all_zero() -> None:
    keys, size = mx.array([[0, 1674]], mx.uint32), 1 << 20  # a key found by search
    assert mx.random.uniform(0, 1, (size,), key=keys[0]).min().item() == 0
    noise = _exponential(keys, size)
    assert 0 < noise.min().item() < 1e-9
    assert 10 < noise.max().item() < 17


def test_one_batch_of_unlike_rows_is_one_choice(tmp_path: Path) -> None:
    made, _ = cases(5, 40)
    logits, rows, _ = arguments(made)
    counts = kernels(Sampler()(logits, rows).tokens, tmp_path / "graph.dot")
    assert counts["ArgReduce"] == counts["RandomBits"] == counts["Sort"] == 1
    assert "LogSumExp" not in counts


def test_greedy_rows_take_the_first_of_equal_logits_in_any_company() -> None:
    logits = mx.array([[0.0, 3, 3, 1]] * 3)
    params = [GREEDY, SamplingParams(top_k=1, seed=4), SamplingParams(top_k=1, seed=5)]
    assert draw(logits, params) == [1, 1, 1]


def test_of_equal_logits_at_the_border_the_first_are_kept() -> None:
    rows = [SamplerRow(SamplingParams(top_k=k), [0], 6) for k in (2, 3, 5)]
    rows.append(SamplerRow(SamplingParams(top_p=0.4), [0], 6))
    kept = Sampler().candidates(mx.array([[0.0, 1, 1, 2, 1, 1]] * 3 + [[0.0] * 6]), rows) > -mx.inf
    assert kept.astype(mx.int32).tolist() == [
        [0, 1, 0, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
    ]


def test_min_p_drops_what_is_exactly_at_its_border() -> None:
    logits = mx.array([[1.0, 1 + float(np.log(0.5)), 1 + float(np.log(0.51))]])
    row = SamplerRow(SamplingParams(min_p=0.5), [0], 3)
    kept = Sampler().candidates(logits, [row]) > -mx.inf
    assert kept.tolist() == [[True, False, True]]


@pytest.mark.slow  # the first time a C++ compiler builds the fused kernels, if there is one
def test_fused_arithmetic_changes_no_token() -> None:
    made, _ = cases(6, 300)
    fused, plain = Sampler(compiled=True), Sampler(compiled=False)
    for start, stop in ((0, 300), (0, 150), (0, 1), (0, 300)):
        batch = arguments(made[start:stop])
        assert fused(*batch).tokens.tolist() == plain(*batch).tokens.tolist()


def test_extreme_temperatures_neither_overflow_nor_stop() -> None:
    logits = mx.broadcast_to(mx.array([5.0, 40, -30, 39.9]), (300, 4))
    cold = [SamplingParams(temperature=1e-7, seed=i, top_p=0.9) for i in range(100)]
    hot = [SamplingParams(temperature=1e30, seed=i, top_p=0.99) for i in range(100)]
    whole = [SamplingParams(temperature=10**10, seed=i) for i in range(100)]
    tokens = draw(logits, cold + hot + whole)
    assert set(tokens[:100]) == {1}
    assert set(tokens[100:200]) == set(tokens[200:]) == {0, 1, 2, 3}


@pytest.mark.parametrize("packed", [False, True])
def test_masks_come_as_booleans_or_as_bits(packed: bool) -> None:
    allowed = np.zeros((2, 70), bool)
    allowed[0, [3, 31, 32, 69]], allowed[1, 64] = True, True
    bits = np.packbits(np.pad(allowed, ((0, 0), (0, 26))), axis=1, bitorder="little").view(np.int32)
    masks = [mx.array(each) for each in (bits if packed else allowed)]
    rows = [SamplerRow(SamplingParams(), [0], 70)] * 3
    kept = Sampler().candidates(mx.zeros((3, 70)), rows, [*masks, None]) > -mx.inf
    assert np.array_equal(np.array(kept), np.vstack([allowed, np.ones((1, 70), bool)]))


def test_a_mask_forbids_what_it_does_not_reach() -> None:
    row = SamplerRow(GREEDY, [0], 40)
    logits = mx.arange(40, dtype=mx.float32)[None]
    short = mx.array([0xFFFFFFFF], mx.uint32)
    assert Sampler()(logits, [row], [short]).tokens.tolist() == [31]


def test_a_batch_may_change_between_steps() -> None:
    logits, sampler = mx.array([[0.0, 1, 2]] * 2), Sampler()
    greedy, biased = (
        SamplerRow(replace(GREEDY, logit_bias=bias), [0], 3) for bias in ({}, {0: 5.0})
    )
    assert sampler(logits, [greedy, biased]).tokens.tolist() == [2, 0]
    assert sampler(logits, [biased, greedy]).tokens.tolist() == [0, 2]
    assert sampler(logits[:1], [greedy]).tokens.tolist() == [2]


def test_derived_seeds_are_all_different() -> None:
    seeds = {derived_seed(seed, number) for seed in range(-50, 50) for number in range(100)}
    assert len(seeds) == 10_000
    assert all(0 <= seed < 2**64 for seed in seeds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", float("nan")),
        ("temperature", float("-inf")),
        ("top_p", float("nan")),
        ("min_p", float("inf")),
        ("presence_penalty", float("nan")),
        ("frequency_penalty", float("inf")),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1.5),
        ("repetition_penalty", float("nan")),
        ("top_k", -1),
        ("top_logprobs", -2),
        ("logit_bias", {3: float("inf")}),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=rf"(?s){name}.* is .*it has to be.*Pass"):
        SamplingParams(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("multiplier", float("nan")), ("base", 0), ("base", float("inf")), ("allowed_length", -1)],
)
def test_bad_dry_values_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(RequestError, match=f"dry_{name} is"):
        DryParams(**{"multiplier": 1, name: value})


def test_values_out_of_range_mean_off() -> None:
    off = SamplingParams(top_k=0, top_p=-1, min_p=1.5)
    logits = np.random.default_rng(6).normal(size=VOCAB).astype(np.float32)
    scores = Sampler().candidates(mx.array(logits)[None], [SamplerRow(off, [0], VOCAB)])
    assert np.array_equal(np.array(scores)[0], logits)
