"""Whatever a client sends, the fault is told to be the client's, and the server lives."""

import json
import random
from typing import Any

import httpx
import pytest

from mistralrs_mlx.server.bodies import ChatBody, CompletionBody, EmbeddingBody

from .asking import CHAT, chat

PATHS = [
    CHAT,
    "/v1/messages",
    "/v1/completions",
    "/v1/embeddings",
    "/tokenize",
    "/detokenize",
    "/re_isq",
]
HEADERS = {"Content-Type": "application/json"}
ODD: list[Any] = [
    *(None, True, -1, 0, 2**31, 2**63, 2**64, 10**40, -(2**70), 0.5, -0.0, 1e308, "", "x"),
    *("\x00", "\ud800", "😀" * 50, [], {}, [None], [[]], [{}], {"": None}, {"type": "x"}),
    *([1, "x"], [2**32], {"a": {"b": [1]}}, {"role": "user"}, [{"role": 1, "content": 2}]),
    [{"role": "user", "content": [{"type": "text"}]}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}],
    [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}],
    {"type": "function", "function": {"name": None}},
    {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}},
    {"type": "regex", "value": "("},
    {"type": "lark", "value": "start: nothing"},
]
FIELDS = sorted(
    {
        *ChatBody.__struct_fields__,
        *CompletionBody.__struct_fields__,
        *EmbeddingBody.__struct_fields__,
        "tokens",
        "ggml_type",
    }
)
BASES: list[dict[str, Any]] = [
    {"messages": "Hi", "max_tokens": 1},
    {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "stream": True},
    {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1},
    {"prompt": "Hi", "max_tokens": 1},
    {"input": "Hi"},
    {"tokens": [1]},
]


def bodies(count: int) -> list[tuple[str, bytes]]:
    """Paths and bodies: right ones with odd values in them, cut off or with bytes changed."""
    dice = random.Random(7)
    found = []
    for _ in range(count):
        body = dict(dice.choice(BASES))
        for field in dice.sample(FIELDS, dice.randint(1, 3)):
            body[field] = dice.choice(ODD)
        content = bytearray(json.dumps(body).encode())
        if dice.random() < 0.3:
            content[dice.randrange(len(content))] = dice.randrange(256)
        if dice.random() < 0.2:
            del content[dice.randrange(len(content)) :]
        found.append((dice.choice(PATHS[:4] * 3 + PATHS), bytes(content)))
    return found


def test_no_body_makes_the_server_fail(client: httpx.Client) -> None:
    failed, refused = [], 0
    for path, content in bodies(2000):
        answer = client.post(path, content=content, headers=HEADERS)
        refused += 400 <= answer.status_code < 500
        if answer.status_code >= 500 or '"server_error"' in answer.text:
            failed.append((path, content[:300], answer.status_code, answer.text[:300]))
    assert not failed
    assert refused > 1200
    assert chat(client).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"\xff", b'{"a": NaN}', b"[" * 100_000, b"{} {}"]
)
def test_what_is_no_json_object_is_refused(client: httpx.Client, path: str, content: bytes) -> None:
    answer = client.post(path, content=content, headers=HEADERS)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("depth", [30, 500, 5000])
def test_deep_nesting_is_refused_or_read(client: httpx.Client, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for body in (
        f'{{"messages": [{{"role": "user", "content": "x", "more": {nested}}}], "max_tokens": 1}}',
        f'{{"messages": "x", "max_tokens": 1, "tools": [{{"function": {{"name": "f", '
        f'"parameters": {{"enum": {nested}}}}}}}]}}',
        f'{{"messages": "x", "max_tokens": 1, "grammar": {{"type": "json_schema", '
        f'"value": {{"enum": {nested}}}}}}}',
    ):
        answer = client.post(CHAT, content=body.encode(), headers=HEADERS)
        assert answer.status_code in (200, 400)


def test_a_complaint_names_the_field(client: httpx.Client) -> None:
    for fields, parameter in (
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temprature": 1}, "temprature"),
        ({"stream_options": {"x": 1}, "stream": True}, "x"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"n": 1000}, "n"),
    ):
        answer = chat(client, **fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, parameter)
