"""Answers that follow a grammar, as a user asks for them."""

import json
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mistralrs_mlx import ChatCompletionRequest, CompletionRequest, Runner, Which

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z][a-z]{1,6}$"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "ü"]}, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
    "x-guidance": {"whitespace_flexible": False},  # random weights would write spaces for ever
}
OBJECT = {"grammars": [{"lark_grammar": 'start: "<" @inner ">"'}, {"name": "inner"}]}
OBJECT["grammars"][1]["json_schema"] = {"const": 12}


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Iterator[Runner]:
    with Runner(which=Which.Plain(model_id=str(tiny_llama))) as made:
        yield made


def chat(kind: str | None, grammar: Any, **options: Any) -> ChatCompletionRequest:
    defaults = {"max_tokens": 200, "temperature": 1.0, "seed": 1} | options
    return ChatCompletionRequest(
        "Tell me.", "default", grammar=grammar, grammar_type=kind, **defaults
    )


def content(runner: Runner, request: ChatCompletionRequest) -> str:
    [choice] = runner.send_chat_completion_request(request).choices
    assert choice.finish_reason == "stop"
    return choice.message.content


@pytest.mark.parametrize(
    ("kind", "grammar", "pattern"),
    [
        ("regex", r"The sky is (blue|größe 😀)\.", r"The sky is (blue|größe 😀)\."),
        ("lark", 'start: "x" DIGIT+\nDIGIT: /[0-9]{2}/', r"x(\d\d)+"),
        ("json_schema", json.dumps({"const": "sky"}), '"sky"'),
        ("llguidance", json.dumps(OBJECT), "<12>"),
    ],
)
def test_an_answer_follows_its_grammar(
    runner: Runner, kind: str, grammar: str, pattern: str
) -> None:
    assert re.fullmatch(pattern, content(runner, chat(kind, grammar)))


class Person:
    """As a pydantic model, which knows its schema."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return SCHEMA


@pytest.mark.parametrize("schema", [json.dumps(SCHEMA), SCHEMA, Person])
def test_a_schema_may_be_text_or_a_dict_or_a_model(runner: Runner, schema: Any) -> None:
    jsonschema.validate(json.loads(content(runner, chat("json_schema", schema))), SCHEMA)


def test_a_stream_says_what_the_whole_answer_says(runner: Runner) -> None:
    whole = content(runner, chat("json_schema", SCHEMA))
    chunks = list(runner.send_chat_completion_request(chat("json_schema", SCHEMA, stream=True)))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len(chunks) > 3


def test_constrained_and_free_answers_are_the_same_together_and_alone(runner: Runner) -> None:
    requests = [
        chat("json_schema", SCHEMA, seed=1),
        chat(None, None, seed=2, max_tokens=40),
        chat("regex", "[a-z ]{60}", seed=3),
        chat("json_schema", SCHEMA, seed=4),
        chat(None, None, seed=5, max_tokens=60, temperature=0.0),
    ]

    def answer(request: ChatCompletionRequest) -> str:
        return runner.send_chat_completion_request(request).choices[0].message.content

    alone = [answer(request) for request in requests]
    with ThreadPoolExecutor(len(requests)) as threads:
        together = list(threads.map(answer, requests))
    assert together == alone
    assert len(set(alone)) == len(alone)


def test_every_choice_follows_the_grammar_in_its_own_way(runner: Runner) -> None:
    answer = runner.send_chat_completion_request(chat("json_schema", SCHEMA, n_choices=4))
    contents = [choice.message.content for choice in answer.choices]
    for each in contents:
        jsonschema.validate(json.loads(each), SCHEMA)
    assert len(set(contents)) > 1


def test_logprobs_come_with_every_token_of_a_grammar(runner: Runner) -> None:
    request = chat("regex", "[a-z]{9}", logprobs=True, top_logprobs=2)
    answer = runner.send_chat_completion_request(request)
    entries = answer.choices[0].logprobs.content
    assert b"".join(bytes(entry.bytes) for entry in entries).decode().isalpha()
    assert len(entries) == answer.usage.completion_tokens
    numbers = [entry.logprob for entry in entries] + [
        other.logprob for entry in entries for other in entry.top_logprobs
    ]
    assert all(math.isfinite(number) and number <= 0 for number in numbers)


def test_the_token_with_which_a_grammar_ends_is_streamed_with_its_logprob(runner: Runner) -> None:
    def asked(**options: bool) -> ChatCompletionRequest:
        return chat("regex", "[a-z]{9}", logprobs=True, temperature=0.0, **options)

    whole = runner.send_chat_completion_request(asked()).choices[0].logprobs.content
    chunks = list(runner.send_chat_completion_request(asked(stream=True)))
    streamed = [chunk.choices[0].logprobs for chunk in chunks]
    assert [each.token for each in streamed if each] == [each.token for each in whole]


def test_a_text_cut_by_max_tokens_ends_with_length(runner: Runner) -> None:
    answer = runner.send_chat_completion_request(chat("json_schema", SCHEMA, max_tokens=4))
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content.startswith("{")


def test_a_grammar_that_has_ended_ends_an_answer_that_ignores_ends(runner: Runner) -> None:
    assert len(content(runner, chat("regex", "[0-9]{30}", ignore_eos=True))) == 30


def test_a_completion_follows_a_grammar(runner: Runner) -> None:
    request = CompletionRequest("2+2=", "default", grammar="4|four", grammar_type="regex")
    [choice] = runner.send_completion_request(request).choices
    assert choice.text in ("4", "four")
    assert choice.finish_reason == "stop"


def test_a_bad_grammar_is_told_where_the_answer_is_read(runner: Runner) -> None:
    with pytest.raises(ValueError, match=r"(?s)Invalid grammar\. .*unclosed group"):
        runner.send_chat_completion_request(chat("regex", "(a"))
    stream = runner.send_chat_completion_request(chat("regex", "(a", stream=True))
    with pytest.raises(ValueError, match=r"(?s)Invalid grammar\. .*unclosed group"):
        next(stream)
    assert content(runner, chat("regex", "fine")) == "fine"


def test_a_grammar_that_is_impossible_here_fails_its_answer_only(runner: Runner) -> None:
    bias = dict.fromkeys(range(1, 1000), -math.inf)
    with pytest.raises(ValueError, match=r"cannot go on .* no logit_bias forbids what it needs"):
        runner.send_chat_completion_request(chat("regex", "(?s:.)[a-z]{9}", logit_bias=bias))
    assert content(runner, chat("regex", "fine")) == "fine"
