"""`Runner` and its memory budget."""

import gc
import threading
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mistralrs_mlx import Runner, Which
from mistralrs_mlx.engine.memory import Ledger, ledger
from mistralrs_mlx.engine.worker import worker
from tests.runtime.asking import chat, content

WEIGHTS = 448_768  # bytes of the tiny model
ROW = 131_072  # of 256 tokens
CRUMBS = 20_000  # bytes of small arrays that passes leave behind for a while


def runner(folder: Path, **options: Any) -> Runner:
    return Runner(which=Which.Plain(model_id=str(folder)), **options)


def held() -> int:
    return worker().call(lambda: sum(each.held for each in ledger().others(None)))  # type: ignore[arg-type]


def test_weights_that_do_not_fit_are_refused_with_numbers(tiny_llama: Path) -> None:
    with pytest.raises(ValueError, match=r"weights take 438\.2 KiB, and 93\.8 KiB are left for"):
        runner(tiny_llama, memory_goal="100KiB")


def test_a_request_that_does_not_fit_is_refused_and_others_are_answered(tiny_llama: Path) -> None:
    with runner(tiny_llama, pa_gpu_mem=1, prefix_cache_n=0) as limited:
        free = content(chat(limited))
        with pytest.raises(ValueError, match=r"16 rows of \d+ tokens need 2\.0 MiB of memory, and"):
            chat(limited, n_choices=16)
        assert content(chat(limited)) == free


def test_tokens_bound_a_prompt(tiny_llama: Path) -> None:
    with runner(tiny_llama, memory_goal="100tokens") as small:
        assert content(chat(small, "Hi"))
        with pytest.raises(ValueError, match=r"memory_goal 100 tokens"):
            chat(small, "Hi " * 80, max_tokens=20)


@pytest.mark.parametrize(
    "given",
    [{"memory_goal": "lots"}, {"memory_goal": 2.0}, {"pa_gpu_mem": 0}, {"pa_gpu_mem_usage": 1.1}],
)
def test_a_budget_that_cannot_be_right_is_refused_at_once(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        runner(Path("nowhere"), **given)


def test_models_of_one_runner_share_its_amount(tiny_llama: Path) -> None:
    with runner(tiny_llama, memory_goal="800KiB") as shared:
        shared.add_model(Which.Plain(model_id=str(tiny_llama)), "second")
        assert shared.list_unloaded_models() == [str(tiny_llama)]
        assert content(chat(shared))
        assert shared.list_unloaded_models() == ["second"]


def test_an_unloaded_model_holds_nothing(tiny_llama: Path) -> None:
    before = held()
    with runner(tiny_llama) as one:
        assert held() == before + WEIGHTS
        one.unload_model(str(tiny_llama))
        assert held() == before
        assert content(chat(one))
        assert held() >= before + WEIGHTS
    assert held() == before


def test_the_weights_of_an_unloaded_model_are_gone(tiny_llama: Path) -> None:
    gc.collect()
    before = worker().call(mx.get_active_memory)
    with runner(tiny_llama) as one:
        assert content(chat(one))
        one.unload_model(str(tiny_llama))
        assert worker().call(mx.get_active_memory) < before + WEIGHTS / 100


def test_an_error_keeps_no_model_alive(tiny_llama: Path) -> None:
    gc.collect()
    before = worker().call(mx.get_active_memory)
    refused = pytest.raises(ValueError, match="memory_goal")
    with runner(tiny_llama, memory_goal="100tokens") as small, refused:
        chat(small, "Hi " * 80, max_tokens=20)
    del refused
    assert worker().call(mx.get_active_memory) < before + WEIGHTS / 100


def test_a_load_that_fails_holds_nothing(tiny_llama: Path) -> None:
    before = held()
    for _ in range(3):
        with pytest.raises(ValueError, match="memory_goal"):
            runner(tiny_llama, memory_goal="100KiB")
    assert held() == before


def test_after_200_mixed_and_aborted_requests_all_memory_is_back(tiny_llama: Path) -> None:
    def ask(place: int) -> None:
        for i in range(10):
            stream = chat(one, f"{place} {i} " * (i + 1), stream=True, n_choices=1 + i % 2)
            for _ in range(i % 4):
                next(stream)
            if i % 3:
                stream.close()
            else:
                list(stream)

    def crowd() -> int:
        threads = [threading.Thread(target=ask, args=(place,)) for place in range(20)]
        [each.start() for each in threads]
        [each.join() for each in threads]
        chat(one)
        gc.collect()  # of what earlier tests have left, too
        return worker().call(mx.get_active_memory)

    with runner(tiny_llama, max_seqs=4, prefix_cache_n=0) as one:
        before = crowd()
        assert abs(crowd() - before) <= CRUMBS


def test_there_is_one_ledger_for_all_runners() -> None:
    assert isinstance(ledger(), Ledger)
    assert ledger() is ledger()
