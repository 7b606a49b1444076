"""The engine: whoever joins, leaves, fails or is long, every sequence gets its own tokens."""

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.logprobs import TokenLogprob
from mistralrs_mlx.engine.params import DryParams, SamplingParams
from mistralrs_mlx.engine.sampling import Sampled
from mistralrs_mlx.engine.worker import Worker
from mistralrs_mlx.errors import RequestError

from .toy import VOCAB, Toy, continuation, finish, sequence


def prompts(seed: int, count: int, longest: int = 40) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, VOCAB, random.integers(1, longest)).tolist() for _ in range(count)]


@pytest.mark.parametrize("window", [None, 6])
def test_sequences_of_all_lengths_through_few_rows_get_their_own_tokens(window: int | None) -> None:
    toy = Toy(window)
    engine = Engine(toy, max_seqs=3, prefill_budget=8)
    waiting = [sequence(p, limit=2 + i) for i, p in enumerate(prompts(0, 8))]
    for each in waiting:
        engine.submit(each)
    finish(engine)
    for each in waiting:
        assert each.tokens == continuation(toy, each.prompt, each.limit)
        assert each.sink.reason == "length"


def test_without_a_cache_every_token_is_computed_from_all_before_it() -> None:
    toy = Toy(rope_border=30)
    waiting = [sequence(p, limit=6) for p in prompts(11, 5)]
    expected = [continuation(toy, each.prompt, 6) for each in waiting]
    engine = Engine(toy, max_seqs=3, prefill_budget=16, kv_cache=False)
    toy.passes.clear()
    for each in waiting:
        engine.submit(each)
    finish(engine)
    assert [each.tokens for each in waiting] == expected
    every = sum(len(each.prompt) + i for each in waiting for i in range(6))
    assert sum(rows * length for rows, length in toy.passes) == every


def test_sequences_that_arrive_while_others_run_change_nothing() -> None:
    toy, arrivals = Toy(), [sequence(p, limit=12) for p in prompts(1, 6)]
    engine = Engine(toy, max_seqs=4, prefill_budget=16)
    for each in arrivals:
        engine.submit(each)
        engine.step()
        engine.step()
    finish(engine)
    for each in arrivals:
        assert each.tokens == continuation(toy, each.prompt, 12)


def test_a_long_prompt_lets_running_rows_decode_between_its_chunks() -> None:
    toy = Toy()
    engine = Engine(toy, max_seqs=2, prefill_budget=8)
    first = sequence([1, 2, 3], limit=50)
    engine.submit(first)
    engine.step()
    toy.passes.clear()
    engine.submit(sequence(list(range(30)) + [1] * 10, limit=2))
    for _ in range(5):
        engine.step()
    assert toy.passes == [(1, 8), (1, 1)] * 4 + [(1, 8), (2, 1)]


def test_a_stop_token_ends_a_sequence_silently_and_is_counted() -> None:
    toy = Toy()
    tokens = continuation(toy, [5, 6], 4)
    each = sequence([5, 6], limit=9, stop_tokens=[tokens[2]])
    engine = Engine(toy, max_seqs=1)
    engine.submit(each)
    finish(engine)
    first = tokens.index(tokens[2])
    assert (each.sink.tokens, each.sink.reason) == (tokens[: first + 1], "stop")
    assert each.sink.silent == [False] * first + [True]
    assert each.sink.timing.completion_tokens == first + 1


def test_a_sink_that_has_enough_stops_its_sequence_only() -> None:
    toy = Toy()
    engine = Engine(toy, max_seqs=2)
    short, long = sequence([1, 2], limit=9, stop_after=3), sequence([3], limit=9)
    for each in (short, long):
        engine.submit(each)
    finish(engine)
    assert (len(short.tokens), short.sink.reason) == (3, "stop")
    assert long.tokens == continuation(toy, [3], 9)


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 7])
def test_a_canceled_sequence_leaves_at_once_wherever_it_is(steps: int) -> None:
    toy = Toy()
    engine = Engine(toy, max_seqs=2, prefill_budget=8)
    stays, goes = sequence([1, 2, 3], limit=9), sequence(list(range(25)), limit=20)
    for each in (stays, goes):
        engine.submit(each)
    for _ in range(steps):
        engine.step()
    goes.canceled = True
    engine.step()
    assert goes.sink.reason == "canceled"
    finish(engine)
    assert stays.tokens == continuation(toy, [1, 2, 3], 9)


def test_choices_share_one_prefill_and_then_go_their_own_ways() -> None:
    toy = Toy()
    params = SamplingParams(temperature=1.0, seed=3)
    engine = Engine(toy, max_seqs=4)
    first = sequence([4, 5, 6], limit=6, params=params)
    first.siblings = [sequence([4, 5, 6], limit=6, params=params, choice=i) for i in (1, 2)]
    family = [first, *first.siblings]
    engine.submit(first)
    finish(engine)
    assert toy.passes[0] == (1, 3)
    assert toy.passes[1:] == [(3, 1)] * 5
    assert len({tuple(s.tokens) for s in family}) > 1


def test_a_choice_sampled_in_a_crowd_is_the_one_sampled_alone() -> None:
    toy, params = Toy(), SamplingParams(temperature=1.0, seed=11)
    crowd = [sequence(p, limit=10, params=params) for p in prompts(5, 4)]
    engine = Engine(toy, max_seqs=4)
    for each in crowd:
        engine.submit(each)
    finish(engine)
    for each in crowd:
        alone = sequence(each.prompt, limit=10, params=params)
        engine.submit(alone)
        finish(engine)
        assert alone.tokens == each.tokens


def test_a_failing_prefill_fails_its_sequence_and_no_other() -> None:
    toy = Toy()
    engine = Engine(toy, max_seqs=2, prefill_budget=4)
    good = sequence([1, 2, 3], limit=5)
    engine.submit(good)
    engine.step()
    bad = sequence([VOCAB], limit=5)
    bad.prompt = ["not a token"]
    engine.submit(bad)
    finish(engine)
    assert bad.sink.error is not None
    assert good.tokens == continuation(toy, [1, 2, 3], 5)


def test_a_failing_pass_fails_its_rows_and_the_engine_lives_on() -> None:
    toy = Toy()
    engine = Engine(toy, max_seqs=2)
    running = sequence([1, 2, 3], limit=5)
    engine.submit(running)
    engine.step()
    toy.broken = True
    engine.step()
    assert str(running.sink.error) == "the toy is broken"
    toy.broken = False
    later = sequence([7, 8], limit=4)
    engine.submit(later)
    finish(engine)
    assert later.tokens == continuation(toy, [7, 8], 4)


def test_the_error_of_a_pass_that_nobody_reads_meets_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy, wait, errors = Toy(), mx.synchronize, []

    def synchronize() -> None:  # MLX tells once of what failed on a GPU, to whoever waits next
        if errors:
            raise RuntimeError(errors.pop())
        wait()

    monkeypatch.setattr(mx, "synchronize", synchronize)
    engine, running, later = Engine(toy, max_seqs=2), sequence([1, 2], 5), sequence([1, 2], 5)
    engine.submit(running)
    engine.step()
    toy.broken, errors[:] = True, ["command buffer failed"]
    engine.step()
    toy.broken = False
    engine.submit(later)
    finish(engine)
    assert str(running.sink.error) == "the toy is broken"
    assert later.tokens == continuation(toy, [1, 2], 5)


def test_a_failing_pass_sends_a_prompt_under_way_back_to_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = Toy()
    engine = Engine(toy, max_seqs=2, prefill_budget=4)
    running, coming = sequence([1, 2, 3], limit=9), sequence(list(range(20)), limit=5)
    for each in (running, coming):
        engine.submit(each)
        engine.step()
    with monkeypatch.context() as patch:
        patch.setattr(engine._decode, "advance", lambda: 1 / 0)
        engine.step()
    finish(engine)
    assert isinstance(running.sink.error, ZeroDivisionError)
    assert (coming.sink.error, coming.tokens) == (None, continuation(toy, coming.prompt, 5))


def test_a_closed_engine_fails_what_it_has_and_what_comes_later() -> None:
    engine, gone = Engine(Toy(), max_seqs=2, prefill_budget=8), RequestError("the model is gone")
    running, prefilling, waiting, late = (
        sequence([each] * n, limit=9) for each, n in enumerate((9, 99, 9, 9))
    )
    for each in (running, prefilling, waiting):
        engine.submit(each)
        engine.step()
        engine.step()
    engine.close(gone)
    engine.close(RequestError("another reason"))
    engine.submit(late)
    assert not engine.busy
    assert all(each.sink.error is gone for each in (running, prefilling, waiting, late))
    with pytest.raises(RequestError, match="the model is gone"):
        engine.logits([1])


def test_a_defect_of_the_engine_itself_reaches_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, each = Engine(Toy(), max_seqs=1), sequence([1, 2])
    monkeypatch.setattr(engine, "_admit", lambda: 1 / 0)
    engine.submit(each)
    Worker()._step(engine)
    assert isinstance(each.sink.error, ZeroDivisionError)
    assert not engine.busy


def test_rows_that_cross_the_trained_length_are_computed_again() -> None:
    toy = Toy(rope_border=10)
    engine = Engine(toy, max_seqs=3)
    crossing = [sequence(p, limit=9) for p in ([1, 2, 3, 4, 5], [6] * 9, [7] * 15, [8] * 10)]
    for each in crossing:
        engine.submit(each)
    finish(engine)
    for each in crossing:
        assert each.tokens == continuation(toy, each.prompt, 9)


def test_prompt_logits_are_those_of_one_whole_pass() -> None:
    toy = Toy()
    whole = Engine(toy, max_seqs=1).logits(list(range(20)))
    chunked = Engine(toy, max_seqs=1, prefill_budget=6).logits(list(range(20)))
    assert np.abs(np.array(whole) - np.array(chunked)).max() < 1e-4


def test_a_step_is_dispatched_before_the_tokens_of_the_last_one_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy, passes_at_read = Toy(), []
    read = Sampled.read

    def watched(self: Sampled) -> list[tuple[int, TokenLogprob | None]]:
        passes_at_read.append(len(toy.passes))
        return read(self)

    monkeypatch.setattr(Sampled, "read", watched)
    engine = Engine(toy, max_seqs=1)
    engine.submit(sequence([1, 2], limit=6))
    finish(engine)
    # The prompt's pass is read at once; then pass 3 starts before pass 2 is read, and so on.
    assert passes_at_read == [1, 3, 4, 5, 6, 6]


def test_penalties_know_tokens_that_the_host_has_not_read() -> None:
    toy = Toy()
    params = SamplingParams(temperature=0.0, presence_penalty=100.0)
    each = sequence([1, 2], limit=12, params=params)
    engine = Engine(toy, max_seqs=1)
    engine.submit(each)
    finish(engine)
    assert len(set(each.tokens)) == 12


def test_rows_that_need_every_token_on_the_host_agree_with_a_crowd() -> None:
    toy = Toy()
    params = SamplingParams(temperature=0.0, dry=DryParams(multiplier=5.0, allowed_length=1))
    crowd = [sequence([3, 3, 3], limit=12, params=params), sequence([4], limit=12)]
    engine = Engine(toy, max_seqs=2)
    for each in crowd:
        engine.submit(each)
    finish(engine)
    alone = sequence([3, 3, 3], limit=12, params=params)
    engine.submit(alone)
    finish(engine)
    assert alone.tokens == crowd[0].tokens
    assert crowd[1].tokens == continuation(toy, [4], 12)


def test_memory_of_rows_comes_back_when_nobody_is_left() -> None:
    toy = Toy()
    mx.eval(toy.table, toy.turn, toy.out)
    engine, before = Engine(toy, max_seqs=4), mx.get_active_memory()
    for prompt in prompts(2, 6):
        engine.submit(sequence(prompt, limit=5))
    engine.step()
    assert mx.get_active_memory() > before + 1000
    finish(engine)
    assert mx.get_active_memory() < before + 100


def test_a_prompt_that_fails_with_its_first_token_fails_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = Toy()
    engine = Engine(toy, max_seqs=2)
    good, bad = sequence([1, 2, 3], limit=9), sequence([4, 5], limit=9)
    engine.submit(good)
    engine.step()
    engine.submit(bad)
    monkeypatch.setattr(bad.sink, "push", lambda *_, **__: 1 / 0)
    finish(engine)
    assert isinstance(bad.sink.error, ZeroDivisionError)
    assert good.tokens == continuation(toy, [1, 2, 3], 9)


def test_a_sink_hears_how_far_its_prompt_has_come() -> None:
    engine = Engine(Toy(), max_seqs=1, prefill_budget=8)
    each = sequence(list(range(20)), limit=2)
    engine.submit(each)
    finish(engine)
    assert each.sink.prefills == [(8, 20), (16, 20), (20, 20)]


def test_a_choice_canceled_during_the_last_chunk_is_told_its_end() -> None:
    toy = Toy()
    each, sibling = sequence([1, 2, 3], limit=4), sequence([1, 2, 3], limit=4)
    each.siblings = [sibling]
    each.sink.prefilled = lambda done, total: setattr(sibling, "canceled", True)
    engine = Engine(toy, max_seqs=3)
    engine.submit(each)
    finish(engine)
    assert (each.sink.reason, sibling.sink.reason) == ("length", "canceled")
    assert each.tokens == continuation(toy, [1, 2, 3], 4)


def test_a_prompt_canceled_during_its_last_chunk_leaves_no_row_behind() -> None:
    toy = Toy()
    stays, goes, later = (sequence([1 + i] * 5, limit=9) for i in range(3))
    goes.sink.prefilled = lambda done, total: setattr(goes, "canceled", True)
    engine = Engine(toy, max_seqs=3)
    for each in (stays, goes, later):
        engine.submit(each)
        engine.step()
    finish(engine)
    assert (goes.sink.reason, goes.tokens) == ("canceled", [])
    for each in (stays, later):
        assert each.tokens == continuation(toy, each.prompt, 9)
