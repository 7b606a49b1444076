"""Drafts bring tokens sooner and never others: every text is the one of plain decoding."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Attends, Memory
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.engine.draft_model import DraftModel
from mistralrs_mlx.engine.drafts import REST, Drafter, Pace, PromptLookup
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.params import DryParams, SamplingParams
from mistralrs_mlx.engine.sequence import Sequence

from .toy import VOCAB, Toy, continuation, finish, sequence

GREEDY = SamplingParams(temperature=0.0)


class Oracle:
    """Drafts from texts that are given beforehand, wrong at every place that `errs` says."""

    def __init__(self, most: int = 5, errs: Callable[[int], bool] = lambda place: False) -> None:
        self.most, self.errs = most, errs
        self.texts: dict[tuple[int, ...], list[int]] = {}
        self.learned: list[tuple[int, int]] = []

    def wants(self, sequences: list[Sequence]) -> bool:
        return True

    def propose(self, sequences: list[Sequence], most: list[int]) -> list[list[int]]:
        return [
            self._draft(each, min(n, self.most)) for each, n in zip(sequences, most, strict=True)
        ]

    def learn(self, sequence: Sequence, drafted: int, kept: int) -> None:
        self.learned.append((drafted, kept))

    def clear(self) -> None:
        pass

    def _draft(self, each: Sequence, most: int) -> list[int]:
        text, start = self.texts.get((*each.prompt, each.choice), []), len(each.tokens)
        places = range(start, min(start + most, len(text)))
        return [(text[i] + self.errs(i)) % VOCAB for i in places]


def mixed(limit: int = 40) -> list[Sequence]:
    """Prompts of all lengths, sampled in all ways; two choices of one of them."""
    ways = [
        GREEDY,
        SamplingParams(temperature=1.0, seed=5),
        SamplingParams(temperature=0.7, seed=6, top_k=8, presence_penalty=0.5, top_logprobs=2),
        SamplingParams(temperature=1.3, seed=7, top_p=0.8, repetition_penalty=1.2),
        SamplingParams(temperature=0.0, dry=DryParams(multiplier=5.0, allowed_length=1)),
    ]
    random = np.random.default_rng(3)
    made = [
        sequence(random.integers(0, VOCAB, 1 + 7 * i).tolist(), limit=limit - 5 * i, params=params)
        for i, params in enumerate(ways)
    ]
    made[1].siblings = [sequence(made[1].prompt, limit, params=ways[1], choice=1)]
    return made


def everyone(given: list[Sequence]) -> list[Sequence]:
    return [each for first in given for each in first.family]


def run(toy: Toy, given: list[Sequence], drafter: Drafter | None = None) -> list[Sequence]:
    """Let all come one after the other and end; return them and their siblings."""
    engine, all_of_them = (
        Engine(toy, max_seqs=4, prefill_budget=7, drafter=drafter),
        everyone(given),
    )
    for each in given:
        engine.submit(each)
        engine.step()
    finish(engine, steps=500)
    return all_of_them


def told(given: list[Sequence]) -> list[tuple[object, ...]]:
    """What readers saw: tokens, which of them had no text, logprobs, reasons."""
    return [(e.tokens, e.sink.tokens, e.sink.silent, e.sink.reason) for e in given]


def oracle_for(toy: Toy, given: Callable[[], list[Sequence]], **options: object) -> Oracle:
    oracle = Oracle(**options)
    oracle.texts = {(*e.prompt, e.choice): e.tokens for e in run(toy, given())}
    return oracle


@pytest.fixture
def short_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings that come round after 16 tokens."""

    def caches(layout: list[Memory], **options: int | None) -> Caches:
        return Caches(layout, block=8, growth=4, **options)

    monkeypatch.setattr("mistralrs_mlx.engine.rows.Caches", caches)
    monkeypatch.setattr("mistralrs_mlx.engine.draft_model.Caches", caches)


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("every", [1, 2, 3, 7, 1000])
@pytest.mark.usefixtures("short_rings")
def test_any_draft_gives_the_tokens_of_plain_decoding(window: int | None, every: int) -> None:
    toy = Toy(window)
    oracle = oracle_for(toy, mixed, most=9, errs=lambda place: place % every == every - 1)
    assert told(run(toy, mixed(), oracle)) == told(run(toy, mixed()))
    assert len(oracle.learned) > 5


def test_rows_at_the_trained_length_are_computed_as_without_drafts() -> None:
    toy = Toy(rope_border=30)
    oracle = oracle_for(toy, mixed, errs=lambda place: place % 4 == 3)
    for each in run(toy, mixed(), oracle):
        if each.params == GREEDY:
            assert each.tokens == continuation(toy, each.prompt, each.limit)
    assert told(run(toy, mixed(), oracle)) == told(run(toy, mixed()))


def test_right_drafts_save_passes_and_limits_hold_exactly() -> None:
    toy = Toy()
    oracle = oracle_for(toy, lambda: [sequence([1, 2, 3], limit=50)], most=5)
    oracle.texts = {key: text + [0] * 9 for key, text in oracle.texts.items()}
    toy.passes.clear()
    each = run(toy, [sequence([1, 2, 3], limit=22)], oracle)[0]
    # The prompt gives 1 token, three drafts of 5 bring 6 each, 3 are left: a draft of 2.
    assert toy.passes == [(1, 3), (1, 6), (1, 6), (1, 6), (1, 3)]
    assert each.tokens == continuation(toy, [1, 2, 3], 22)
    assert each.sink.timing.completion_tokens == 22


@pytest.mark.parametrize("options", [{"stop_after": 3}, {"stop_tokens": True}])
def test_a_text_that_stops_within_a_draft_stops_there(options: dict[str, object]) -> None:
    toy = Toy()
    expected = continuation(toy, [5, 6], 3)
    stops = {"stop_tokens": [expected[2]]} if "stop_tokens" in options else options
    oracle = oracle_for(toy, lambda: [sequence([5, 6], limit=30)], most=20)
    each = run(toy, [sequence([5, 6], limit=30, **stops)], oracle)[0]
    assert (each.sink.tokens, each.sink.reason) == (expected, "stop")
    assert oracle.learned == [(20, 2)]


def test_logprobs_of_kept_tokens_are_those_of_plain_decoding() -> None:
    toy, params = Toy(), SamplingParams(temperature=0.9, seed=2, top_logprobs=3)
    oracle = oracle_for(toy, lambda: [sequence([4, 4], limit=20, params=params)])
    plain, drafted = (
        run(toy, [sequence([4, 4], limit=20, params=params)], each)[0].sink.logprobs
        for each in (None, oracle)
    )
    for one, other in zip(plain, drafted, strict=True):
        assert one.token == other.token
        assert [id for id, _ in one.top] == [id for id, _ in other.top]
        assert math.isclose(one.logprob, other.logprob, rel_tol=1e-4, abs_tol=1e-5)


def test_padding_does_not_outweigh_drafts() -> None:
    toy = Toy()
    crowd = [sequence([each], limit=12) for each in range(4)]
    oracle = oracle_for(toy, lambda: [sequence([0], limit=12)])
    engine = Engine(toy, max_seqs=4, drafter=oracle)
    for each in crowd:
        engine.submit(each)
    finish(engine)
    assert not oracle.learned
    assert [each.tokens for each in crowd] == [continuation(toy, [i], 12) for i in range(4)]


def test_rows_that_leave_and_fail_in_the_middle_leave_the_engine_whole() -> None:
    toy = Toy()
    oracle = oracle_for(toy, mixed)
    engine = Engine(toy, max_seqs=6, drafter=oracle)
    goes, stays = mixed()[1], sequence(mixed()[1].prompt, limit=30)
    for each in (goes, stays):
        engine.submit(each)
    engine.step()
    goes.canceled = True
    engine.step()
    assert goes.sink.reason == "canceled"
    toy.broken = True
    engine.step()
    toy.broken = False
    assert str(stays.sink.error) == "the toy is broken"
    assert told(run(toy, mixed(), oracle)) == told(run(toy, mixed()))


def test_a_drafter_that_fails_ends_what_runs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    toy, oracle = Toy(), Oracle()
    engine = Engine(toy, max_seqs=2, drafter=oracle)
    failing, later = sequence([1], limit=5), sequence([2], limit=5)
    with monkeypatch.context() as patch:
        patch.setattr(oracle, "propose", lambda *_: 1 / 0)
        engine.submit(failing)
        finish(engine)
    assert isinstance(failing.sink.error, ZeroDivisionError)
    engine.submit(later)
    finish(engine)
    assert later.tokens == continuation(toy, [2], 5)


class Circle(Toy):
    """Counts, and begins again at `size`: what prompt lookup is made for."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def embed(self, tokens: mx.array) -> mx.array:
        return tokens[..., None]

    def hidden(self, embeddings: mx.array, step: Step) -> mx.array:
        self.passes.append(embeddings.shape[:2])
        return embeddings

    def head(self, hidden: mx.array) -> mx.array:
        return mx.where(mx.arange(VOCAB) == (hidden + 1) % self.size, 9.0, 0.0)


def test_prompt_lookup_copies_what_came_after_the_newest_like_place() -> None:
    each = sequence([1, 2, 3, 4, 9, 1, 2, 3, 5, 8, 7, 1, 2], limit=9)
    each.tokens = [3]
    drafts = PromptLookup(4).propose([each], [9])
    assert drafts == [[5, 8, 7]]  # a first draft is short
    assert PromptLookup(2).propose([each], [9]) == [[5, 8]]
    assert PromptLookup(4).propose([sequence([1, 2, 3], limit=9)], [9]) == [[]]


def test_prompt_lookup_goes_on_with_what_repeats_itself() -> None:
    each = sequence([6, 1, 2, 1, 2, 1, 2], limit=30)
    assert PromptLookup(9).propose([each], [9]) == [[1, 2, 1]]


def test_prompt_lookup_needs_a_fraction_of_a_pass_for_each_token_that_repeats() -> None:
    circle = Circle(7)
    each = run(circle, [sequence([0, 1, 2], limit=100)], PromptLookup(8))[0]
    assert each.tokens == [(3 + i) % 7 for i in range(100)]
    assert len(circle.passes) < 30


def test_prompt_lookup_gives_the_tokens_of_plain_decoding() -> None:
    for toy in (Toy(), Toy(6)):
        assert told(run(toy, mixed(), PromptLookup(4))) == told(run(toy, mixed()))


def test_without_a_like_place_decoding_runs_ahead_as_ever() -> None:
    circle = Circle(VOCAB)
    engine = Engine(circle, max_seqs=1, drafter=PromptLookup(8))
    engine.submit(sequence([0], limit=20))
    ahead = []
    while engine.busy:
        engine.step()
        ahead.append(engine._decode.may_run_ahead())
    assert sum(ahead) >= 16


def test_drafts_that_are_never_right_stop_and_are_tried_again_later() -> None:
    pace, each = Pace(), sequence([1], limit=9999)
    tried = []
    for count in range(1000):
        if pace.length(each):
            tried.append(count)
            pace.learn(each, 3, 1)
        each.tokens.append(0)
    assert tried[:3] == [0, 1, 2]
    assert 5 <= len(tried) <= 10
    assert min(b - a for a, b in pairwise(tried[3:])) >= REST


def test_drafts_that_are_right_grow_and_those_that_are_not_shrink() -> None:
    pace, each = Pace(), sequence([1], limit=9999)
    for _ in range(6):
        pace.learn(each, pace.length(each), pace.length(each) + 1)
    grown = pace.length(each)
    for _ in range(6):
        pace.learn(each, pace.length(each), 3)
    assert grown > 8 > pace.length(each) >= 3


def drafted_by(target: Toy, draft: Toy, given: list[Sequence], **options: int) -> list[Sequence]:
    options = {"most": 6, "context": 999, "budget": 5, **options}
    return run(target, given, DraftModel(draft, **options))


def other(window: int | None = None, width: int = VOCAB) -> Toy:
    """A toy that thinks much like the toy, over a vocabulary that is padded differently."""
    toy = Toy(window)
    noise = mx.random.normal(toy.out.shape, key=mx.random.key(1))
    toy.out = mx.pad(toy.out + 0.3 * noise, [(0, 0), (0, 9)])[:, :width]
    return toy


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("width", [VOCAB, VOCAB + 5, VOCAB - 3])
@pytest.mark.usefixtures("short_rings")
def test_a_draft_model_gives_the_tokens_of_plain_decoding(window: int | None, width: int) -> None:
    toy = Toy(6 - (window or 0) or None)
    drafted = drafted_by(toy, other(window, width), mixed())
    assert told(drafted) == told(run(toy, mixed()))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_draft_model_that_thinks_alike_saves_most_passes(temperature: float) -> None:
    toy, twin = Toy(), Toy()
    given = [
        sequence(prompt, limit=60, params=SamplingParams(temperature=temperature, seed=seed))
        for seed, prompt in enumerate([[1, 2, 3], [9] * 30])
    ]
    run(toy, given, DraftModel(twin, most=8, context=999))
    assert len([each for each in toy.passes if each[1] > 1]) < 30
    assert len(toy.passes) < 40


def test_a_draft_model_joins_rows_that_grow_beyond_its_border_or_context() -> None:
    toy, draft = Toy(), Toy(rope_border=20)
    assert told(drafted_by(toy, draft, mixed(), context=36)) == told(run(toy, mixed()))


def test_a_draft_model_reads_long_prompts_in_pieces() -> None:
    toy, draft = Toy(), Toy()
    drafted_by(toy, draft, [sequence(list(range(30)), limit=40)])
    assert max(length for _, length in draft.passes) == 5


def test_a_draft_model_reads_the_prompt_of_several_choices_once() -> None:
    toy, draft, prompt = Toy(), Toy(), list(range(30))
    ways = [SamplingParams(temperature=1.0, seed=seed) for seed in (1, 1, 1, 2)]
    first, *rest = [sequence(prompt, 20, params=p, choice=i) for i, p in enumerate(ways)]
    first.siblings = rest
    drafted = drafted_by(toy, draft, [first], budget=64)
    assert sum(length for rows, length in draft.passes if rows == 1) < 2 * len(prompt)
    for i, params in enumerate(ways):
        alone = run(toy, [sequence(prompt, 20, params=params, choice=i)])[0]
        assert drafted[i].tokens == alone.tokens


def test_memory_of_a_draft_model_comes_back() -> None:
    toy, draft = Toy(), Toy()
    mx.eval(toy.table, toy.turn, toy.out, draft.table, draft.turn, draft.out)
    before = mx.get_active_memory()
    drafter = DraftModel(draft, most=6, context=999)
    run(toy, mixed(), drafter)
    assert mx.get_active_memory() < before + 1000


def test_sampled_tokens_are_distributed_as_the_model_says() -> None:
    """Chi-square of the third token over 500 seeds, against sums over all ways to it."""
    toy, count = Toy(), 500
    settings = {"temperature": 1.5, "top_k": 4}
    given = [
        sequence([3, 1], limit=3, params=SamplingParams(seed=seed, **settings))
        for seed in range(count)
    ]
    engine = Engine(toy, max_seqs=100, drafter=DraftModel(other(), most=3, context=99))
    for each in given:
        engine.submit(each)
    finish(engine, steps=2000)
    expected = chances(toy, [3, 1], 3, 1.5, 4)
    seen = Counter(each.tokens[2] for each in given)
    chi = sum(
        (seen[t] - count * p) ** 2 / (count * p) for t, p in expected.items() if p * count > 5
    )
    freedom = sum(p * count > 5 for p in expected.values()) - 1
    assert seen.keys() <= expected.keys()
    assert chi < freedom + 3.7 * math.sqrt(2 * freedom)  # one run in ten thousand


def chances(toy: Toy, text: list[int], ahead: int, temperature: float, top: int) -> Counter[int]:
    """The distribution of the token `ahead` places from here."""
    caches = Caches([Attends(None)])
    caches.add(len(text))
    hidden = toy.hidden(toy.embed(mx.array([text])), caches.step(0, 1, len(text)))
    scores = np.array(toy.head(hidden)[0, -1]) / temperature
    best = np.argsort(scores)[-top:]
    shares = np.exp(scores[best] - scores.max())
    found: Counter[int] = Counter()
    for token, share in zip(best.tolist(), (shares / shares.sum()).tolist(), strict=True):
        rest = (
            {token: 1.0}
            if ahead == 1
            else chances(toy, [*text, token], ahead - 1, temperature, top)
        )
        for last, chance in rest.items():
            found[last] += share * chance
    return found
