"""The same answers under asyncio, with the event loop alive all the while."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from mistralrs_mlx import ChatCompletionRequest, Runner, Which
from mistralrs_mlx.engine import post
from mistralrs_mlx.engine.worker import worker


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Runner:
    return Runner(which=Which.Plain(model_id=str(tiny_llama)))


def request(**options: Any) -> ChatCompletionRequest:
    options = {"max_tokens": 20, "temperature": 0.0, "messages": "Hello", **options}
    return ChatCompletionRequest(model="default", **options)


def busy(runner: Runner) -> bool:
    return worker().call(lambda: runner._find(None)[0].engine.busy)


def running(runner: Runner) -> int:
    """How many rows decode."""
    return worker().call(lambda: len(runner._find(None)[0].engine._rows.running))


def test_an_awaited_answer_is_the_answer(runner: Runner) -> None:
    whole = runner.send_chat_completion_request(request())
    awaited = asyncio.run(runner.chat(request()))
    assert awaited.choices[0].message.content == whole.choices[0].message.content


def test_an_awaited_stream_is_read_with_async_for(runner: Runner) -> None:
    async def read() -> str:
        stream = await runner.chat(request(stream=True))
        return "".join([chunk.choices[0].delta.content async for chunk in stream])

    whole = runner.send_chat_completion_request(request())
    assert asyncio.run(read()) == whole.choices[0].message.content


def test_the_loop_goes_on_while_the_model_answers(runner: Runner) -> None:
    async def count() -> int:
        ticks, task = 0, asyncio.create_task(runner.chat(request(max_tokens=100, ignore_eos=True)))
        while not task.done():
            await asyncio.sleep(0)
            ticks += 1
        return ticks

    assert asyncio.run(count()) > 100


def test_many_answers_at_once_are_those_of_each_alone(runner: Runner) -> None:
    async def ask() -> list[str]:
        answers = await asyncio.gather(*(runner.chat(request(messages=f"{i}")) for i in range(6)))
        return [answer.choices[0].message.content for answer in answers]

    alone = [
        runner.send_chat_completion_request(request(messages=f"{i}")).choices[0].message.content
        for i in range(6)
    ]
    assert asyncio.run(ask()) == alone


@pytest.mark.parametrize("stream", [False, True])
def test_answers_that_wait_hold_no_thread(runner: Runner, stream: bool) -> None:
    async def read(number: int) -> None:
        asked = request(max_tokens=450, ignore_eos=True, stream=stream, messages=f"{number}")
        answer = await runner.chat(asked)
        if stream:
            async for _ in answer:
                pass

    async def rows() -> int:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        tasks = [asyncio.create_task(read(number)) for number in range(8)]
        most = 0
        while most < len(tasks) and not any(task.done() for task in tasks):
            most = max(most, await asyncio.to_thread(running, runner))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return most

    assert asyncio.run(rows()) == 8


def test_a_loop_is_woken_once_a_step_for_all_streams(runner: Runner) -> None:
    async def read() -> int:
        stream = await runner.chat(request(max_tokens=50, ignore_eos=True, stream=True))
        return len([chunk async for chunk in stream])

    async def wakes_and_chunks() -> tuple[int, int]:
        with mock.patch.object(post, "_wake", wraps=post._wake) as woken:
            chunks = await asyncio.gather(*(read() for _ in range(8)))
        return woken.call_count, sum(chunks)

    wakes, chunks = asyncio.run(wakes_and_chunks())
    assert chunks > 200
    assert wakes < chunks / 2  # some begin before others


def test_a_reader_leaves_others_their_turn_though_all_chunks_are_there(runner: Runner) -> None:
    async def turns_and_chunks() -> tuple[int, int]:
        stream = await runner.chat(request(max_tokens=40, ignore_eos=True, stream=True))
        while busy(runner):
            time.sleep(0.01)
        taken = [0]
        task = asyncio.create_task(count(taken))
        chunks = [chunk async for chunk in stream]
        task.cancel()
        return taken[0], len(chunks)

    async def count(taken: list[int]) -> None:
        while True:
            taken[0] += 1
            await asyncio.sleep(0)

    turns, chunks = asyncio.run(turns_and_chunks())
    assert turns >= chunks > 20


def test_a_canceled_task_cancels_its_answer(runner: Runner) -> None:
    async def give_up() -> None:
        long = request(max_tokens=100_000, ignore_eos=True)
        task = asyncio.create_task(runner.chat(long))
        while not busy(runner):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    for _ in range(50):
        if not busy(runner):
            return
    pytest.fail("the row still runs")


def test_models_can_be_added_and_asked_by_name(tiny_llama: Path) -> None:
    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which=which) as runner:
        assert runner.add_model(which, model_id="other", in_situ_quant="8") == "other"
        assert runner.list_models() == [str(tiny_llama), "other"]
        answer = runner.send_chat_completion_request(request(), model_id="other")
        assert answer.model == "other"
        with pytest.raises(ValueError, match="`other` is there already"):
            runner.add_model(which, model_id="other")
