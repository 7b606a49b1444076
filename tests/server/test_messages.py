"""Anthropic's routes, asked by Anthropic's own Python client against a live server."""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import msgspec
import pytest

from mistralrs_mlx import Runner, ToolChoice, Which
from mistralrs_mlx.server.anthropic import MessagesBody, chat_body
from mistralrs_mlx.server.asking import chat_request
from tests.tiny_checkpoint import CHATML

from .asking import chat
from .conftest import live

HELLO: Any = [{"role": "user", "content": "Hello"}]
TOOL: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
PATH = "/v1/messages"
COLD = {"temperature": 0}


@pytest.fixture(scope="module")
def ai(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def ask(ai: anthropic.Anthropic, **options: Any) -> Any:
    options = {"model": "default", "messages": HELLO, "max_tokens": 8} | options
    options["extra_body"] = COLD | options.get("extra_body", {})
    return ai.messages.create(**options)


def test_a_message_says_what_a_chat_says(ai: anthropic.Anthropic, client: httpx.Client) -> None:
    message = ask(ai)
    (block,) = message.content
    assert block.text == chat(client).json()["choices"][0]["message"]["content"]
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 8)


def test_the_clients_own_collector_of_events(ai: anthropic.Anthropic) -> None:
    asked: Any = {"model": "default", "messages": HELLO, "max_tokens": 8, "extra_body": COLD}
    with ai.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        message: Any = stream.get_final_message()
    assert text == message.content[0].text == ask(ai).content[0].text
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 8)


def test_the_system_and_the_turns_reach_the_template(ai: anthropic.Anthropic) -> None:
    turns = [*HELLO, {"role": "assistant", "content": "Hi"}, *HELLO]
    system = [{"type": "text", "text": "Be short."}]
    plain, more = ask(ai).usage, ask(ai, system=system, messages=turns).usage
    assert (
        more.input_tokens + more.cache_read_input_tokens
        > plain.input_tokens + plain.cache_read_input_tokens + 20
    )


def test_tokens_are_counted_as_they_are_read(ai: anthropic.Anthropic) -> None:
    counted = ai.messages.count_tokens(model="default", messages=HELLO, tools=[TOOL])
    usage = ask(ai, tools=[TOOL]).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def test_a_round_trip_of_a_tool_becomes_a_chats() -> None:
    use = {"type": "tool_use", "id": "1", "name": "weather", "input": {"place": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": "rain", "is_error": True}
    thought = {"type": "thinking", "thinking": "hm", "signature": ""}
    turns = [
        *HELLO,
        {"role": "assistant", "content": [thought, {"type": "text", "text": "I look."}, use]},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    _, assistant, tool, user = read(messages=turns).messages
    assert assistant["tool_calls"][0]["function"]["arguments"] == {"place": "Oslo"}
    assert assistant["reasoning_content"] == "hm"
    assert (tool["role"], tool["content"]) == ("tool", "Error: rain")
    assert (user["role"], user["content"][0]["text"]) == ("user", "And?")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "any"}, "required"),
        ({"type": "none"}, ToolChoice.NoTools),
        ({"type": "tool", "name": "weather"}, {"name": "weather"}),
    ],
)
def test_a_choice_of_tools_is_the_chats(choice: Any, expected: Any) -> None:
    request = chat_request(read(messages=HELLO, tools=[TOOL], tool_choice=choice))
    chosen = request.tool_choice
    assert (chosen["function"] if isinstance(chosen, dict) else chosen) == expected


def test_a_model_made_to_call_calls(ai: anthropic.Anthropic) -> None:
    strict = {"type": "object", "properties": {}, "additionalProperties": False}
    tool = {"name": "weather", "input_schema": strict, "strict": True}
    asked: Any = {"tools": [tool], "tool_choice": {"type": "any"}, "max_tokens": 200}
    message = ask(ai, **asked)
    if message.stop_reason == "max_tokens":
        pytest.skip("random weights put spaces into the call without end")
    (call,) = message.content
    assert (message.stop_reason, call.name, call.input) == ("tool_use", "weather", {})
    with ai.messages.stream(model="default", messages=HELLO, extra_body=COLD, **asked) as stream:
        streamed: Any = stream.get_final_message().content[-1]
    assert (streamed.type, streamed.name, streamed.input) == ("tool_use", "weather", {})


def test_an_output_is_held_to_its_schema(ai: anthropic.Anthropic) -> None:
    form = {"type": "json_schema", "schema": {"const": "blue"}}
    assert ask(ai, output_config={"format": form}, max_tokens=20).content[0].text == '"blue"'
    assert read(messages=HELLO, output_config={"effort": "low"}).reasoning_effort == "low"


def test_a_picture_is_a_data_url() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    turn = {"role": "user", "content": [{"type": "image", "source": source}]}
    (part,) = read(messages=[turn]).messages[0]["content"]
    assert part["image_url"] == {"url": "data:image/png;base64,AAAA"}


def test_a_stop_sequence_is_named(ai: anthropic.Anthropic) -> None:
    first = ask(ai).content[0].text
    message = ask(ai, stop_sequences=[first[2:4]])
    assert (message.stop_reason, message.stop_sequence) in (
        ("stop_sequence", first[2:4]),
        ("end_turn", None),  # a stop that is a single token has no text of its own
    )


def test_errors_are_in_anthropics_form(ai: anthropic.Anthropic, client: httpx.Client) -> None:
    with pytest.raises(anthropic.NotFoundError):
        ask(ai, model="claude-9")
    with pytest.raises(anthropic.BadRequestError):
        ask(ai, extra_body={"no_such_field": 1})
    answer = client.post(PATH, json={"messages": HELLO})
    assert answer.json()["type"] == "error"
    assert "max_tokens" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": [*HELLO, {"role": "assistant", "content": "I"}]},
        {"messages": []},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
        {"container": "x"},
    ],
)
def test_what_cannot_be_honoured_is_refused(client: httpx.Client, wrong: dict[str, Any]) -> None:
    answer = client.post(PATH, json={"messages": HELLO, "max_tokens": 1} | wrong)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def read(**fields: Any) -> Any:
    """The chat that such a body asks for."""
    return chat_body(msgspec.convert({"max_tokens": 5} | fields, MessagesBody))


def test_thoughts_are_blocks_of_their_own(tiny_llama: Any, client: httpx.Client) -> None:
    which = Which.Plain(model_id=str(tiny_llama))
    thinking = CHATML.replace("assistant\n", "assistant\n<think>{# </think> #}")
    asked = {"messages": HELLO, "max_tokens": 12, "temperature": 0, "stream": True}
    with Runner(which, chat_template=thinking) as runner, live(runner) as url:
        whole = httpx.post(url + PATH, json=asked | {"stream": False}).json()
        events = httpx.post(url + PATH, json=asked).text
    assert [block["type"] for block in whole["content"]] == ["thinking"]
    assert "thinking_delta" in events
    assert events.count("content_block_start") == 2 * 1  # its name, and its type
