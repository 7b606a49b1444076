"""A real Jupyter kernel: bars below cells, answers as answers, the stop button, memory."""

import json
import os
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.manager import KernelManager, start_new_kernel

from tests.tidy.source import ROOT
from tests.tiny_checkpoint import write_tiny_llama

BEGIN = """
import json
import mlx.core as mx
import mistralrs_mlx.runtime.bars as bars
from mistralrs_mlx import ChatCompletionRequest, Runner, Which
bars.PATIENCE = 0.0
which = Which.Plain({model!r})
def request(**options):
    options = {{"temperature": 0, "max_tokens": 4, **options}}
    return ChatCompletionRequest(model="default", messages="Hello", **options)
def ask(**options):
    return runner.send_chat_completion_request(request(**options))
def busy():
    from mistralrs_mlx.engine.worker import worker
    return worker().call(lambda: any(each.busy for each in worker()._engines))
"""
MAKE = "runner = Runner(which)\nok = ask()"
LONG = "max_tokens=1_000_000, ignore_eos=True"
ENDLESS = [
    f"for _ in ask(stream=True, {LONG}): print('x', flush=True)",
    f"with ask(stream=True, {LONG}) as stream:\n for _ in stream: print('x', flush=True)",
    f"print('x', flush=True)\nask({LONG})",
    f"print('x', flush=True)\nawait runner.chat(request({LONG}))",
    f"async for _ in await runner.chat(request(stream=True, {LONG})): print('x', flush=True)",
]
HELD = "mx.get_active_memory()"
WEIGHTS = 400_000  # bytes of the tiny model, at least


class Kernel:
    """Runs cells one by one."""

    def __init__(self, manager: KernelManager, client: Any) -> None:
        self.manager, self.client = manager, client

    def run(self, code: str, *, stop_at: str = "") -> list[dict[str, Any]]:
        """The contents that a cell shows; with `stop_at` it is stopped when it shows that."""
        asked = self.client.execute(code)
        shown: list[dict[str, Any]] = []
        last = time.monotonic() + 60
        while time.monotonic() < last:
            try:
                message = self.client.get_iopub_msg(timeout=5)
            except queue.Empty:
                continue
            content = message["content"]
            if message["parent_header"].get("msg_id") != asked:
                continue
            if content.get("execution_state") == "idle":
                return shown
            if message["msg_type"] not in ("status", "execute_input"):
                shown.append(content)
            if stop_at and content.get("text", "").startswith(stop_at):
                self.manager.interrupt_kernel()
                stop_at = ""
        raise AssertionError(f"the cell did not end: {code}")

    def value(self, code: str) -> Any:
        """What a cell's last line is worth."""
        printed = self.run(f"print(json.dumps({code}))")
        return json.loads("".join(each["text"] for each in printed))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    model = write_tiny_llama(folder / "model", max_position_embeddings=1_000_000)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder)}
    manager, client = start_new_kernel(env=environment)
    kernel = Kernel(manager, client)
    assert kernel.run(BEGIN.format(model=str(model))) == []
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_load_shows_a_bar_and_leaves_one_line(kernel: Kernel) -> None:
    first, *updates = [each["data"] for each in kernel.run(MAKE)]
    assert "<progress" in first["text/html"]
    assert updates[-1].keys() == {"text/plain"}
    assert updates[-1]["text/plain"].startswith("load: ")


def test_an_answer_shows_as_an_answer(kernel: Kernel) -> None:
    data = kernel.run("ask()")[-1]["data"]
    assert "4 tokens" in data["text/html"]
    assert data["text/plain"].startswith("ChatCompletionResponse {")


def test_making_the_runner_again_frees_the_one_before(kernel: Kernel) -> None:
    before = kernel.value(HELD)
    for _ in range(2):
        kernel.run(MAKE)
    assert kernel.value(HELD) < before + WEIGHTS / 2


@pytest.mark.parametrize("code", ENDLESS, ids=["stream", "with", "whole", "await", "async for"])
def test_the_stop_button_ends_an_answer_and_not_the_runner(code: str, kernel: Kernel) -> None:
    assert kernel.run(code, stop_at="x")[-1]["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert kernel.value("ask().usage.completion_tokens") == 4
    assert kernel.value("busy()") is False


def test_close_frees_what_outputs_and_a_traceback_hold(kernel: Kernel) -> None:
    kernel.run("runner")
    assert kernel.run("ask(max_tokens=-1)")[-1]["ename"]
    assert kernel.run("ask(grammar='(', grammar_type='regex')")[-1]["ename"]
    kernel.run("runner.close()")
    assert kernel.value(HELD) < WEIGHTS / 2
