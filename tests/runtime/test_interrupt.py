"""Ctrl-C while a program loads, asks or reads: memory and rows come back, the runner goes on."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mistralrs_mlx import ChatCompletionRequest, CompletionRequest, EmbeddingRequest, Runner, Which
from mistralrs_mlx.engine.worker import worker
from tests.runtime.asking import chat
from tests.tiny_checkpoint import write_tiny_llama

ENDLESS: dict[str, Any] = {"max_tokens": 1_000_000, "temperature": 0.0, "ignore_eos": True}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("hub") / "endless"
    model = write_tiny_llama(folder, max_position_embeddings=1_000_000)
    with Runner(Which.Plain(model_id=str(model)), progress=False) as runner:
        yield runner


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def soon() -> None:
    threading.Timer(0.3, press_ctrl_c).start()


def idle(seconds: float = 10) -> bool:
    """Whether the engines come to rest."""
    deadline = time.monotonic() + seconds
    while worker().call(lambda: any(engine.busy for engine in worker()._engines)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def request(**options: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest(model="default", messages="Tell me all.", **ENDLESS, **options)


def test_an_answer_that_is_interrupted_frees_its_row(runner: Runner) -> None:
    soon()
    with pytest.raises(KeyboardInterrupt):
        runner.send_chat_completion_request(request(n_choices=2))
    assert idle()
    assert chat(runner).usage.completion_tokens


def test_a_completion_that_is_interrupted_frees_its_row(runner: Runner) -> None:
    soon()
    with pytest.raises(KeyboardInterrupt):
        runner.send_completion_request(CompletionRequest(model="default", prompt="a", **ENDLESS))
    assert idle()
    assert chat(runner).usage.completion_tokens


def test_a_stream_that_is_interrupted_frees_its_row_though_somebody_holds_it(
    runner: Runner,
) -> None:
    stream = runner.send_chat_completion_request(request(stream=True))
    soon()
    with pytest.raises(KeyboardInterrupt):
        for _ in stream:
            pass
    assert idle()
    assert list(stream) == []


def test_an_interrupt_between_two_chunks_frees_the_row_of_a_stream_without_a_name(
    runner: Runner,
) -> None:
    def read() -> None:
        for _ in runner.send_chat_completion_request(request(stream=True)):
            press_ctrl_c()

    with pytest.raises(KeyboardInterrupt) as held:
        read()
    assert held.tb is not None  # a notebook keeps the last traceback, and its frames
    assert idle()


def test_vectors_that_are_interrupted_leave_the_runner_usable(runner: Runner) -> None:
    inputs = ["word " * 400] * 2000
    soon()
    with pytest.raises(KeyboardInterrupt):
        runner.send_embedding_request(EmbeddingRequest(input=inputs))
    assert chat(runner).usage.completion_tokens


def test_a_load_that_is_interrupted_leaves_nothing(tiny_llama: Path, runner: Runner) -> None:
    before = worker().call(mx.get_active_memory), worker().call(lambda: len(worker()._engines))

    def at_half(stage: str, done: int, total: int | None) -> None:
        if stage == "load" and done and total and not pressed:
            pressed.append(done)
            press_ctrl_c()
            time.sleep(0.2)  # until the other thread has seen it

    pressed: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        Runner(Which.Plain(model_id=str(tiny_llama)), progress=at_half)
    assert pressed
    after = worker().call(mx.get_active_memory), worker().call(lambda: len(worker()._engines))
    assert after == before
