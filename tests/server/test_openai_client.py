"""OpenAI's own Python client, against a live server."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, ConfigDict

from .asking import exactly

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call>'
HELLO: Any = [{"role": "user", "content": "Hello"}]


class Sky(BaseModel):
    """What the model is held to; a tiny model would put spaces without end between its parts."""

    model_config = ConfigDict(json_schema_extra={"x-guidance": {"whitespace_flexible": False}})

    color: Literal["blue", "red"]
    cloudy: bool


@pytest.fixture(scope="module")
def ai(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(ai: openai.OpenAI, **options: Any) -> Any:
    options = {"model": "default", "messages": HELLO, "max_tokens": 8, "temperature": 0} | options
    return ai.chat.completions.create(**options)


def test_a_chat(ai: openai.OpenAI) -> None:
    answer = ask(ai, n=2, logprobs=True, top_logprobs=1)
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert answer.usage.completion_tokens == 16
    assert answer.choices[0].logprobs.content[0].top_logprobs[0].token is not None
    assert type(answer).model_validate(answer.model_dump()) == answer  # every field of its type


def test_a_stream(ai: openai.OpenAI) -> None:
    chunks = list(ask(ai, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == ask(ai).choices[0].message.content
    assert chunks[-1].usage.completion_tokens == 8
    assert all(type(chunk).model_validate(chunk.model_dump()) == chunk for chunk in chunks)


def test_the_clients_own_collector_of_chunks(ai: openai.OpenAI) -> None:
    with ai.chat.completions.stream(
        model="default", messages=HELLO, extra_body=exactly("The sky is blue.")
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert (message.role, message.content) == ("assistant", "The sky is blue.")


def test_parse_gives_an_object_of_the_class(ai: openai.OpenAI) -> None:
    answer = ai.chat.completions.parse(
        model="default", messages=HELLO, max_tokens=60, temperature=0, response_format=Sky
    )
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Sky)


def test_a_round_trip_of_a_tool(ai: openai.OpenAI) -> None:
    first = ask(ai, tools=[TOOL], extra_body=exactly(CALL)).choices[0]
    (call,) = first.message.tool_calls
    assert (first.finish_reason, json.loads(call.function.arguments)) == (
        "tool_calls", {"place": "Oslo"},
    )  # fmt: skip
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    second = ask(ai, messages=[*HELLO, first.message, result], tools=[TOOL])
    longer = second.usage.prompt_tokens - ask(ai, tools=[TOOL]).usage.prompt_tokens
    assert longer > 20  # the call and its result are in the prompt


def test_a_streamed_call_is_put_together(ai: openai.OpenAI) -> None:
    with ai.chat.completions.stream(
        model="default", messages=HELLO, tools=[TOOL], extra_body=exactly(CALL)
    ) as stream:
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert (call.type, call.function.name) == ("function", "weather")
    assert call.function.arguments == '{"place":"Oslo"}'


def test_a_streamed_round_trip_of_a_tool(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "default", "tools": [TOOL]}
    with ai.chat.completions.stream(**asked, messages=HELLO, extra_body=exactly(CALL)) as first:
        message: Any = first.get_final_completion().choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}
    turns: Any = [*HELLO, message.model_dump(exclude_none=True), result]
    with ai.chat.completions.stream(
        **asked, messages=turns, extra_body=exactly("It rains.")
    ) as second:
        final: Any = second.get_final_completion().choices[0]
    assert (final.message.content, final.finish_reason) == ("It rains.", "stop")


def test_a_completion_and_its_stream(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "default", "prompt": "Once", "max_tokens": 8, "temperature": 0}
    whole = ai.completions.create(**asked)
    pieces = list(ai.completions.create(**asked, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text


def test_embeddings_which_the_client_asks_for_in_base64(ai: openai.OpenAI) -> None:
    short = ai.embeddings.create(model="default", input=["a", "b"], dimensions=8)
    assert [len(each.embedding) for each in short.data] == [8, 8]
    plain = ai.embeddings.create(model="default", input="a", encoding_format="float")
    coded = ai.embeddings.create(model="default", input="a")
    assert coded.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_models(ai: openai.OpenAI) -> None:
    listed = ai.models.list().data
    assert listed[0].id == "default"
    assert ai.models.retrieve("default").object == "model"


def test_errors_are_those_the_client_knows(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(ai, model="gpt-9")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        ask(ai, extra_body={"no_such_field": 1})
    assert bad.value.param == "no_such_field"


@pytest.mark.parametrize("options", [{}, {"stream": True}])
def test_the_async_client(url: str, options: dict[str, Any]) -> None:
    import asyncio

    async def answered() -> str:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            found: Any = await client.chat.completions.create(
                model="default", messages=HELLO, max_tokens=4, **options
            )
            if not options:
                return str(found.object)
            return str([chunk.object async for chunk in found].pop())

    assert asyncio.run(answered()).startswith("chat.completion")
