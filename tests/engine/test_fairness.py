"""First come, first served; and whoever shares a batch, each gets what it would get alone."""

import pytest

from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.params import DryParams, SamplingParams
from mistralrs_mlx.engine.sequence import Sequence

from .test_constraints import Steps
from .toy import Toy, finish, sequence

KINDS = {
    "greedy": {},
    "seeded": {"params": SamplingParams(temperature=1.0, seed=5)},
    "narrow": {"params": SamplingParams(temperature=0.8, seed=6, top_k=5, top_p=0.9, min_p=0.01)},
    "logprobs": {"params": SamplingParams(temperature=1.0, seed=7, top_logprobs=3)},
    "penalties": {"params": SamplingParams(temperature=0.5, seed=8, frequency_penalty=1.0)},
    "repetition": {"params": SamplingParams(temperature=0.0, repetition_penalty=1.3)},
    "dry": {"params": SamplingParams(temperature=0.0, dry=DryParams(multiplier=4.0))},
    "biased": {"params": SamplingParams(temperature=1.0, seed=9, logit_bias={3: 4.0})},
    "constrained": {"params": SamplingParams(temperature=1.0, seed=4)},
}


def of_kind(kind: str) -> Sequence:
    made = sequence([1, 2, 3, len(kind)], limit=12, **KINDS[kind])
    if kind == "constrained":
        made.constrain(Steps(*[{1, 2, 3}] * 12))
    return made


@pytest.mark.parametrize("joins_late", [False, True])
def test_a_batch_of_all_kinds_says_what_each_says_alone(joins_late: bool) -> None:
    engine, crowd = Engine(Toy(), max_seqs=16), [of_kind(kind) for kind in KINDS]
    for each in crowd:
        engine.submit(each)
        if joins_late:
            engine.step()
    finish(engine)
    for each, kind in zip(crowd, KINDS, strict=True):
        alone = of_kind(kind)
        engine.submit(alone)
        finish(engine)
        assert (each.tokens, kind) == (alone.tokens, kind)
        assert [found is None for found in each.sink.logprobs] == [kind != "logprobs"] * 12


def test_sequences_begin_in_the_order_in_which_they_came() -> None:
    engine = Engine(Toy(), max_seqs=2)
    crowd = [sequence([1] * (1 + 7 * i % 5), limit=3 + i % 4) for i in range(12)]
    for each in crowd:
        engine.submit(each)
    finish(engine)
    begun = [each.timing.started for each in crowd]
    assert begun == sorted(begun)


def test_a_stream_of_short_requests_does_not_starve_a_large_one() -> None:
    engine, large = Engine(Toy(), max_seqs=3), sequence([1, 2], limit=4)
    large.siblings = [sequence([1, 2], limit=4, choice=i) for i in (1, 2)]
    for i in range(60):
        engine.submit(sequence([3], limit=5))
        if i == 5:
            engine.submit(large)
        engine.step()
    assert all(each.sink.reason == "length" for each in [large, *large.siblings])


def test_more_choices_than_rows_run_alone_and_together() -> None:
    toy = Toy()
    engine, first = Engine(toy, max_seqs=2), sequence([3], limit=9)
    large = sequence([1, 2], limit=4)
    family = [large, *(sequence([1, 2], limit=4, choice=i) for i in range(1, 5))]
    large.siblings, last = family[1:], sequence([4], limit=3)
    for each in (first, large, last):
        engine.submit(each)
    finish(engine)
    assert {each.sink.reason for each in (first, last, *family)} == {"length"}
    assert [rows for rows, _ in toy.passes if rows > 1] == [5] * 3


def test_a_running_stream_waits_for_at_most_512_tokens_of_a_foreign_prompt() -> None:
    toy = Toy()
    engine, stream = Engine(toy, max_seqs=4), sequence([1, 2, 3], limit=60)
    engine.submit(stream)
    engine.step()
    for length in (4096, 100, 700):
        engine.submit(sequence([5] * length, limit=1))
    while stream.sink.reason is None:
        toy.passes.clear()
        told = len(stream.tokens)
        engine.step()
        assert sum(length for _, length in toy.passes if length > 1) <= 512
        assert len(stream.tokens) - told == 1
