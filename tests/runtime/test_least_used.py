"""Models that have gone unused longest leave for those that are asked and have no room."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import InsufficientMemory, ModelUnloaded, Runner
from mistralrs_mlx.engine.memory import Ledger, ledger
from mistralrs_mlx.engine.worker import worker
from tests.runtime.managed import ONE, TWO, WEIGHTS, ask, pair, plain, said
from tests.runtime.test_search import SEARCH, TEMPLATE, call, run
from tests.tiny_checkpoint import write_tiny_llama

LONG = {"max_tokens": 300, "ignore_eos": True}
SECONDS = 60.0


def unloaded(runner: Runner) -> list[str]:
    return runner.list_unloaded_models()


def held() -> int:
    return worker().call(lambda: sum(each.held for each in ledger().others(None)))  # type: ignore[arg-type]


def test_the_model_that_was_asked_longest_ago_leaves(tiny_llama: Path) -> None:
    with pair(tiny_llama, TWO) as runner:
        ask(runner, "b")
        ask(runner, "a")
        runner.add_model(plain(tiny_llama), "c")
        assert unloaded(runner) == ["b"]
        assert said(ask(runner, "b")) == said(ask(runner, "c"))
        assert unloaded(runner) == ["a"]


def test_an_answer_that_ended_late_counts_as_use(tiny_llama: Path) -> None:
    with pair(tiny_llama, "1500KiB", prefix_cache_n=0) as runner:
        stream = ask(runner, "a", stream=True, **LONG)
        ask(runner, "b", max_tokens=1)
        list(stream)
        runner.add_model(plain(tiny_llama), "c")
        assert unloaded(runner) == ["b"]


def test_what_would_not_fit_with_all_others_gone_is_refused_and_nobody_leaves(
    tiny_llama: Path, tmp_path: Path
) -> None:
    large = write_tiny_llama(tmp_path / "large", hidden_size=128, intermediate_size=512)
    with pair(tiny_llama, TWO) as runner:
        with pytest.raises(InsufficientMemory, match=r"the weights take 2\.2 MiB, and .* are left"):
            runner.add_model(plain(large), "large")
        assert runner.list_models_with_status() == [("a", "loaded"), ("b", "loaded")]
        assert said(ask(runner, "a")) == said(ask(runner, "b"))


def test_a_model_that_was_just_loaded_counts_as_used(tiny_llama: Path) -> None:
    with pair(tiny_llama, TWO) as runner:
        runner.add_model(plain(tiny_llama), "c")
        runner.add_model(plain(tiny_llama), "d")
        assert unloaded(runner) == ["a", "b"]


def test_a_model_that_has_room_for_its_weights_gets_room_to_answer(tiny_llama: Path) -> None:
    with pair(tiny_llama, "1000KiB") as runner:  # less than a row is left beside two models
        assert unloaded(runner) == ["a"]
        assert said(ask(runner, "b")) == said(ask(runner, "a"))


def test_more_than_the_device_has_makes_others_leave(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = int((held() + 2.4 * WEIGHTS) / 0.9)
    monkeypatch.setattr(Ledger, "capacity", property(lambda _: device))
    with pair(tiny_llama) as runner:
        runner.add_model(plain(tiny_llama), "c")
        assert unloaded(runner) == ["a"]
        assert said(ask(runner, "a")) == said(ask(runner, "c"))


def test_a_model_in_use_is_not_unloaded_and_the_other_waits(tiny_llama: Path) -> None:
    with pair(tiny_llama, ONE) as runner, ThreadPoolExecutor(1) as pool:
        whole = said(ask(runner, "a", **LONG))
        stream = ask(runner, "a", stream=True, **LONG)
        chunks = [next(stream)]
        other = pool.submit(ask, runner, "b")
        assert runner.is_model_loaded("a")
        chunks += list(stream)
        assert chunks[-1].usage.completion_tokens == 300
        assert said(chunks) == whole
        assert said(other.result(SECONDS)) == said(ask(runner, "a"))


def test_threads_that_ask_models_which_exclude_each_other_are_all_answered(
    tiny_llama: Path,
) -> None:
    with pair(tiny_llama, ONE) as runner, ThreadPoolExecutor(8) as pool:
        expected = said(ask(runner, "a"))
        asked = [pool.submit(ask, runner, "ab"[i % 2]) for i in range(24)]
        assert {said(each.result(SECONDS)) for each in asked} == {expected}
        assert len(unloaded(runner)) == 1


def test_who_waits_for_room_goes_before_those_who_come_later(tiny_llama: Path) -> None:
    with pair(tiny_llama, ONE) as runner, ThreadPoolExecutor(8) as pool:
        ended = threading.Event()

        def keep_asking() -> None:
            while not ended.is_set():
                ask(runner, "a", max_tokens=50, ignore_eos=True)

        busy = [pool.submit(keep_asking) for _ in range(3)]
        try:
            assert said(pool.submit(ask, runner, "b").result(SECONDS))
        finally:
            ended.set()
        assert all(each.result(SECONDS) is None for each in busy)


def test_a_stream_that_nobody_reads_holds_nobody_up(tiny_llama: Path) -> None:
    with pair(tiny_llama, ONE) as runner:
        stream = ask(runner, "a", stream=True)
        expected = said(ask(runner, "b"))
        assert unloaded(runner) == ["a"]
        assert said(list(stream)) == expected


def test_a_tool_may_ask_a_model_for_which_its_own_must_leave(tiny_llama: Path) -> None:
    def found(query: str) -> list[dict[str, str]]:
        heard.append((said(ask(runner, "b")), unloaded(runner)))
        return [{"title": "t", "description": "", "url": "https://a.org/", "content": "words"}]

    heard: list[tuple[str, list[str]]] = []
    with Runner(
        plain(tiny_llama), memory_goal=ONE, chat_template=TEMPLATE, search_callback=found
    ) as runner:
        runner.add_model(plain(tiny_llama), "b")
        assert run(runner, call(SEARCH, query="x"))["output"]
        assert heard == [(said(ask(runner, "b")), [str(tiny_llama)])]


def test_weights_wait_for_answers_whose_caches_are_in_the_way(tiny_llama: Path) -> None:
    with Runner(plain(tiny_llama), memory_goal="1700KiB", prefix_cache_n=0) as runner:
        stream = ask(runner, stream=True, n_choices=4, **LONG)
        next(stream)
        runner.add_model(plain(tiny_llama), "b")
        assert held_by(runner, None) == held_by(runner, "b") == WEIGHTS
        assert list(stream)[-1].usage.completion_tokens == 4 * 300


def held_by(runner: Runner, model_id: str | None) -> int:
    details = runner.model_details(model_id)
    return details.weights_bytes + details.caches_bytes


def test_the_budget_is_kept_while_models_take_turns(tiny_llama: Path) -> None:
    most: list[int] = []

    def watch(_: Any) -> None:
        while not ended.is_set():
            most.append(held() - before)
            time.sleep(0.005)

    before, ended = held(), threading.Event()
    with pair(tiny_llama, ONE) as runner, ThreadPoolExecutor(5) as pool:
        watching = pool.submit(watch, None)
        asked = [pool.submit(ask, runner, "ab"[i % 2], n_choices=2) for i in range(12)]
        wait(asked, timeout=SECONDS)
        ended.set()
        assert all(each.result(0) for each in asked)
        watching.result(SECONDS)
    assert WEIGHTS <= max(most) <= 800 * 2**10


def test_a_load_that_is_interrupted_while_it_waits_leaves_all_as_it_was(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pair(tiny_llama, ONE) as runner:
        host = runner._roster.host("b")
        with monkeypatch.context() as patch:
            patch.setattr(
                type(host), "await_rest", lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            with pytest.raises(KeyboardInterrupt):
                ask(runner, "a")
        assert unloaded(runner) == ["a"]
        assert said(ask(runner, "b")) == said(ask(runner, "a"))


def mixed(runner: Runner, seed: int) -> list[str]:
    """All that can be done to models, in any order; the errors that are no clear ones."""
    draw, wrong = random.Random(seed), []
    for _ in range(12):
        name = draw.choice("ab")
        deed = draw.choice(
            [
                lambda: ask(runner, name, max_tokens=draw.randrange(1, 40)),  # noqa: B023
                lambda: next(ask(runner, name, stream=True)),  # noqa: B023
                lambda: runner.unload_model(name),  # noqa: B023
                lambda: runner.send_re_isq(draw.choice("48"), name),  # noqa: B023
                lambda: runner.model_details(name),  # noqa: B023
            ]
        )
        try:
            deed()
        except ModelUnloaded:
            pass
        except Exception as error:
            wrong.append(repr(error))
    return wrong


def test_after_mixed_use_from_many_threads_nothing_is_held_or_waited_for(tiny_llama: Path) -> None:
    with Runner(plain(tiny_llama), in_situ_quant="4", memory_goal="300KiB") as runner:
        for name in "ab":
            runner.add_model(plain(tiny_llama), name, in_situ_quant="4")
        with ThreadPoolExecutor(6) as pool:
            done = [pool.submit(mixed, runner, seed) for seed in range(6)]
            assert [each.result(SECONDS) for each in done] == [[]] * 6
        for entry in runner._roster._all():
            assert (entry._users, entry._pauses, entry.loading) == (0, 0, False)
        assert all(said(ask(runner, name)) for name in "ab")
