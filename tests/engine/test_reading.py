"""Media in prompts: encoded once, put in their places, remembered within bounds, told apart."""

import gc
from collections.abc import Mapping, Set
from collections.abc import Sequence as Many
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.prefix import PrefixCache
from mistralrs_mlx.engine.draft_model import DraftModel
from mistralrs_mlx.engine.drafts import Drafter, PromptLookup
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.kept import Kept
from mistralrs_mlx.engine.reading import MediaReading, Medium
from mistralrs_mlx.engine.sequence import Sequence

from .toy import DIMS, Toy, finish, sequence

SOFT = 30  # the token that stands for media
ROW = 4 * DIMS  # bytes of one


class Seeing(Toy):
    """A toy that takes the rows of media as they come; beside clips, pictures count double."""

    whole_media = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.encoded: list[tuple[float, str | None]] = []  # (the first number, mode)
        self.slots: Many[int] | None = None

    def adapter_for(self, kinds: Set[str]) -> str | None:
        return "both" if len(kinds) > 1 else None

    def slot_for(self, kinds: Set[str]) -> int:
        return 1 if self.adapter_for(kinds) else 0

    def adapt(self, slots: Many[int] | None) -> None:
        self.slots = slots

    def encode(self, kind: str, arrays: Mapping[str, mx.array], adapter: str | None) -> mx.array:
        rows = arrays["rows"]
        self.encoded.append((round(rows[0, 0].item(), 4), adapter))
        return rows * 2 if adapter and kind == "image" else rows


class Wide(Seeing):
    """A toy whose encoder needs a million numbers for a moment."""

    def encode(self, kind: str, arrays: Mapping[str, mx.array], adapter: str | None) -> mx.array:
        wide = mx.broadcast_to(arrays["rows"].sum(), (1 << 20,)) + mx.arange(1 << 20)
        return super().encode(kind, arrays, adapter) + mx.sort(wide)[0] * 0


def medium(start: int, seed: int, tokens: int = 6, kind: str = "image") -> Medium:
    """A medium that differs from those of other seeds."""
    rows = np.random.default_rng(seed).standard_normal((tokens, DIMS)).astype(np.float32)
    digest = f"{kind} {seed} {tokens}"
    return Medium(kind=kind, start=start, tokens=tokens, digest=digest, arrays={"rows": rows})


def shown(*media: Medium, length: int = 0, limit: int = 6, slot: int = 0) -> Sequence:
    """A sequence of some text with media in it."""
    end = max((each.stop for each in media), default=0)
    prompt = [(7 * i + 3) % SOFT for i in range(max(length, end + 4))]
    keys: list[Any] = list(prompt)
    for each in media:
        prompt[each.start : each.stop] = [SOFT] * each.tokens
        keys[each.start : each.stop] = [each.digest] * each.tokens
    return sequence(prompt, limit=limit, media=media, prompt_keys=keys, slot=slot, salt=(slot,))


def expected(toy: Seeing, asked: Sequence) -> list[int]:
    """Greedy tokens with the media put in by hand, all computed again for every token."""
    mode = toy.adapter_for({each.kind for each in asked.media})
    known = list(asked.prompt)
    for _ in range(asked.limit):
        rows = toy.table[mx.array(known)]
        for each in asked.media:
            there = mx.array(each.arrays["rows"]) * (2 if mode and each.kind == "image" else 1)
            rows = mx.concatenate([rows[: each.start], there, rows[each.stop :]])
        caches = Caches(toy.cache_layout())
        caches.add(len(known))
        hidden = toy.hidden(rows[None], caches.step(0, 1, len(known)))
        known.append(int(mx.argmax(toy.head(hidden)[0, -1]).item()))
    return known[len(asked.prompt) :]


def engine_on(toy: Seeing, most: int = 1 << 20, **options: Any) -> Engine:
    return Engine(toy, **{"max_seqs": 4, "reading": MediaReading(toy, most_bytes=most)} | options)


def answers(engine: Engine, *asked: Sequence) -> list[list[int]]:
    for each in asked:
        engine.submit(each)
    finish(engine)
    assert [each.sink.error for each in asked] == [None] * len(asked)
    return [each.tokens for each in asked]


def reading_of(engine: Engine) -> MediaReading:
    return engine._rows.reading


@pytest.mark.parametrize("budget", [1, 3, 5, 7, 16, 512])
def test_media_are_in_their_places_however_chunks_cut_them(budget: int) -> None:
    toy = Seeing()
    asked = shown(medium(2, 1), medium(8, 2, tokens=1), medium(12, 3, kind="audio"))
    engine = engine_on(toy, prefill_budget=budget)
    assert answers(engine, asked) == [expected(toy, asked)]


def test_a_prompt_may_be_nothing_but_media() -> None:
    toy, one, other = Seeing(), medium(0, 1), medium(6, 2)
    asked = shown(one, other)
    asked = sequence(asked.prompt[:12], limit=4, media=(one, other), prompt_keys=asked.keys[:12])
    assert answers(engine_on(toy, prefill_budget=4), asked) == [expected(toy, asked)]


@pytest.mark.parametrize("budget", [4, 5, 9])
def test_a_chunk_ends_beside_a_medium_that_must_be_whole(budget: int) -> None:
    toy = Seeing()
    toy.whole_media = True
    asked = shown(medium(2, 1), medium(12, 2))
    assert answers(engine_on(toy, prefill_budget=budget), asked) == [expected(toy, asked)]
    ends = {done for done, _ in asked.sink.prefills}
    assert not ends & {*range(3, 8), *range(13, 18)}


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_a_medium_that_chunks_cut_is_encoded_once(most: int) -> None:
    toy = Seeing()
    answers(engine_on(toy, most, prefill_budget=2), shown(medium(1, 1, tokens=9)))
    assert len(toy.encoded) == 1


def test_what_looks_the_same_is_encoded_once_for_each_mode() -> None:
    toy = Seeing()
    engine = engine_on(toy)
    twice, after = shown(medium(2, 1), medium(9, 1)), shown(medium(5, 1))
    both = shown(medium(2, 1), medium(9, 1), medium(16, 4, kind="audio"), slot=1)
    for asked in (twice, after, both):
        assert answers(engine, asked) == [expected(toy, asked)]
    assert [mode for _, mode in toy.encoded] == [None, "both", "both"]


def test_the_medium_used_longest_ago_is_forgotten_first() -> None:
    toy = Seeing()
    engine = engine_on(toy, most=2 * 6 * ROW)
    for seed in (1, 2, 1, 3, 1, 2):  # with 3 comes 2's end
        answers(engine, shown(medium(2, seed), limit=1))
        assert reading_of(engine).nbytes <= 2 * 6 * ROW
    assert len(toy.encoded) == 4


def test_a_medium_beyond_the_limit_drives_out_no_other() -> None:
    toy = Seeing()
    engine = engine_on(toy, most=6 * ROW)
    for tokens in (6, 7, 6):
        answers(engine, shown(medium(2, tokens, tokens=tokens), limit=1))
    assert len(toy.encoded) == 2
    assert reading_of(engine).nbytes == 6 * ROW


def test_a_limit_of_zero_remembers_nothing() -> None:
    toy = Seeing()
    engine = engine_on(toy, most=0)
    for _ in range(2):
        answers(engine, shown(medium(2, 1)))
    assert (len(toy.encoded), reading_of(engine).nbytes) == (2, 0)


def test_what_is_remembered_can_be_shrunk() -> None:
    engine = engine_on(Seeing())
    answers(engine, shown(medium(2, 1), medium(9, 2)))
    reading_of(engine).shrink(6 * ROW)
    assert reading_of(engine).nbytes == 6 * ROW


def test_an_encoder_that_miscounts_fails_its_own_sequence_alone() -> None:
    toy = Seeing()
    engine = engine_on(toy)
    wrong = medium(2, 1, tokens=6)
    wrong = Medium(kind="image", start=2, tokens=5, digest=wrong.digest, arrays=wrong.arrays)
    bad, good = shown(wrong), shown(medium(2, 2))
    for each in (bad, good):
        engine.submit(each)
    finish(engine)
    assert "image at token 2: the prompt holds 5 placeholders" in str(bad.sink.error)
    assert good.tokens == expected(toy, good)
    assert reading_of(engine).nbytes == 6 * ROW  # of the good one


def test_memory_does_not_grow_with_the_number_of_pictures() -> None:
    def peak(count: int) -> int:
        toy = Wide()
        engine = engine_on(toy, most=0)
        asked = shown(*(medium(2 + 7 * i, i) for i in range(count)), limit=1)
        mx.synchronize()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        answers(engine, asked)
        return mx.get_peak_memory() - before

    assert peak(12) < peak(1) + (1 << 20)


@pytest.mark.parametrize("again", [1, 2])
def test_a_known_picture_is_not_encoded_and_another_one_is_never_taken_for_it(again: int) -> None:
    toy = Seeing()
    engine = engine_on(toy, most=0, prefix=PrefixCache(sequences=8, limit=1 << 20))
    first, second = shown(medium(3, 1)), shown(medium(3, again), length=20)
    assert answers(engine, first) == [expected(toy, first)]
    assert answers(engine, second) == [expected(toy, second)]
    cached = second.timing.cached_tokens
    assert (cached, len(toy.encoded)) == ((13, 1) if again == 1 else (3, 2))


def test_a_prompt_goes_on_inside_a_medium_where_a_canceled_one_ended() -> None:
    toy = Seeing()
    prefix = PrefixCache(sequences=8, limit=1 << 20)
    engine = engine_on(toy, most=0, prefix=prefix, prefill_budget=6)
    first, second = shown(medium(3, 1, tokens=12)), shown(medium(3, 1, tokens=12))
    engine.submit(first)
    engine.step()
    first.canceled = True
    assert answers(engine, second) == [expected(toy, second)]
    assert second.timing.cached_tokens == 6


def test_a_prompt_that_begins_again_inside_its_second_medium_sees_the_first_one_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = Seeing()
    engine = engine_on(toy, most=0, prefill_budget=6)
    failing, asked = sequence([1], limit=9), shown(medium(2, 1), medium(9, 2))
    for each in (failing, asked):
        engine.submit(each)
        engine.step()
    with monkeypatch.context() as patch:
        patch.setattr(engine._decode, "advance", lambda: 1 / 0)
        engine.step()
    assert reading_of(engine)._held[asked][0] is asked.media[1]
    finish(engine)
    assert asked.tokens == expected(toy, asked)


def test_nothing_is_held_for_a_prompt_that_is_canceled_inside_a_medium() -> None:
    toy = Seeing()
    engine = engine_on(toy, most=0, prefill_budget=6)
    asked = shown(medium(3, 1, tokens=12))
    engine.submit(asked)
    engine.step()
    assert len(reading_of(engine)._held) == 1
    asked.canceled = True
    finish(engine)
    del asked
    gc.collect()
    assert not reading_of(engine)._held


def test_rows_with_and_without_media_do_not_see_their_neighbours() -> None:
    toy = Seeing()
    asked = [
        shown(medium(3, 1)),
        shown(length=9),
        shown(medium(2, 1), medium(9, 4, kind="audio"), slot=1),
        shown(medium(3, 2)),
    ]
    assert answers(engine_on(toy), *asked) == [expected(toy, each) for each in asked]


def test_every_pass_is_told_the_slots_of_its_rows() -> None:
    toy = Seeing()
    told: list[tuple[int, ...] | None] = []
    toy.adapt = lambda slots: told.append(slots if slots is None else tuple(slots))
    both = shown(medium(2, 1), medium(9, 4, kind="audio"), slot=1, limit=3)
    answers(engine_on(toy), shown(length=9, limit=3), both)
    assert {None, (1,), (0, 1)} == set(told)


def test_a_pass_with_drafts_is_told_the_slots_of_its_rows_too() -> None:
    toy, told = Seeing(), []
    toy.adapt = told.append
    drafter = DraftModel(Toy(), most=4, context=512)
    answers(engine_on(toy, drafter=drafter), sequence([1, 2, 3], limit=12))
    assert any(length > 1 for _, length in toy.passes[1:])
    assert len(told) == len(toy.passes)


@pytest.mark.parametrize("drafting", ["lookup", "model"])
def test_drafts_change_no_answer_about_media(drafting: str) -> None:
    toy = Seeing()
    drafter: Drafter = PromptLookup(4)
    if drafting == "model":  # one that sees only the placeholders
        drafter = DraftModel(Toy(), most=4, context=512)
    asked = [shown(medium(3, 1), limit=12), shown(medium(3, 2), medium(12, 3), limit=12)]
    found = answers(engine_on(toy, drafter=drafter), *asked)
    assert found == [expected(toy, each) for each in asked]


@pytest.mark.parametrize("options", [{"kv_cache": False}, {"border": 20}])
def test_prompts_that_are_computed_again_have_their_media_again(options: dict[str, Any]) -> None:
    toy = Seeing(rope_border=options.pop("border", None))
    asked = shown(medium(3, 1), limit=12)
    assert answers(engine_on(toy, most=0, **options), asked) == [expected(toy, asked)]
    assert len(toy.encoded) > 1


def test_encoded_media_are_given_up_before_running_rows_have_to_wait() -> None:
    prefix = PrefixCache(sequences=4, limit=1 << 20)
    reading = MediaReading(Seeing(), most_bytes=1 << 20)
    kept = Kept(prefix, reading)
    reading._known["picture", None] = mx.zeros((100, 8))
    assert (kept.nbytes, kept.limit) == (3200, 2 << 20)
    kept.limit = 5000
    assert prefix.limit == 1800
    kept.shrink(0)
    assert kept.nbytes == reading.nbytes == 0
