"""The memory budget: asked before anything is allocated, and kept."""

import gc
import random

import mlx.core as mx
import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.forecast import forecast
from mistralrs_mlx.cache.layout import Recurs
from mistralrs_mlx.cache.prefix import PrefixCache
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.goal import Goal, checked_goal
from mistralrs_mlx.engine.memory import Budget, Ledger
from mistralrs_mlx.engine.sequence import Sequence
from mistralrs_mlx.errors import CheckpointError, NoRoomForWeights, RequestError

from .toy import VOCAB, Toy, continuation, finish, sequence

COLUMN = 2 * 16 * 4  # bytes of a toy's keys and values of one token
WEIGHTS = 1000
PLENTY = 2**34


def budget(toy: Toy, *, chunk: int = 64, **goal: int) -> tuple[Engine, Budget]:
    """An engine for at most 8 rows, and its memory."""
    memory = Budget(Goal(**goal), Ledger(lambda: PLENTY))
    memory.weights = WEIGHTS
    return Engine(toy, max_seqs=8, memory=memory, prefill_budget=chunk), memory


def prompt(length: int) -> list[int]:
    return [i % VOCAB for i in range(length)]


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ("0.5", "share", 0.5),
        (0.25, "share", 0.25),
        (1, "share", 1.0),
        ("4GiB", "total", 4 * 2**30),
        ("4 GB", "total", 4 * 10**9),
        ("512mib", "total", 512 * 2**20),
        ("1.5GiB", "total", 3 * 2**29),
        ("2kib", "total", 2**11),
        ("1TiB", "total", 2**40),
        ("7kB", "total", 7000),
        ("7MB", "total", 7 * 10**6),
        ("1TB", "total", 10**12),
        ("65536tokens", "tokens", 65536),
    ],
)
def test_a_goal_is_a_fraction_an_amount_or_tokens(
    given: str | float, field: str, expected: float
) -> None:
    assert getattr(checked_goal(given), field) == expected


def test_older_arguments_mean_a_goal_too() -> None:
    assert checked_goal(pa_gpu_mem=100).caches == 100 * 2**20
    assert checked_goal(pa_gpu_mem_usage=0.5).share == 0.5
    assert checked_goal(pa_ctxt_len=4096).tokens == 4096
    assert checked_goal() == Goal(share=0.9)
    with pytest.raises(RequestError, match="memory_goal and pa_ctxt_len are mutually exclusive"):
        checked_goal("4GiB", pa_ctxt_len=4096)


@pytest.mark.parametrize("given", ["", "much", "GiB", "-4GiB", "4", 0, 1.5, -0.1, "nan", "0tokens"])
def test_a_goal_that_cannot_be_right_is_refused_with_what_would_be(given: str | float) -> None:
    with pytest.raises(RequestError, match='"65536tokens"'):
        checked_goal(given)


def test_a_goal_of_another_type_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="'memory_goal' must be a number"):
        checked_goal([1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'pa_gpu_mem' must be an int"):
        checked_goal(pa_gpu_mem=True)
    for share in ({"goal": True}, {"pa_gpu_mem_usage": True}):
        with pytest.raises(TypeError, match="must be a number, found True"):
            checked_goal(**share)


@pytest.mark.parametrize("window", [None, 300])
def test_a_forecast_is_what_the_arenas_come_to(window: int | None) -> None:
    toy = Toy(window)
    token = toy.embed(mx.array([[0]]))
    told = forecast(Caches(toy.cache_layout()), lambda step: toy.hidden(token, step))
    for rows, columns in [(1, 1), (1, 300), (3, 700), (5, 1500)]:
        caches = Caches(toy.cache_layout())
        extent = caches.extent(rows, columns)
        caches.reserve(columns)
        for row in range(rows):
            caches.add(columns)
            for start in range(0, columns, 512):
                tokens = mx.zeros((1, min(512, columns - start)), mx.int32)
                step = caches.step(row, row + 1, tokens.shape[1])
                mx.eval(toy.hidden(toy.embed(tokens), step))
        assert told.nbytes(extent) == caches.nbytes


def test_a_forecast_counts_states_once_for_each_row() -> None:
    def run(step: Step) -> mx.array:
        state = step.caches[0].read(step, 0, (3, 5), mx.float32)
        step.caches[0].write(step, 0, state)
        return state

    told, caches = forecast(Caches([Recurs(1)]), run), Caches([Recurs(1)])
    for _ in range(3):
        caches.add(700)
    run(caches.step(0, 3, 1))
    assert told.nbytes(caches.extent(3, 700)) == caches.nbytes == 4 * 3 * 5 * 4


def test_what_does_not_fit_now_waits_until_a_row_leaves() -> None:
    toy = Toy()
    engine, _ = budget(toy, caches=2 * 256 * COLUMN)
    crowd = [sequence(prompt(100 + i), limit=9) for i in range(4)]
    toy.passes.clear()
    for each in crowd:
        engine.submit(each)
    finish(engine)
    assert [each.tokens for each in crowd] == [continuation(toy, each.prompt, 9) for each in crowd]
    assert max(rows for rows, length in toy.passes if length == 1) == 2


def test_what_can_never_fit_is_refused_with_the_numbers_and_others_run_on() -> None:
    toy = Toy()
    engine, _ = budget(toy, total=200_000)
    good, bad, last = (sequence(prompt(n), limit=9) for n in (50, 3000, 60))
    for each in (good, bad, last):
        engine.submit(each)
    finish(engine)
    assert isinstance(bad.sink.error, RequestError)
    said = str(bad.sink.error)
    assert "3009 tokens need 384.0 KiB of memory, and 182.1 KiB are left" in said
    assert "weights 1.0 KiB" in said
    assert "memory_goal" in said
    assert good.tokens == continuation(toy, good.prompt, 9)
    assert last.sink.reason == "length"


def test_an_unlimited_answer_begins_and_rows_that_outgrow_the_budget_take_turns() -> None:
    toy = Toy()
    engine, memory = budget(toy, caches=1280 * COLUMN)
    pair, alone = ([sequence(prompt(200 + i), limit=400) for i in range(2)] for _ in range(2))
    for each in pair:
        engine.submit(each)
    while engine.busy:
        engine.step()
        assert engine._rows.caches.nbytes <= memory.arenas <= 1280 * COLUMN or not engine.busy
    for limited, free in zip(pair, alone, strict=True):
        unlimited = Engine(toy, max_seqs=1)
        unlimited.submit(free)
        finish(unlimited, steps=1000)
        assert limited.tokens == free.tokens


def test_the_youngest_row_gives_way() -> None:
    toy = Toy()
    engine, _ = budget(toy, caches=1600 * COLUMN)
    old, young = sequence(prompt(300), limit=600), sequence(prompt(250), limit=600)
    engine.submit(old)
    for _ in range(20):
        engine.step()
    engine.submit(young)
    while engine.busy and old.sink.reason is None:
        engine.step()
    assert (len(old.tokens), old.sink.reason) == (600, "length")
    assert 400 < len(young.tokens) < 500
    finish(engine, steps=500)
    assert (len(young.tokens), young.sink.reason) == (600, "length")


def test_a_prompt_under_way_gives_way_before_a_row_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mistralrs_mlx.engine.admission.MARGIN", 1)
    toy = Toy()
    engine, _ = budget(toy, chunk=8, caches=700 * COLUMN)
    old, young = sequence(prompt(240), limit=50), sequence(prompt(200), limit=9)
    engine.submit(old)
    while len(old.tokens) < 10:
        engine.step()
    engine.submit(young)
    finish(engine, steps=1000)
    assert young.sink.prefills[:2] == [(8, 200), (16, 200)]
    assert old.sink.timing.ended < young.sink.timing.first_token
    assert (len(old.tokens), old.sink.reason) == (50, "length")
    assert young.tokens == continuation(toy, young.prompt, 9)


def test_arenas_of_rows_that_ended_are_no_reason_to_refuse_a_long_prompt() -> None:
    toy = Toy()
    engine, _ = budget(toy, caches=1100 * COLUMN)
    crowd = [sequence(prompt(100), limit=5) for _ in range(4)]
    long = sequence(prompt(700), limit=5)
    for each in (*crowd, long):
        engine.submit(each)
    finish(engine)
    assert long.tokens == continuation(toy, long.prompt, 5)


def test_what_rows_of_another_model_leave_no_room_for_waits_until_they_end() -> None:
    toy, ledger, goal = Toy(), Ledger(lambda: PLENTY), Goal(caches=512 * COLUMN)
    first, second = (Engine(toy, max_seqs=8, memory=Budget(goal, ledger)) for _ in range(2))
    running, waiting = sequence(prompt(100), limit=9), sequence(prompt(300), limit=9)
    first.submit(running)
    first.step()
    second.submit(waiting)
    second.step()
    assert (waiting.tokens, waiting.sink.error) == ([], None)
    finish(first)
    finish(second)
    assert waiting.tokens == continuation(toy, waiting.prompt, 9)


def test_an_engine_at_rest_gives_freed_buffers_back_if_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cached, cleared = 2**28, []
    monkeypatch.setattr(mx, "get_cache_memory", lambda: cached)
    monkeypatch.setattr(mx, "clear_cache", lambda: cleared.append(cached))
    _, memory = budget(Toy())
    memory.rest()
    cached += 1
    memory.rest()
    assert cleared == [2**28 + 1]


def test_a_row_that_is_alone_and_may_not_grow_ends_with_what_it_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    toy = Toy()
    engine, _ = budget(toy, caches=512 * COLUMN)
    each = sequence(prompt(200), limit=10_000)
    engine.submit(each)
    finish(engine, steps=1000)
    assert (len(each.prompt) + len(each.tokens), each.sink.reason) == (513, "length")
    assert "an answer ends after 313 tokens: 513 tokens need" in caplog.text


def test_what_is_kept_of_earlier_sequences_makes_room_for_new_ones() -> None:
    toy, kept = Toy(), PrefixCache(sequences=16, limit=2**30)
    memory = Budget(Goal(caches=1024 * COLUMN), Ledger(lambda: PLENTY))
    engine = Engine(toy, max_seqs=8, memory=memory, prefix=kept, prefill_budget=64)
    assert kept.limit == 256 * COLUMN  # a quarter
    engine.submit(sequence(prompt(200), limit=5))
    finish(engine)
    before = kept.nbytes
    large = sequence([5, *prompt(700)], limit=5)
    engine.submit(large)
    finish(engine)
    assert before == 204 * COLUMN
    assert large.sink.reason == "length"
    assert kept.nbytes + memory.weights <= 1024 * COLUMN


def test_tokens_are_those_of_one_row() -> None:
    engine, _ = budget(Toy(), tokens=1000)
    fits, large = sequence(prompt(900), limit=50), sequence(prompt(1020), limit=50)
    for each in (fits, large):
        engine.submit(each)
    finish(engine)
    assert fits.sink.reason == "length"
    assert "memory_goal 1000 tokens" in str(large.sink.error)


def test_logits_of_a_prompt_are_refused_before_they_are_computed() -> None:
    toy = Toy()
    engine, _ = budget(toy, total=200_000)
    assert engine.logits(prompt(10)).shape == (10, VOCAB)
    toy.passes.clear()
    with pytest.raises(RequestError, match="700 tokens need"):
        engine.logits(prompt(700))
    assert not toy.passes


def test_weights_that_do_not_fit_are_refused_with_what_to_do() -> None:
    memory = Budget(Goal(total=16_000), Ledger(lambda: PLENTY))
    memory.check_weights(15_000)
    memory.weights = 10_000
    with pytest.raises(
        CheckpointError, match=r"take 4\.9 KiB, and 4\.9 KiB are left.*in_situ_quant"
    ):
        memory.check_weights(5_001)


def test_an_amount_for_caches_alone_does_not_bound_weights() -> None:
    memory = Budget(Goal(caches=1_000), Ledger(lambda: 100_000))
    memory.check_weights(80_000)
    assert memory.room() == 90_000
    with pytest.raises(NoRoomForWeights) as refused:
        memory.check_weights(90_001)
    assert refused.value.missing == 1


class Shelf:
    """Memory that can be given up."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = self.limit = nbytes

    def shrink(self, to_bytes: int) -> None:
        self.nbytes = to_bytes


def test_weights_make_others_keep_less_and_wait_for_their_rows() -> None:
    ledger, goal = Ledger(lambda: PLENTY), Goal(total=16_000)
    first, second = Budget(goal, ledger), Budget(goal, ledger)
    first.weights, first.arenas, first._spare = 5_000, 1_000, Shelf(6_000)
    second.check_weights(5_000)
    assert (first.kept, first.kept_lately) == (4_000, 4_000)
    with pytest.raises(NoRoomForWeights, match=r"9\.8 KiB, and 8\.8 KiB are left") as refused:
        second.check_weights(10_000)
    assert refused.value.missing == 0
    first.arenas = 0
    second.check_weights(10_000)
    with pytest.raises(NoRoomForWeights) as refused:
        second.check_weights(10_001)
    assert refused.value.missing == 1


def test_a_refusal_says_how_much_is_missing() -> None:
    memory = Budget(Goal(total=16_000), Ledger(lambda: PLENTY))
    assert memory.refusal(20_000, 1, 10).missing == 5_000
    assert isinstance(memory.refusal(20_000, 1, 10), RequestError)


def test_a_draft_models_caches_count() -> None:
    toy = Toy()
    engine, memory = budget(toy, caches=1024 * COLUMN)
    memory.learn_aside(toy, lambda: Caches(toy.cache_layout()))
    crowd = [sequence(prompt(100), limit=5) for _ in range(4)]
    toy.passes.clear()
    for each in crowd:
        engine.submit(each)
    finish(engine)
    assert max(rows for rows, _ in toy.passes) == 2  # four would fit without it


def test_models_of_one_runner_share_its_amount_and_all_share_the_device() -> None:
    ledger, goal = Ledger(lambda: 10_000), Goal(share=1.0, total=8_000)
    first, peer, stranger = (Budget(g, ledger) for g in (goal, goal, Goal(share=1.0)))
    first.weights = 3_000
    assert (peer.room(), stranger.room()) == (4_500, 7_000)
    first.close()
    assert (peer.room(), stranger.room()) == (7_500, 10_000)


def test_a_model_that_is_dropped_holds_nothing_any_more() -> None:
    ledger = Ledger(lambda: 10_000)
    stays, goes = (Budget(Goal(share=1.0), ledger) for _ in range(2))
    goes.weights = 4_000
    assert stays.room() == 6_000
    del goes
    assert stays.room() == 10_000


def mixed(engine: Engine, seed: int, count: int, longest: int = 90) -> list[Sequence]:
    """Run sequences of many lengths, of which some are aborted on the way."""
    draw, all_of_them = random.Random(seed), []
    for _ in range(count):
        each = sequence([draw.randrange(VOCAB)] * draw.randrange(1, longest), draw.randrange(1, 20))
        all_of_them.append(each)
        engine.submit(each)
        for _ in range(draw.randrange(4)):
            engine.step()
        if draw.random() < 0.2:
            draw.choice(all_of_them).canceled = True
    finish(engine, steps=5000)
    return all_of_them


def test_after_200_mixed_and_aborted_sequences_all_memory_is_back() -> None:
    toy = Toy()
    mx.eval(toy.table, toy.turn, toy.out)
    engine, memory = budget(toy, total=2**20)
    mixed(engine, 0, 5)
    gc.collect()  # of tests before this one
    before = mx.get_active_memory()
    ended = mixed(engine, 1, 200)
    assert {each.sink.reason for each in ended} == {"length", "canceled"}
    assert abs(mx.get_active_memory() - before) <= before / 100
    assert memory.held == WEIGHTS


def test_the_peak_stays_within_the_budget() -> None:
    toy, total = Toy(), 2**20
    mx.eval(toy.table, toy.turn, toy.out)
    engine, _ = budget(toy, chunk=8, total=total)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    ended = mixed(engine, 2, 40, longest=700)
    assert {each.sink.reason for each in ended} == {"length", "canceled"}
    assert total / 2 < mx.get_peak_memory() - before <= total
