"""Chats over HTTP: what is asked reaches the runner, and what it says reaches the client."""

import json
from typing import Any

import httpx
import pytest

from mistralrs_mlx import ChatCompletionRequest, Runner

from .asking import chat, chunks, exactly

SCHEMA = {
    "type": "object",
    "properties": {"sky": {"enum": ["blue", "red"]}},
    "required": ["sky"],
    "additionalProperties": False,
    "x-guidance": {"whitespace_flexible": False},
}


def said(client: httpx.Client, **fields: Any) -> str:
    return str(chat(client, **fields).json()["choices"][0]["message"]["content"])


def test_an_answer_is_the_one_that_the_runner_gives(client: httpx.Client, runner: Runner) -> None:
    request = ChatCompletionRequest("Hello", "default", max_tokens=8, temperature=0.0)
    expected = runner.send_chat_completion_request(request).choices[0]
    choice = chat(client).json()["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": expected.message.content}
    assert choice["finish_reason"] == expected.finish_reason


def test_a_stream_says_what_the_whole_answer_says(client: httpx.Client) -> None:
    found = chunks(client)
    deltas = [chunk["choices"][0]["delta"] for chunk in found]
    assert "".join(delta.get("content", "") for delta in deltas) == said(client)
    assert found[-1]["choices"][0]["finish_reason"] == "length"
    assert len({chunk["id"] for chunk in found}) == 1


def test_a_role_comes_once_for_every_choice_as_clients_join_texts(client: httpx.Client) -> None:
    choices = [chunk["choices"][0] for chunk in chunks(client, n=2)]
    roles = [choice["index"] for choice in choices if "role" in choice["delta"]]
    assert sorted(roles) == [0, 1]


def test_usage_comes_in_a_chunk_of_its_own_if_it_is_asked_for(client: httpx.Client) -> None:
    *others, last = chunks(client, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 8
    assert not any("usage" in chunk for chunk in others)


def test_usage_comes_with_the_last_chunk_unless_it_is_refused(client: httpx.Client) -> None:
    assert chunks(client)[-1]["usage"]["completion_tokens"] == 8
    refused = chunks(client, stream_options={"include_usage": False})
    assert not any("usage" in chunk for chunk in refused)


def test_n_choices_are_numbered(client: httpx.Client) -> None:
    choices = chat(client, n=3, temperature=1).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]


def test_logprobs_are_in_openais_form(client: httpx.Client) -> None:
    answer = chat(client, logprobs=True, top_logprobs=2, max_tokens=3).json()
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in tokens] == [2, 2, 2]
    likely = tokens[0]["top_logprobs"][0]
    assert isinstance(likely["token"], str)
    assert likely["logprob"] == tokens[0]["logprob"] <= 0  # greedy


def test_streamed_logprobs_are_lists_as_well(client: httpx.Client) -> None:
    first = chunks(client, logprobs=True)[0]["choices"][0]
    assert len(first["logprobs"]["content"]) == 1


def test_a_seed_repeats_an_answer_and_may_be_negative(client: httpx.Client) -> None:
    one, two, other = (said(client, seed=seed, temperature=1, n=1) for seed in (-1, -1, 7))
    assert one == two != other


def test_a_stop_ends_the_answer(client: httpx.Client) -> None:
    choice = chat(client, stop="sky", **exactly("The sky is blue")).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("The ", "stop")


def test_a_bias_decides_the_token(client: httpx.Client, runner: Runner) -> None:
    (token,) = runner.tokenize_text("!", False)
    assert said(client, logit_bias={str(token): 100}) == "!" * 8


def test_json_of_a_schema(client: httpx.Client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}}
    assert json.loads(said(client, response_format=form, max_tokens=60))["sky"] in ("blue", "red")


def test_a_json_object_begins_as_one(client: httpx.Client) -> None:
    assert said(client, response_format={"type": "json_object"}, temperature=1)[0] == "{"


@pytest.mark.parametrize(
    "grammar",
    [
        {"type": "regex", "value": "ab"},
        {"type": "lark", "value": 'start: "ab"'},
        {"type": "json_schema", "value": {"const": "ab"}},
        {"type": "json_schema", "value": '{"const": "ab"}'},
        {"type": "llguidance", "value": {"grammars": [{"lark_grammar": 'start: "ab"'}]}},
    ],
)
def test_an_answer_can_be_held_to_every_grammar(client: httpx.Client, grammar: Any) -> None:
    assert said(client, grammar=grammar, max_tokens=20).strip('"') == "ab"


def test_neither_limit_goes_before_the_other(client: httpx.Client) -> None:
    assert (
        chat(client, max_tokens=None, max_completion_tokens=3).json()["usage"]["completion_tokens"]
        == 3
    )
    assert chat(client, max_tokens=2, max_completion_tokens=3).status_code == 400


def test_calls_come_in_openais_form_whole_and_streamed(client: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    call = '<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call>'
    asked = {"tools": [tool], **exactly(call)}
    (whole,) = chat(client, **asked).json()["choices"]
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["content"] is None
    called = {"name": "look", "arguments": '{"at":"it"}'}
    assert whole["message"]["tool_calls"][0] | {"id": ""} == {
        "id": "", "type": "function", "function": called,
    }  # fmt: skip
    (streamed,) = chunks(client, **asked)[-1]["choices"][0]["delta"]["tool_calls"]
    assert (streamed["index"], streamed["function"]) == (0, called)


def test_a_stream_that_cannot_begin_fails_with_a_status(client: httpx.Client) -> None:
    for stream in (False, True):
        answer = chat(client, messages="x" * 5000, stream=stream)
        assert answer.status_code == 400
        assert "greater than 512" in answer.json()["error"]["message"]


def test_the_model_may_be_named_left_out_or_default(client: httpx.Client, runner: Runner) -> None:
    (name,) = runner.list_models()
    found = [chat(client, model=model).json()["model"] for model in (name, "default", None, "")]
    assert found == [name] * 4
    unknown = chat(client, model="gpt-9")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
