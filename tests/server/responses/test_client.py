"""OpenAI's own Python client asks for responses, and understands every answer."""

import asyncio
import json
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel, ConfigDict

from tests.server.asking import until

from .saying import CALL, TOOL, ask, only


class Sky(BaseModel):
    """What the model is held to; a tiny model would put spaces without end between its parts."""

    model_config = ConfigDict(json_schema_extra={"x-guidance": {"whitespace_flexible": False}})

    color: Literal["blue", "red"]
    cloudy: bool


def valid(found: Any) -> bool:
    """Whether every field is of the type that the client has for it."""
    return bool(type(found).model_validate(found.model_dump(by_alias=True)) == found)


def test_a_response_says_what_a_chat_says(ai: openai.OpenAI) -> None:
    chat: Any = [{"role": "user", "content": "Hello"}]
    said = ai.chat.completions.create(model="default", messages=chat, max_tokens=8, temperature=0)
    response = ask(ai)
    assert response.output_text == said.choices[0].message.content
    assert response.usage.input_tokens == said.usage.prompt_tokens  # type: ignore[union-attr]
    assert valid(response)


def test_a_response_that_reaches_its_limit_is_incomplete(ai: openai.OpenAI) -> None:
    cut, whole = ask(ai), ask(ai, **only("Blue."))
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (cut.output[0].status, cut.completed_at) == ("incomplete", None)
    assert (whole.status, whole.incomplete_details) == ("completed", None)
    assert whole.completed_at >= whole.created_at
    assert whole.output_text == "Blue."


def test_a_response_repeats_how_it_was_asked(ai: openai.OpenAI) -> None:
    asked = {"instructions": "Be short.", "metadata": {"a": "b"}, "top_p": 0.5, "user": "me"}
    response = ask(ai, **asked, tools=[TOOL], tool_choice="none", prompt_cache_key="k")
    assert {name: getattr(response, name) for name in asked} == asked
    assert (response.tools[0].name, response.tool_choice) == ("weather", "none")
    assert (response.truncation, response.prompt_cache_key) == ("disabled", "k")
    assert response.text.format.type == "text"
    assert valid(response)


def test_a_streams_events_add_up_to_the_response(ai: openai.OpenAI) -> None:
    found = list(ask(ai, stream=True, **only("The sky is blue.")))
    text = "".join(each.delta for each in found if each.type == "response.output_text.delta")
    assert text == found[-1].response.output_text == "The sky is blue."
    assert all(valid(each) for each in found)
    kept = ai.responses.retrieve(found[0].response.id)
    assert kept == found[-1].response


def test_the_clients_own_collector_of_events(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "default", "input": "Hello"} | only("The sky is blue.")
    with ai.responses.stream(**asked) as stream:
        response = stream.get_final_response()
    assert (response.status, response.output_text) == ("completed", "The sky is blue.")


def test_parse_gives_an_object_of_the_class_whole_and_streamed(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "default", "input": "x", "max_output_tokens": 60, "temperature": 0}
    whole = ai.responses.parse(**asked, text_format=Sky).output_parsed
    with ai.responses.stream(**asked, text_format=Sky) as stream:
        streamed = stream.get_final_response().output_parsed
    assert isinstance(whole, Sky)
    assert whole == streamed


def test_some_json_object_may_be_asked_for(ai: openai.OpenAI) -> None:
    form: Any = {"format": {"type": "json_object"}}
    assert ask(ai, text=form, temperature=1).output_text.startswith("{")


def test_a_round_trip_of_a_tool(ai: openai.OpenAI) -> None:
    first = ask(ai, tools=[TOOL], **only(CALL))
    (call,) = first.output
    assert (first.status, call.type, json.loads(call.arguments)) == (
        "completed", "function_call", {"place": "Oslo"},
    )  # fmt: skip
    assert valid(first)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    told = ask(ai, tools=[TOOL], input=[{"role": "user", "content": "Hello"}, call, result])
    kept = ask(ai, tools=[TOOL], input=[result], previous_response_id=first.id)
    assert told.output_text == kept.output_text
    assert told.usage.input_tokens == kept.usage.input_tokens > first.usage.input_tokens + 20


def test_a_streamed_call_is_put_together(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "default", "input": "Hello", "tools": [TOOL]} | only(CALL)
    with ai.responses.stream(**asked) as stream:
        (call,) = stream.get_final_response().output
    assert (call.type, call.name, call.arguments) == (  # type: ignore[union-attr]
        "function_call", "weather", '{"place":"Oslo"}',
    )  # fmt: skip


def test_a_conversation_goes_on_without_the_instructions_of_before(ai: openai.OpenAI) -> None:
    first = ask(ai, instructions="Speak as a pirate, and speak of the sea at every turn.")
    assert first.usage.input_tokens > ask(ai).usage.input_tokens + 20
    second = ask(ai, input="And?", previous_response_id=first.id)
    turns: Any = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And?"},
    ]
    whole = ask(ai, input=turns)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens == whole.usage.input_tokens
    assert second.output_text == whole.output_text


def test_a_whole_conversation_may_come_back_as_it_was_sent(ai: openai.OpenAI) -> None:
    first = ask(ai, top_logprobs=1, tools=[TOOL])
    back = [each.model_dump(exclude_none=True) for each in first.output]
    asked: Any = [{"role": "user", "content": "Hello"}, *back, {"role": "user", "content": "And?"}]
    again = ask(ai, input=asked, store=False)
    kept = ask(ai, input="And?", previous_response_id=first.id)
    assert again.usage.input_tokens == kept.usage.input_tokens


def test_an_item_may_be_named_in_place_of_said(ai: openai.OpenAI) -> None:
    first = ask(ai)
    reference: Any = {"type": "item_reference", "id": first.output[0].id}
    said: Any = {"role": "assistant", "content": first.output_text}
    more: Any = {"role": "user", "content": "And?"}
    named, told = (ask(ai, input=[each, more]).usage.input_tokens for each in (reference, said))
    assert named == told
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(ai, input=[{"type": "item_reference", "id": "msg_none"}])
    assert unknown.value.code == "item_not_found"
    with pytest.raises(openai.BadRequestError) as twice:
        ask(ai, input=[reference], previous_response_id=first.id)
    assert twice.value.code == "duplicate_item"


def test_what_a_response_has_heard_is_listed_by_pages(ai: openai.OpenAI) -> None:
    first = ask(ai)
    second = ask(ai, input="And?", previous_response_id=first.id)
    newest = list(ai.responses.input_items.list(second.id))
    assert [each.role for each in newest] == ["user", "assistant", "user"]  # type: ignore[union-attr]
    assert all(valid(each) for each in newest)
    pages = ai.responses.input_items.list(second.id, limit=2, order="asc")
    assert (len(pages.data), pages.has_more) == (2, True)
    assert [each.id for each in pages] == [each.id for each in reversed(newest)]
    rest = ai.responses.input_items.list(second.id, after=newest[0].id or "")
    assert [each.id for each in rest.data] == [each.id for each in newest[1:]]
    for wrong in ({"after": "msg_none"}, {"limit": 0}, {"limit": 101}, {"order": "up"}):
        with pytest.raises(openai.BadRequestError) as refused:
            ai.responses.input_items.list(second.id, **wrong)  # type: ignore[arg-type]
        assert refused.value.param == next(iter(wrong))


def test_a_response_in_the_background_is_asked_for_until_it_ends(ai: openai.OpenAI) -> None:
    begun = ask(ai, background=True)
    assert (begun.status, begun.background, begun.output) == ("queued", True, [])
    assert until(lambda: ai.responses.retrieve(begun.id).status == "incomplete")
    ended = ai.responses.retrieve(begun.id)
    assert ended.output_text == ask(ai).output_text
    assert valid(ended)
    assert ai.responses.cancel(begun.id) == ended  # too late to change anything


def test_the_events_of_a_response_in_the_background_can_be_read_again(ai: openai.OpenAI) -> None:
    read = list(ask(ai, background=True, stream=True))
    assert read[-1].type == "response.incomplete"
    again = list(ai.responses.retrieve(read[0].response.id, stream=True))
    assert again == read
    rest = ai.responses.retrieve(read[0].response.id, stream=True, starting_after=3)
    assert list(rest) == read[4:]
    assert ai.responses.retrieve(read[0].response.id) == read[-1].response
    with ai.responses.stream(response_id=read[0].response.id) as stream:
        assert [each.type for each in stream] == [each.type for each in read]


def test_only_what_is_in_the_background_is_canceled(ai: openai.OpenAI) -> None:
    response = ask(ai)
    with pytest.raises(openai.BadRequestError, match="background=true"):
        ai.responses.cancel(response.id)


def test_a_deleted_response_is_gone_but_not_from_those_that_went_on(
    ai: openai.OpenAI, client: httpx.Client
) -> None:
    first = ask(ai)
    second = ask(ai, previous_response_id=first.id)
    gone = client.delete(f"/v1/responses/{first.id}").json()
    assert gone == {"id": first.id, "object": "response", "deleted": True}
    for call in (ai.responses.retrieve, ai.responses.delete, ai.responses.cancel):
        with pytest.raises(openai.NotFoundError) as unknown:
            call(first.id)
        assert unknown.value.code == "response_not_found"
    with pytest.raises(openai.NotFoundError) as before:
        ask(ai, previous_response_id=first.id)
    assert (before.value.param, before.value.code) == (
        "previous_response_id", "previous_response_not_found",
    )  # fmt: skip
    assert len(ai.responses.input_items.list(second.id).data) == 3


def test_what_is_not_to_be_stored_is_not_found(ai: openai.OpenAI) -> None:
    response = ask(ai, store=False)
    with pytest.raises(openai.NotFoundError):
        ai.responses.retrieve(response.id)


def test_logprobs_are_told_of_every_token(ai: openai.OpenAI) -> None:
    response = ask(ai, top_logprobs=2, include=["message.output_text.logprobs"])
    found = response.output[0].content[0].logprobs
    assert [len(each.top_logprobs) for each in found] == [2] * 8
    streamed = [
        token
        for event in ask(ai, stream=True, top_logprobs=2)
        if event.type == "response.output_text.delta"
        for token in event.logprobs
    ]
    assert [each.logprob for each in streamed] == [each.logprob for each in found]


def test_a_prompts_tokens_are_counted_as_a_response_reads_them(ai: openai.OpenAI) -> None:
    first = ask(ai)
    for asked in (
        {"input": "Hello", "instructions": "Be short.", "tools": [TOOL]},
        {"input": [{"role": "user", "content": "And?"}], "previous_response_id": first.id},
    ):
        counted = ai.responses.input_tokens.count(model="default", **asked)  # type: ignore[arg-type]
        assert counted.object == "response.input_tokens"
        assert counted.input_tokens == ask(ai, **asked).usage.input_tokens
    again = ai.responses.input_tokens.count(model="default", previous_response_id=first.id)
    assert again.input_tokens > first.usage.input_tokens
    for wrong in ({"conversation": "conv_1"}, {"personality": "friendly"}):
        with pytest.raises(openai.BadRequestError) as refused:
            ai.responses.input_tokens.count(model="default", input="x", **wrong)  # type: ignore[arg-type]
        assert refused.value.param == next(iter(wrong))


def test_tokens_are_counted_for_the_operator(ai: openai.OpenAI, client: httpx.Client) -> None:
    def counted() -> list[int]:
        lines = client.get("/metrics").text.splitlines()
        names = [f"mistralrs_{kind}_tokens_total " for kind in ("prompt", "completion")]
        return [int(line.split()[1]) for name in names for line in lines if line.startswith(name)]

    before, usage = counted(), ask(ai).usage
    assert counted() == [before[0] + usage.input_tokens, before[1] + usage.output_tokens]


def test_errors_are_those_the_client_knows(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(ai, model="gpt-9")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        ask(ai, extra_body={"no_such_field": 1})
    assert bad.value.param == "no_such_field"


def test_the_async_client(url: str) -> None:
    async def answered() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as ai:
            asked: Any = {"model": "default", "input": "Hello", "max_output_tokens": 4}
            asked["temperature"] = 0
            whole = await ai.responses.create(**asked)
            async with ai.responses.stream(**asked) as stream:
                last = [each async for each in stream][-1]
            return str(whole.status), last.type

    assert asyncio.run(answered()) == ("incomplete", "response.incomplete")
