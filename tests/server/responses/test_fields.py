"""No field is taken and forgotten: it changes something, comes back, or is refused by name."""

import json
from typing import Any, get_type_hints

import httpx
import msgspec
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from mistralrs_mlx.server.asking import chat_request
from mistralrs_mlx.server.responses.answers import fresh_answer
from mistralrs_mlx.server.responses.bodies import ResponsesBody, chat_body

from .saying import PATH, TOOL, post

SCHEMA = {"type": "object", "properties": {}}
FORM = {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA, "strict": True}}
AS_A_CHAT = {"type": "function", "function": {"name": "weather"}}
BARE = {"type": "function", "name": "weather"}
SEARCH = {"type": "web_search", "search_context_size": "low"}
CARRIED: dict[str, tuple[Any, str, Any]] = {  # field: (a value, field of the chat, its value there)
    "temperature": (0.5, "temperature", 0.5),
    "top_p": (0.5, "top_p", 0.5),
    "top_k": (3, "top_k", 3),
    "min_p": (0.1, "min_p", 0.1),
    "stop": (["a"], "stop_seqs", ["a"]),
    "seed": (5, "seed", 5),
    "logit_bias": ({"5": 1}, "logit_bias", {5: 1.0}),
    "presence_penalty": (0.5, "presence_penalty", 0.5),
    "frequency_penalty": (0.5, "frequency_penalty", 0.5),
    "repetition_penalty": (1.5, "repetition_penalty", 1.5),
    "dry_multiplier": (0.5, "dry_multiplier", 0.5),
    "dry_base": (2.0, "dry_base", 2.0),
    "dry_allowed_length": (3, "dry_allowed_length", 3),
    "dry_sequence_breakers": (["x"], "dry_sequence_breakers", ["x"]),
    "grammar": ({"type": "regex", "value": "a"}, "grammar", "a"),
    "ignore_eos": (True, "ignore_eos", True),
    "adapter": ("a", "adapter", "a"),
    "truncation": ("auto", "truncate_sequence", True),
    "truncate_sequence": (True, "truncate_sequence", True),
    "max_output_tokens": (5, "max_tokens", 5),
    "top_logprobs": (3, "top_logprobs", 3),
    "include": (["message.output_text.logprobs"], "logprobs", True),
    "tools": ([BARE], "tool_schemas", [AS_A_CHAT]),
    "tool_choice": (BARE, "tool_choice", AS_A_CHAT),
    "max_tool_rounds": (2, "max_tool_rounds", 2),
    "text": (FORM, "grammar", SCHEMA),
    "reasoning": ({"effort": "low"}, "reasoning_effort", "low"),
    "enable_thinking": (False, "enable_thinking", False),
    "chat_template_kwargs": ({"enable_thinking": False}, "enable_thinking", False),
}
TOLD = {  # what comes back as it was sent
    "metadata": {"a": "b"},
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "prompt_cache_retention": "24h",
    "user": "x",
    "instructions": "x",
    "store": False,
}
REFUSED: dict[str, Any] = {
    "n": 2,
    "max_tokens": 5,
    "response_format": {"type": "json_object"},
    "max_tool_calls": 1,
    "conversation": "conv_1",
    "prompt": {"id": "pmpt_1"},
    "parallel_tool_calls": False,
    "service_tier": "flex",
    "stream_options": {"include_obfuscation": False},
    "access_programs": {"cyber": "standard"},
    "background_options": {},
    "context_management": [],
    "image": {},
    "moderation": {"model": "x"},
    "prompt_cache_options": {},
    "no_such_field": 1,
}
ELSEWHERE = {"input", "model", "previous_response_id", "background", "stream"}  # test_client.py


def read(**fields: Any) -> ResponsesBody:
    return msgspec.json.decode(json.dumps({"input": "x", **fields}), type=ResponsesBody)


def chat(**fields: Any) -> Any:
    """The request that such a body asks for."""
    return chat_request(chat_body(read(**fields), [{"role": "user", "content": "x"}]))


def test_every_field_is_in_one_of_these_lists() -> None:
    known = {*CARRIED, *TOLD, *REFUSED, *ELSEWHERE}
    assert set(ResponsesBody.__struct_fields__) <= known
    assert set(get_type_hints(ResponseCreateParamsBase)) <= known


@pytest.mark.parametrize("name", CARRIED)
def test_a_field_reaches_the_request(name: str) -> None:
    value, field, expected = CARRIED[name]
    more = {"tools": [TOOL]} if name == "tool_choice" else {}
    assert getattr(chat(**{name: value}, **more), field) == expected


@pytest.mark.parametrize("name", TOLD)
def test_a_field_comes_back(name: str) -> None:
    answer = fresh_answer(read(**{name: TOLD[name]}), "m")
    assert getattr(answer, name) == TOLD[name]


@pytest.mark.parametrize("name", REFUSED)
def test_a_field_that_cannot_be_honoured_is_refused_by_its_name(
    client: httpx.Client, name: str
) -> None:
    answer = post(client, **{name: REFUSED[name]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"stream": True, "stream_options": {"include_usage": True}}, "include_usage"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "include_obfuscation"),
        ({"background": True, "store": False}, "background"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools"),
        ({"tools": [SEARCH, SEARCH]}, "tools"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"text": {"verbosity": "low"}}, "verbosity"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"reasoning": {"context": "auto"}}, "context"),
        ({"reasoning": {"effort": "minimal"}}, "effort"),
        ({"metadata": {"x" * 65: "y"}}, "metadata"),
        ({"metadata": {"x": "y" * 513}}, "metadata"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"truncation": "auto", "truncate_sequence": False}, "truncate_sequence"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0]"),
    ],
)
def test_a_value_that_cannot_be_honoured_is_refused_by_name(
    client: httpx.Client, fields: dict[str, Any], name: str
) -> None:
    answer = post(client, **fields)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert name in str(error["param"]) or name in error["message"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("?stream=true", "stream"),
        ("?stream=true&include_obfuscation=true", "include_obfuscation"),
        ("?stream=true&starting_after=-2", "starting_after"),
        ("?stream=sometimes", "stream"),
        ("?starting_after=1", "starting_after"),
        ("?include_obfuscation=true", "include_obfuscation"),
        ("?include[]=file_search_call.results", "include"),
        ("?no_such_field=1", "no_such_field"),
        ("/input_items?before=x", "before"),
    ],
)
def test_a_query_that_cannot_be_honoured_is_refused_by_name(
    client: httpx.Client, query: str, name: str
) -> None:
    id = post(client).json()["id"]
    answer = client.get(f"{PATH}/{id}{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    good = "?stream=false&include[]=message.input_image.image_url"
    assert client.get(f"{PATH}/{id}{good}").status_code == 200


def test_allowed_tools_leave_the_others_out() -> None:
    other = {"type": "function", "name": "other"}
    choice = {"type": "allowed_tools", "mode": "required", "tools": [BARE]}
    request = chat(tools=[BARE, other], tool_choice=choice)
    assert (request.tool_schemas, request.tool_choice) == ([AS_A_CHAT], "required")


def test_a_search_of_the_web_reaches_the_request() -> None:
    place = {"type": "approximate", "city": "Oslo"}
    options = chat(tools=[SEARCH | {"user_location": place}]).web_search_options
    assert (options.search_context_size, "Oslo" in repr(options.user_location)) == ("low", True)


@pytest.mark.parametrize("source", ["/etc/passwd", "file:///etc/passwd", "http://localhost/x.png"])
def test_a_picture_must_come_along_unless_the_operator_says_otherwise(
    client: httpx.Client, source: str
) -> None:
    parts = [{"type": "input_image", "image_url": source}]
    error = post(client, input=[{"role": "user", "content": parts}]).json()["error"]
    assert ("must be a data: URL" in error["message"], error["param"]) == (True, "input")
