"""No field is taken and forgotten: it changes something, means nothing, or is refused."""

from typing import Any

import httpx
import msgspec
import pytest

from mistralrs_mlx.server.asking import chat_request, completion_requests
from mistralrs_mlx.server.bodies import ChatBody, CompletionBody
from mistralrs_mlx.server.failure import Failure

from .asking import chat

TOOL = {"type": "function", "function": {"name": "f"}}
OTHER = {"type": "function", "function": {"name": "g"}}
PICTURE = "data:image/png;base64,AAAA"
CARRIED = {  # field of the body: (a value, field of the request, its value there)
    "temperature": (0.5, "temperature", 0.5),
    "top_p": (0.5, "top_p", 0.5),
    "top_k": (3, "top_k", 3),
    "min_p": (0.1, "min_p", 0.1),
    "n": (2, "n_choices", 2),
    "stream": (True, "stream", True),
    "stop": (["a", "b"], "stop_seqs", ["a", "b"]),
    "seed": (-1, "seed", 2**64 - 1),
    "logit_bias": ({5: 1.0}, "logit_bias", {5: 1.0}),
    "presence_penalty": (0.5, "presence_penalty", 0.5),
    "frequency_penalty": (0.5, "frequency_penalty", 0.5),
    "repetition_penalty": (1.5, "repetition_penalty", 1.5),
    "dry_multiplier": (0.5, "dry_multiplier", 0.5),
    "dry_base": (2.0, "dry_base", 2.0),
    "dry_allowed_length": (3, "dry_allowed_length", 3),
    "dry_sequence_breakers": (["x"], "dry_sequence_breakers", ["x"]),
    "truncate_sequence": (True, "truncate_sequence", True),
    "ignore_eos": (True, "ignore_eos", True),
    "adapter": ("a", "adapter", "a"),
    "max_tokens": (5, "max_tokens", 5),
    "max_completion_tokens": (5, "max_tokens", 5),
    "logprobs": (True, "logprobs", True),
    "tools": ([TOOL], "tool_schemas", [TOOL]),
    "tool_choice": ("required", "tool_choice", "required"),
    "reasoning_effort": ("low", "reasoning_effort", "low"),
    "enable_thinking": (False, "enable_thinking", False),
    "max_tool_rounds": (2, "max_tool_rounds", 2),
    "session_id": ("s", "session_id", "s"),
    "enable_code_execution": (True, "enable_code_execution", True),
    "enable_shell": (True, "enable_shell", True),
    "agent_permission": ("deny", "agent_permission", "deny"),
    "code_execution_permission": ("deny", "code_execution_permission", "deny"),
}
OF_SERVICES = {  # what an answer does not depend on, at OpenAI's either
    "user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "service_tier",
}  # fmt: skip
REFUSED = {
    "store": True,
    "parallel_tool_calls": False,
    "modalities": ["text", "audio"],
    "verbosity": "low",
    "audio": {"voice": "x"},
    "prediction": {"type": "content", "content": "x"},
    "functions": [{"name": "f"}],
    "function_call": "auto",
    "top_logprobs": 2,
    "stream_options": {"include_usage": True},
    "session_id": "x",
    "enable_shell": True,
    "enable_code_execution": True,
    "agent_permission": "auto",
    "code_execution_permission": "auto",
    "files": [{"name": "x.csv"}],
    "adapter": "x",
    "no_such_field": 1,
    "service_tier": "flex",
    "reasoning_effort": "minimal",
}
ELSEWHERE = {  # tested by name below and in test_chat.py
    "messages", "model", "grammar", "response_format", "chat_template_kwargs", "web_search_options",
}  # fmt: skip


@pytest.mark.parametrize("name", CARRIED)
def test_a_field_reaches_the_request(name: str) -> None:
    value, field, expected = CARRIED[name]
    request = chat_request(ChatBody(messages="x", **{name: value}))
    assert getattr(request, field) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_a_field_that_cannot_be_honoured_is_refused_by_its_name(
    client: httpx.Client, name: str
) -> None:
    answer = chat(client, **{name: REFUSED[name]})
    assert answer.status_code == 400
    said = answer.json()["error"]
    assert name in said["message"].replace(" ", "_") or said["param"] == name


def test_every_field_is_in_one_of_these_lists() -> None:
    assert {*CARRIED, *OF_SERVICES, *REFUSED, *ELSEWHERE} - {"no_such_field"} == set(
        ChatBody.__struct_fields__
    )


def test_what_a_service_keeps_for_itself_changes_nothing() -> None:
    plain = chat_request(ChatBody(messages="x"))
    values: dict[str, Any] = dict.fromkeys(OF_SERVICES, "default") | {"metadata": {"a": "b"}}
    assert repr(chat_request(ChatBody(messages="x", **values))) == repr(plain)


def test_thinking_may_be_said_within_the_templates_arguments(client: httpx.Client) -> None:
    inside = {"chat_template_kwargs": {"enable_thinking": False}}
    assert chat(client, **inside).status_code == 200
    assert chat(client, enable_thinking=True, **inside).status_code == 400
    assert chat(client, chat_template_kwargs={"other": 1}).status_code == 400


@pytest.mark.parametrize("named", [TOOL, {"type": "function", "name": "f"}])
@pytest.mark.parametrize("nested", [True, False])
def test_allowed_tools_leave_the_others_out(named: dict[str, Any], nested: bool) -> None:
    allowed = {"mode": "required", "tools": [named]}
    choice = {"type": "allowed_tools", **({"allowed_tools": allowed} if nested else allowed)}
    body = ChatBody(messages="x", tools=[TOOL, OTHER], tool_choice=choice)
    request = chat_request(body)
    assert (request.tool_schemas, request.tool_choice) == ([TOOL], "required")


def test_where_the_user_is_reaches_the_search() -> None:
    place = {"type": "approximate", "approximate": {"city": "Oslo"}}
    fields = {"search_context_size": "low", "user_location": place}
    body = msgspec.convert({"messages": "x", "web_search_options": fields}, ChatBody)
    options = chat_request(body).web_search_options
    assert options is not None
    assert options.search_context_size == "low"
    assert "Oslo" in repr(options.user_location)


def test_a_grammar_and_a_format_do_not_go_together(client: httpx.Client) -> None:
    both = {"response_format": {"type": "json_object"}, "grammar": {"type": "regex", "value": "a"}}
    assert chat(client, **both).status_code == 400
    assert chat(client, **both | {"response_format": {"type": "text"}}).status_code == 200


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "/etc/passwd"}},
        {"type": "image_url", "image_url": "file:///etc/passwd"},
        {"type": "image_url", "image_url": {"url": "http://localhost/x.png"}},
        {"type": "image", "image": "/etc/passwd"},
        {"type": "video", "path": "/etc/passwd"},
        {"type": "audio_url", "audio_url": {"url": None}},
    ],
)
def test_a_request_cannot_have_the_server_read_or_fetch(part: Any) -> None:
    messages = [{"role": "user", "content": [part]}]
    with pytest.raises(Failure) as refused:
        chat_request(ChatBody(messages=messages))
    assert refused.value.status == 400


def test_media_that_the_client_brings_pass_and_others_if_the_operator_says_so() -> None:
    brought = {"type": "image_url", "image_url": {"url": PICTURE}}
    fetched = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}
    chat_request(ChatBody(messages=[{"role": "user", "content": [brought]}]))
    chat_request(ChatBody(messages=[{"role": "user", "content": [fetched]}]), media_urls=True)


def test_completions_take_the_best_of_more() -> None:
    (request,) = completion_requests(CompletionBody(prompt="x", n=2, best_of=5))
    assert (request.n_choices, request.best_of) == (5, 2)
    (request,) = completion_requests(CompletionBody(prompt="x", n=2))
    assert (request.n_choices, request.best_of) == (2, None)
    with pytest.raises(Failure, match="less than"):
        completion_requests(CompletionBody(prompt="x", n=2, best_of=1))
