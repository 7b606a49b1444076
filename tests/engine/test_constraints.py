"""Rows that may not say everything: they obey, their neighbours do not notice, nothing waits."""

import threading
import time
from collections.abc import Collection
from typing import Self

import pytest

from mistralrs_mlx.engine.constraints import Guide
from mistralrs_mlx.engine.drafts import PromptLookup
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.params import SamplingParams
from mistralrs_mlx.engine.sequence import Sequence
from mistralrs_mlx.errors import RequestError

from .toy import VOCAB, Toy, continuation, finish, sequence

WAIT = 20.0  # seconds; a test that waits this long has failed


class Steps:
    """Token i of the text is one of `steps[i]`; an empty step is a dead end."""

    def __init__(self, *steps: Collection[int], token: int = 0) -> None:
        self.steps, self.place = steps, token
        self.threads: set[str] = set()

    @property
    def finished(self) -> bool:
        return self.place == len(self.steps)

    def mask(self) -> bytes:
        self.threads.add(threading.current_thread().name)
        allowed = self.steps[self.place]
        if not allowed:
            raise RequestError("a dead end")
        return sum(1 << token for token in allowed).to_bytes(4, "little")

    def accept(self, token: int) -> None:
        assert token in self.steps[self.place]
        self.place += 1

    def copy(self) -> Self:
        return type(self)(*self.steps, token=self.place)


def constrained(constraint: Steps, limit: int = 20, **options: object) -> Sequence:
    made = sequence([1, 2, 3], limit=limit, **options)
    made.constrain(constraint)
    return made


def run(*sequences: Sequence, engine: Engine | None = None) -> None:
    engine = engine or Engine(Toy(), max_seqs=8)
    for each in sequences:
        engine.submit(each)
    finish(engine)


def test_a_constrained_row_says_only_what_it_may() -> None:
    steps = [{7}, {8, 9}, {30}, {0}, {11, 12, 13}]
    each = constrained(Steps(*steps))
    run(each)
    assert len(each.tokens) == 5
    assert all(token in allowed for token, allowed in zip(each.tokens, steps, strict=True))
    assert each.sink.tokens == each.tokens


@pytest.mark.parametrize(("limit", "reason"), [(2, "length"), (3, "stop"), (4, "stop")])
def test_a_complete_text_ends_by_itself_and_a_cut_one_by_its_length(
    limit: int, reason: str
) -> None:
    each = constrained(Steps([4], [5], [6]), limit=limit)
    run(each)
    assert (each.tokens, each.sink.reason) == ([4, 5, 6][:limit], reason)


def test_a_stop_token_ends_a_constrained_row() -> None:
    each = constrained(Steps([4], [5], [6], [7]), stop_tokens=[5])
    run(each)
    assert (each.tokens, each.sink.reason) == ([4, 5], "stop")
    assert each.sink.silent == [False, True]


def test_neighbours_of_a_constrained_row_say_what_they_say_alone() -> None:
    toy = Toy()
    free = [sequence(prompt, limit=12) for prompt in ([4], [5, 6, 7], list(range(30)))]
    held = [constrained(Steps(*[[token]] * 9)) for token in (3, 4)]
    run(free[0], held[0], free[1], held[1], free[2], engine=Engine(toy, max_seqs=8))
    for each in free:
        assert each.tokens == continuation(toy, each.prompt, 12)
    assert [each.tokens for each in held] == [[3] * 9, [4] * 9]


def test_drafts_of_neighbours_do_not_loosen_a_constraint() -> None:
    toy = Toy()
    held = constrained(Steps(*[[token] for token in range(9)]))
    free = [sequence([1, 2, 3] * 4, limit=12) for _ in range(3)]
    engine = Engine(toy, max_seqs=4, drafter=PromptLookup(4))
    run(held, *free, engine=engine)
    assert any(rows == 4 and length > 1 for rows, length in toy.passes)
    assert held.tokens == list(range(9))
    for each in free:
        assert each.tokens == continuation(toy, each.prompt, 12)


def test_a_seed_gives_the_same_constrained_text_alone_and_in_a_crowd() -> None:
    def crowd() -> list[Sequence]:
        wide = Steps(*[range(2 + i % 7, VOCAB) for i in range(10)])
        return [
            constrained(wide.copy(), params=SamplingParams(temperature=1.0, seed=seed))
            for seed in range(4)
        ]

    together, alone = crowd(), crowd()
    run(*together)
    for each in alone:
        run(each)
    assert [each.tokens for each in alone] == [each.tokens for each in together]
    assert len({tuple(each.tokens) for each in alone}) > 1


def test_choices_go_through_one_constraint_each_by_itself() -> None:
    params = SamplingParams(temperature=9.0, seed=2)
    family = [sequence([1, 2, 3], limit=9, params=params, choice=i) for i in range(3)]
    family[0].siblings = family[1:]
    family[0].constrain(Steps(range(5, VOCAB), [1], range(5, VOCAB)))
    run(family[0])
    assert [each.tokens[1] for each in family] == [1, 1, 1]
    assert [each.sink.reason for each in family] == ["stop"] * 3
    assert len({tuple(each.tokens) for each in family}) > 1


def test_masks_are_computed_on_threads_of_their_own() -> None:
    constraint = Steps([4], [5])
    run(constrained(constraint))
    assert all(name.startswith("mask") for name in constraint.threads)


class Late(Steps):
    """A mask that is ready no sooner than the pass it is for has been started."""

    toy: Toy

    def mask(self) -> bytes:
        deadline = time.monotonic() + WAIT
        while len(self.toy.passes) <= self.place:  # pass 0 is the prompt's
            if time.monotonic() > deadline:
                raise RequestError("the pass waits for the mask")
            time.sleep(0.001)
        return super().mask()


def test_a_pass_starts_before_its_mask_is_there() -> None:
    constraint = Late([4], [5], [6])
    constraint.toy = Toy()
    each = constrained(constraint)
    run(each, engine=Engine(constraint.toy, max_seqs=1))
    assert each.sink.error is None
    assert each.tokens == [4, 5, 6]


class Meeting(Steps):
    """A mask that is ready only when its neighbour's is being computed as well."""

    barrier: threading.Barrier

    def mask(self) -> bytes:
        self.barrier.wait(WAIT)
        return super().mask()


@pytest.mark.skipif("__import__('os').cpu_count() < 2", reason="one core computes one mask")
def test_masks_of_a_step_are_computed_side_by_side() -> None:
    pair = [Meeting([4], [5], [6]) for _ in range(2)]
    Meeting.barrier = threading.Barrier(2)
    rows = [constrained(each) for each in pair]
    run(*rows)
    assert [each.tokens for each in rows] == [[4, 5, 6]] * 2


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_dead_end_fails_its_row_and_no_other(before: int) -> None:
    toy = Toy()
    dead = constrained(Steps(*[[4]] * before, []))
    held, free = constrained(Steps([4], [5], [6], [7], [8])), sequence([9], limit=8)
    run(free, dead, held, engine=Engine(toy, max_seqs=4))
    assert str(dead.sink.error) == "a dead end"
    assert dead.sink.tokens == [4] * before
    assert (held.tokens, held.sink.reason) == ([4, 5, 6, 7, 8], "stop")
    assert free.tokens == continuation(toy, [9], 8)


class Broken(Steps):
    def mask(self) -> bytes:
        raise KeyError(self.place)


def test_a_defect_of_a_constraint_is_an_error_of_its_row() -> None:
    each, other = constrained(Broken([4])), constrained(Steps([4], [5]))
    run(each, other)
    assert isinstance(each.sink.error, RequestError)
    assert "KeyError: 0" in str(each.sink.error)
    assert other.tokens == [4, 5]


class Seen(Steps):
    """Finds out that it is finished only when asked what may come next."""

    ended = False

    @property
    def finished(self) -> bool:
        return self.ended

    def mask(self) -> bytes:
        self.ended = self.place == len(self.steps)
        return bytes(4) if self.ended else super().mask()


@pytest.mark.parametrize("count", [0, 2])
def test_an_end_that_shows_in_the_mask_ends_the_row_without_a_token(count: int) -> None:
    toy = Toy()
    each, free = constrained(Seen(*[[4]] * count)), sequence([9], limit=8)
    run(each, free, engine=Engine(toy, max_seqs=2))
    assert (each.sink.tokens, each.sink.reason) == ([4] * count, "stop")
    assert free.tokens == continuation(toy, [9], 8)


def test_a_constraint_goes_on_where_a_row_is_computed_again() -> None:
    each = constrained(Steps(*[[token] for token in range(4, 16)]))
    run(each, sequence([5] * 4, limit=12), engine=Engine(Toy(rope_border=8), max_seqs=2))
    assert each.tokens == list(range(4, 16))


def test_logprobs_of_a_constrained_row_are_those_of_the_free_model() -> None:
    params = SamplingParams(temperature=0.0, top_logprobs=1)
    free, held = sequence([1, 2, 3], limit=1, params=params), constrained(Steps([4]), params=params)
    run(free, held)
    assert held.sink.logprobs[0].top == free.sink.logprobs[0].top
    assert held.sink.logprobs[0].token == 4


def test_a_mask_is_computed_once_however_often_it_is_looked_for() -> None:
    calls: list[int] = []

    class Counted(Steps):
        def mask(self) -> bytes:
            calls.append(self.place)
            return super().mask()

    guide = Guide(Counted([4], [5]))
    for _ in range(3):
        guide.look_ahead()
        assert guide.mask().tolist() == [1 << 4]
    guide.accept(4)
    assert guide.mask().tolist() == [1 << 5]
    assert calls == [0, 1]
