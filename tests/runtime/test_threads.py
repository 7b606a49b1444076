"""Who may use a `Runner` from where: any thread, any loop, and no forked child."""

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import ChatCompletionRequest, Runner, Which
from tests.runtime.asking import chat, content


def run(script: str, folder: Path) -> str:
    """The output of a script in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PREAMBLE = """
import os, sys, threading
from mistralrs_mlx import ChatCompletionRequest, Runner, Which
def load(): return Runner(which=Which.Plain(model_id=sys.argv[1]))
def request(**options):
    options = {"messages": "Hi", "max_tokens": 4, "ignore_eos": True, **options}
    return ChatCompletionRequest(model="default", **options)
def ask(runner, **options): return runner.send_chat_completion_request(request(**options))
def os_threads(): return len(os.listdir("/proc/self/task"))
"""

FORK = """
runner = load()
ask(runner)
stream = ask(runner, stream=True, max_tokens=400)
next(stream)
child = os.fork()
if child == 0:
    for attempt in (lambda: ask(runner), load, lambda: list(stream)):
        try:
            attempt()
        except ValueError as error:
            print("spawn" in str(error), flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print(len(list(stream)) > 1)
"""

FORK_FIRST = """
child = os.fork()
answered = len(ask(load()).choices)
if child:
    assert os.waitpid(child, 0)[1] == 0
print(answered, flush=True)
"""

MANY = """
runner = load()
ask(runner)
before = os_threads()
for i in range(50):
    thread = threading.Thread(target=ask, args=(runner,))
    thread.start()
    thread.join()
for _ in range(10):
    with load() as other:
        ask(other)
print(os_threads() - before)
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")


@pytest.fixture(scope="module")
def elsewhere(tiny_llama: Path) -> Runner:
    """A runner that was loaded in a thread which has ended."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(Runner, which=Which.Plain(model_id=str(tiny_llama))).result()


def test_a_runner_answers_threads_other_than_the_one_that_loaded_it(elsewhere: Runner) -> None:
    here = content(chat(elsewhere))
    found: list[str] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(content(chat(elsewhere))))
        thread.start()
        thread.join()
    assert found == [here, here]


def test_noise_does_not_depend_on_the_thread(elsewhere: Runner) -> None:
    options: dict[str, Any] = {"temperature": 1.0, "seed": 7, "max_tokens": 20}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: content(chat(elsewhere, **options)), range(8)))
    assert set(found) == {content(chat(elsewhere, **options))}


def test_a_blocking_call_works_inside_a_running_loop(elsewhere: Runner) -> None:
    async def cell() -> tuple[str, str]:  # as a notebook runs one
        request = ChatCompletionRequest(
            model="default", messages="Hello there", max_tokens=8, temperature=0.0
        )
        awaited = await elsewhere.chat(request)
        return content(chat(elsewhere)), content(awaited)

    blocking, awaited = asyncio.run(cell())
    assert blocking == awaited == content(chat(elsewhere))


def test_a_stream_may_be_begun_in_one_thread_and_read_in_another(elsewhere: Runner) -> None:
    stream = chat(elsewhere, stream=True)
    with ThreadPoolExecutor(1) as pool:
        chunks = pool.submit(list, stream).result()
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == content(chat(elsewhere))


@needs_proc
def test_requests_and_loads_leave_no_threads_behind(tiny_llama: Path) -> None:
    assert int(run(MANY, tiny_llama)) <= 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_to_spawn_and_its_parent_runs_on(tiny_llama: Path) -> None:
    assert run(FORK, tiny_llama) == "True\n" * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_may_fork_before_it_loads(tiny_llama: Path) -> None:
    assert run(FORK_FIRST, tiny_llama) == "1\n1\n"
