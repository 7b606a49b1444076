"""Tools through `Runner`: calls are read from text, forced by grammar, run and answered.

A regex grammar makes a model with random weights say exactly what a test needs.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import ChatCompletionRequest, Runner, ToolChoice, Which
from mistralrs_mlx.runtime.host import Host

TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}<tool_call>{{ c['function'] | tojson }}</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
THINKING = TEMPLATE.replace(
    "<|im_start|>assistant\n", "<|im_start|>assistant\n{# <think></think> #}"
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["place"],
        },
    },
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"place": "Oslo"}}\n</tool_call>'


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Iterator[Runner]:
    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which=which, chat_template=TEMPLATE) as runner:
        yield runner


def says(text: str, **options: Any) -> ChatCompletionRequest:
    """A request whose answer can only be this text."""
    options = {"messages": "Hello", "max_tokens": 200, "temperature": 0.0, **options}
    return ChatCompletionRequest(
        model="default", grammar=re.escape(text), grammar_type="regex", **options
    )


def answer(runner: Runner, text: str, **options: Any) -> Any:
    return runner.send_chat_completion_request(says(text, **options)).choices[0]


def test_a_call_is_told_apart_from_the_text_before_it(runner: Runner) -> None:
    choice = answer(runner, "Let me look." + CALL, tool_schemas=[WEATHER])
    call = choice.message.tool_calls[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Let me look.")
    assert (call.index, call.function.name) == (0, "get_weather")
    assert call.function.arguments == '{"place":"Oslo"}'
    assert re.fullmatch(r"call-[0-9a-f-]{36}", call.id)


def test_a_lone_call_has_no_content(runner: Runner) -> None:
    assert answer(runner, CALL, tool_schemas=[json.dumps(WEATHER)]).message.content is None


def test_what_would_follow_complete_calls_is_not_generated(runner: Runner) -> None:
    babble = says(CALL + " And so on" * 40, tool_schemas=[WEATHER], max_tokens=400)
    whole, plain = map(
        runner.send_chat_completion_request, (babble, says(CALL, tool_schemas=[WEATHER]))
    )
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.choices[0].message.tool_calls[0].function.name == "get_weather"
    assert whole.usage.completion_tokens < plain.usage.completion_tokens + 20


@pytest.mark.parametrize("choice", [ToolChoice.NoTools, "none"])
def test_without_tools_a_call_is_text(runner: Runner, choice: object) -> None:
    said = answer(runner, CALL, tool_schemas=[WEATHER], tool_choice=choice)
    assert (said.message.content, said.message.tool_calls) == (CALL, None)
    assert answer(runner, CALL).message.content == CALL


def test_a_streamed_call_comes_in_one_piece_and_shows_no_mark(runner: Runner) -> None:
    request = says("I look." + CALL + CALL, tool_schemas=[WEATHER], stream=True)
    *chunks, last = runner.send_chat_completion_request(request)
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "I look."
    assert [call.function.name for call in last.choices[0].delta.tool_calls] == ["get_weather"] * 2
    assert (last.choices[0].finish_reason, last.usage is not None) == ("tool_calls", True)


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_model_can_be_made_to_call(runner: Runner, choice: object) -> None:
    request = ChatCompletionRequest(
        model="default",
        messages="Hello",
        tool_schemas=[dict(WEATHER, function={**WEATHER["function"], "strict": True})],
        tool_choice=choice,
        max_tokens=400,
        temperature=0.7,
        seed=3,
        logit_bias=dict.fromkeys(runner.tokenize_text('"}', False), 8.0),
    )
    chosen = runner.send_chat_completion_request(request).choices[0]
    assert chosen.finish_reason in ("tool_calls", "length")
    if chosen.finish_reason == "tool_calls":
        arguments = json.loads(chosen.message.tool_calls[0].function.arguments)
        assert isinstance(arguments["place"], str)


def test_choices_that_cannot_be_are_refused(runner: Runner) -> None:
    with pytest.raises(ValueError, match="no tool_schemas"):
        answer(runner, "x", tool_choice="required")
    other = {"type": "function", "function": {"name": "other"}}
    with pytest.raises(ValueError, match="'other', which is not in tool_schemas"):
        answer(runner, "x", tool_schemas=[WEATHER], tool_choice=other)


class Desk:
    """Answers calls and remembers them; the first answer is a call, the second a text."""

    def __init__(self, result: Any = "It rains.") -> None:
        self.result = result
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((name, arguments))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def agent(tiny_llama: Path, desk: Desk) -> Iterator[Runner]:
    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which, chat_template=TEMPLATE, tool_callbacks={"get_weather": desk}) as runner:
        yield runner


def test_a_call_with_a_callback_is_run_and_carried_on(agent: Runner, desk: Desk) -> None:
    whole = agent.send_chat_completion_request(says(CALL, max_tool_rounds=1))
    assert desk.calls == [("get_weather", {"place": "Oslo"})]
    record = whole.agentic_tool_calls[0]
    assert (record.round, record.name, record.result_content) == (0, "get_weather", "It rains.")
    # The grammar makes it call again, and the rounds are over: the call is for the caller.
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.session_id is not None


def test_an_event_loop_goes_on_while_a_tool_takes_its_time(
    tiny_llama: Path,
) -> None:
    ticks = 0

    def slow(_: str, __: dict[str, Any]) -> str:
        before, deadline = ticks, time.monotonic() + 10
        while ticks < before + 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        return "free" if ticks >= before + 5 else "held"

    async def ask(runner: Runner) -> str:
        nonlocal ticks
        task = asyncio.create_task(runner.chat(says(CALL, max_tool_rounds=1)))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.01)
        return task.result().agentic_tool_calls[0].result_content

    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which, chat_template=TEMPLATE, tool_callbacks={"get_weather": slow}) as runner:
        assert asyncio.run(ask(runner)) == "free"


def test_all_parallel_calls_are_run(agent: Runner, desk: Desk) -> None:
    agent.send_chat_completion_request(says(CALL + CALL, max_tool_rounds=1))
    assert len(desk.calls) == 2


def test_no_rounds_means_that_the_caller_runs_tools(agent: Runner, desk: Desk) -> None:
    whole = agent.send_chat_completion_request(says(CALL, max_tool_rounds=0))
    assert (desk.calls, whole.choices[0].finish_reason) == ([], "tool_calls")
    assert whole.agentic_tool_calls is None


@pytest.mark.parametrize(
    ("result", "error"),
    [(ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"), (5, "int")],
)
def test_a_failing_tool_is_a_result_that_says_so(
    agent: Runner, desk: Desk, result: object, error: str
) -> None:
    desk.result = result
    whole = agent.send_chat_completion_request(says(CALL, max_tool_rounds=1))
    content = whole.agentic_tool_calls[0].result_content
    told = json.loads(content)
    assert content == json.dumps(told, separators=(",", ":"))  # so many tokens as in mistral.rs
    assert (told["tool"], told["status"]) == ("get_weather", "failed")
    assert error in told["error"]


def test_an_answer_that_is_left_while_a_tool_runs_asks_the_model_no_more(
    agent: Runner, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, start = [], Host.start
    monkeypatch.setattr(Host, "start", lambda *args: (started.append(1), start(*args))[1])
    stream = agent.send_chat_completion_request(says(CALL, stream=True))
    monkeypatch.setattr(Desk, "__call__", lambda *_: (stream.close(), "It rains.")[1])
    assert list(stream) == []
    assert started == [1]


def test_usage_adds_up_over_rounds(agent: Runner) -> None:
    one = agent.send_chat_completion_request(says(CALL, max_tool_rounds=0)).usage
    two = agent.send_chat_completion_request(says(CALL, max_tool_rounds=1)).usage
    assert two.completion_tokens == 2 * one.completion_tokens
    assert two.prompt_tokens > 2 * one.prompt_tokens


def test_a_stream_shows_what_every_round_says(agent: Runner, desk: Desk) -> None:
    request = says("Wait. " + CALL, max_tool_rounds=1, stream=True)
    chunks = list(agent.send_chat_completion_request(request))
    text = "".join(chunk.choices[0].delta.content for chunk in chunks)
    assert text.split() == ["Wait.", "Wait."]
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [
        "tool_calls"
    ]
    assert len(desk.calls) == 1


def test_the_results_are_in_the_next_prompt(agent: Runner) -> None:
    whole = agent.send_chat_completion_request(
        says(
            "Fine.",
            messages=[
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"a": 1}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "1", "content": "rain"},
            ],
        )
    )
    assert whole.choices[0].message.content == "Fine."


def test_callbacks_that_are_none_are_refused(tiny_llama: Path) -> None:
    which = Which.Plain(model_id=str(tiny_llama))
    for wrong in ([len], {"f": 1}):
        with pytest.raises(ValueError, match="tool_callbacks"):
            Runner(which, tool_callbacks=wrong)


def test_reasoning_is_kept_apart_whole_and_streamed(tiny_llama: Path) -> None:
    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which, chat_template=THINKING) as runner:
        text = "<think>\nabc def\n</think>\n\nhello world"
        message = answer(runner, text).message
        assert (message.reasoning_content, message.content) == ("\nabc def\n", "\n\nhello world")
        chunks = list(runner.send_chat_completion_request(says(text, stream=True)))
        deltas = [chunk.choices[0].delta for chunk in chunks]
        assert "".join(d.reasoning_content or "" for d in deltas) == "\nabc def\n"
        assert "".join(d.content or "" for d in deltas) == "\n\nhello world"
        assert answer(runner, "<think>never closed").message.content == ""
