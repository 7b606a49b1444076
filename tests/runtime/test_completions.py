"""A streamed completion is the whole one in pieces; an awaited one can be given up."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import ChatCompletionRequest, CompletionRequest, Runner, Which
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.runtime.streamer import CompletionStreamer

TOOL = {"type": "function", "function": {"name": "f", "description": "Does a lot of things."}}


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Runner:
    return Runner(which=Which.Plain(model_id=str(tiny_llama)))


def request(**options: Any) -> CompletionRequest:
    options = {"max_tokens": 20, "temperature": 0.0, "prompt": "Hello there", **options}
    return CompletionRequest(model="default", **options)


def joined(stream: CompletionStreamer, choices: int) -> list[str]:
    texts = [""] * choices
    for chunk in stream:
        (choice,) = chunk.choices
        texts[choice.index] += choice.text
    return texts


def busy(runner: Runner) -> bool:
    return worker().call(lambda: runner._find(None)[0].engine.busy)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"echo_prompt": True, "suffix": " The end."},
        {"n_choices": 3, "best_of": None, "temperature": 2.0, "seed": 3},
        {"stop_seqs": ["e", "and"], "max_tokens": 60},
        {"grammar": "[a-z]{3} [a-z]{4}", "grammar_type": "regex"},
        {"max_tokens": 1, "n_choices": 2, "best_of": 2, "echo_prompt": True},
    ],
)
def test_pieces_make_the_whole(runner: Runner, options: dict[str, Any]) -> None:
    whole = runner.send_completion_request(request(**options))
    texts = joined(runner.stream_completion_request(request(**options)), len(whole.choices))
    assert texts == [choice.text for choice in whole.choices]


def test_the_last_piece_of_a_choice_says_why_and_the_last_of_all_has_the_usage(
    runner: Runner,
) -> None:
    chunks = list(runner.stream_completion_request(request(n_choices=2, best_of=None)))
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert [reason for reason in reasons if reason] == ["length", "length"]
    assert [chunk.usage is not None for chunk in chunks[-2:]] == [False, True]
    assert chunks[-1].usage.completion_tokens == 40
    assert {chunk.object for chunk in chunks} == {"text_completion"}


def test_the_best_of_several_cannot_be_streamed(runner: Runner) -> None:
    with pytest.raises(ValueError, match="best_of is 1 and n_choices 3"):
        runner.stream_completion_request(request(n_choices=3))


def test_an_awaited_completion_is_the_completion(runner: Runner) -> None:
    whole = runner.send_completion_request(request())
    awaited = asyncio.run(runner.complete(request()))
    assert awaited.choices[0].text == whole.choices[0].text


@pytest.mark.parametrize("way", ["drop", "close", "cancel"])
def test_a_completion_that_nobody_wants_frees_its_row(runner: Runner, way: str) -> None:
    if way == "cancel":
        asyncio.run(_canceled(runner))
    else:
        stream = runner.stream_completion_request(request(max_tokens=2000, ignore_eos=True))
        next(stream)
        if way == "close":
            stream.close()
        del stream
    until = time.monotonic() + 10
    while busy(runner):
        assert time.monotonic() < until
        time.sleep(0.01)


async def _canceled(runner: Runner) -> None:
    task = asyncio.create_task(runner.complete(request(max_tokens=2000, ignore_eos=True)))
    while not await asyncio.to_thread(busy, runner):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("options", [{}, {"tool_schemas": [TOOL]}, {"truncate_sequence": True}])
@pytest.mark.parametrize("text", ["Hi", "Once upon a time " * 20])
def test_a_prompt_is_as_long_as_the_usage_says(
    runner: Runner, options: dict[str, Any], text: str
) -> None:
    messages = [{"role": "user", "content": text}]
    chat = ChatCompletionRequest(model="default", messages=messages, max_tokens=1, **options)
    counted = runner.count_prompt_tokens(chat)
    assert counted == runner.send_chat_completion_request(chat).usage.prompt_tokens


def test_what_is_no_chat_is_not_counted(runner: Runner) -> None:
    with pytest.raises(ValueError, match="messages is empty"):
        runner.count_prompt_tokens(ChatCompletionRequest(model="default", messages=[]))
    with pytest.raises(TypeError, match="ChatCompletionRequest"):
        runner.count_prompt_tokens(request())
