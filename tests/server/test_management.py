"""Models over HTTP: what has no room, what is unloaded, what is told of each."""

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import mlx.core as mx
import pytest

from mistralrs_mlx import Runner
from mistralrs_mlx.engine.worker import worker
from tests.runtime.managed import ONE, WEIGHTS, pair, plain
from tests.tiny_checkpoint import write_tiny_llama

from .asking import CHAT, chat, chunks
from .conftest import live

MESSAGES = "/v1/messages"
LONG = {"max_tokens": 400, "ignore_eos": True}
NO_ROOM = {"max_tokens": 8, "n": 16}  # rows of 128 KiB each


@pytest.fixture
def two(tiny_llama: Path) -> Iterator[Runner]:
    """Models `a` and `b`, of which one fits."""
    with pair(tiny_llama, ONE, prefix_cache_n=0) as runner:
        yield runner


@pytest.fixture
def asking(two: Runner) -> Iterator[httpx.Client]:
    with live(two) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def active() -> int:
    gc.collect()
    return worker().call(mx.get_active_memory)


def error(answer: httpx.Response) -> tuple[int, str, str]:
    said = answer.json()["error"]
    return answer.status_code, said["type"], said["code"]


def loaded(client: httpx.Client) -> list[str]:
    cards = client.get("/v1/models").json()["data"]
    return [card["id"] for card in cards[1:] if card["status"] == "loaded"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_has_no_room_is_refused_by_507_and_others_go_on(
    asking: httpx.Client, stream: bool
) -> None:
    before = [chat(asking).json()["choices"] for _ in range(2)][1]  # the first makes constants
    held = active()
    answer = chat(asking, stream=stream, **NO_ROOM)
    assert error(answer) == (507, "server_error", "insufficient_storage")
    assert "16 rows of" in answer.json()["error"]["message"]
    assert chat(asking).json()["choices"] == before
    assert abs(active() - held) <= held / 100


def test_requests_that_run_are_not_touched_by_one_that_has_no_room(asking: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(chat, asking, messages=f"{i}", **LONG) for i in range(2)]
        refused = [pool.submit(chat, asking, **NO_ROOM) for _ in range(3)]
        assert {each.result().status_code for each in refused} == {507}
        assert {each.result().json()["usage"]["completion_tokens"] for each in running} == {400}


def test_anthropics_clients_are_told_of_no_room_in_their_form(tiny_llama: Path) -> None:
    runner = Runner(plain(tiny_llama), memory_goal="520KiB", prefix_cache_n=0)
    with runner, live(runner) as url:
        asked = {"max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
        answer = httpx.post(url + MESSAGES, json=asked, timeout=60)
    assert answer.status_code == 507
    assert (answer.json()["type"], answer.json()["error"]["type"]) == ("error", "api_error")


def test_models_that_exclude_each_other_answer_in_turns(asking: httpx.Client) -> None:
    assert loaded(asking) == ["b"]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda i: chat(asking, model="ab"[i % 2]), range(12)))
    assert {each.status_code for each in answers} == {200}
    assert {each.json()["model"] for each in answers} == {"a", "b"}
    assert len({each.json()["choices"][0]["message"]["content"] for each in answers}) == 1
    assert len(loaded(asking)) == 1


def test_weights_without_room_are_refused_by_507(tiny_llama: Path, tmp_path: Path) -> None:
    with Runner(plain(tiny_llama)) as runner, live(runner) as url:
        name = runner.add_model(plain(write_tiny_llama(tmp_path / "other")), "other")
        runner.unload_model(name)
        limited = runner._roster.entry(name)
        limited.opening = type(limited.opening)(**{**vars(limited.opening), "memory": small()})
        for path, body in (("reload", {"model_id": name}), ("status", {"model_id": name})):
            answer = httpx.post(f"{url}/v1/models/{path}", json=body, timeout=60)
            assert answer.status_code == (507 if path == "reload" else 200)
        assert answer.json()["status"] == "unloaded"
        assert httpx.post(url + CHAT, json={"messages": "Hi", "max_tokens": 4}).status_code == 200


def small() -> Any:
    from mistralrs_mlx.engine.goal import Goal

    return Goal(total=100_000)


def test_a_model_that_is_unloaded_while_it_answers_is_worth_another_try(
    asking: httpx.Client, two: Runner
) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(chat, asking, model="b", **LONG)
        while not two.model_details("b").caches_bytes:
            assert not answer.done()
        asking.post("/v1/models/unload", json={"model_id": "b"})
        refused = answer.result()
    assert error(refused) == (503, "server_error", "model_unloaded")
    assert int(refused.headers["Retry-After"]) > 0
    assert chat(asking, model="b").status_code == 200


def test_a_stream_that_loses_its_model_ends_with_the_error(
    asking: httpx.Client, two: Runner
) -> None:
    body = {"messages": "Hello", "model": "b", "stream": True, **LONG}
    with asking.stream("POST", CHAT, json=body) as response:
        lines = response.iter_lines()
        next(lines)
        two.unload_model("b")
        rest = [line for line in lines if line]
    assert response.status_code == 200
    assert '"code":"model_unloaded"' in rest[-2]
    assert rest[-1] == "data: [DONE]"


def test_a_model_that_cannot_be_loaded_any_more_is_our_fault(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "own")
    with Runner(plain(folder)) as runner, live(runner) as url:
        runner.unload_model("default")
        (folder / "model.safetensors").unlink()
        answer = httpx.post(url + CHAT, json={"messages": "Hi"}, timeout=60)
    assert answer.status_code == 500
    assert "safetensors" in answer.json()["error"]["message"]


def test_status_and_cards_carry_the_details(asking: httpx.Client) -> None:
    told = asking.post("/v1/models/status", json={"model_id": "b"}).json()
    facts = {
        "status": "loaded", "kind": "text", "architecture": "LlamaForCausalLM",
        "source": "mistralrs_mlx", "dtype": "float32", "quantization": "none",
        "context_length": 512, "weights_bytes": WEIGHTS, "caches_bytes": 0, "kept_bytes": 0,
    }  # fmt: skip
    assert told == facts | {"model_id": "b"}
    card = asking.get("/v1/models/b").json()
    assert card == facts | {"id": "b", "object": "model", "owned_by": "local"} | {
        "created": card["created"]
    }
    unloaded = asking.post("/v1/models/status", json={"model_id": "a"}).json()
    assert (unloaded["status"], unloaded["weights_bytes"]) == ("unloaded", 0)


def test_models_are_listed_while_one_is_loaded(tiny_llama: Path) -> None:
    def watch(stage: str, *_: object) -> None:
        if stage == "load" and ready.is_set():
            loading.set()
            assert listed.wait(20)

    ready, loading, listed = (threading.Event() for _ in range(3))
    runner = Runner(plain(tiny_llama), progress=watch)
    with runner, live(runner) as url, ThreadPoolExecutor(1) as pool:
        runner.unload_model("default")
        ready.set()
        answer = pool.submit(httpx.post, url + CHAT, json={"messages": "Hi", "max_tokens": 4})
        assert loading.wait(20)
        cards = httpx.get(f"{url}/v1/models", timeout=10).json()["data"]
        listed.set()
        assert cards[0]["status"] == "reloading"
        assert answer.result().status_code == 200


def test_a_model_is_quantized_anew(tiny_llama: Path) -> None:
    with Runner(plain(tiny_llama), in_situ_quant="4") as runner, live(runner) as url:
        client = httpx.Client(base_url=url, timeout=60)
        answer = client.post("/re_isq", json={"ggml_type": "Q8_0"})
        assert answer.status_code == 200
        assert "of 8 bits" in answer.json()["quantization"]
        wrong = client.post("/re_isq", json={"ggml_type": "Q4_K_M"})
        assert (wrong.status_code, "unknown" in wrong.text) == (400, True)
        assert len(chunks(client)) > 1
        client.close()
