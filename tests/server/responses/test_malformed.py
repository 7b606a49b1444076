"""Whatever is sent, the fault is told to be the client's, and the server lives."""

import json
import random
from typing import Any

import httpx
import pytest

from mistralrs_mlx.server.responses.bodies import CountedBody, ResponsesBody
from tests.server.test_malformed import HEADERS, ODD

from .saying import PATH, post

FIELDS = sorted(set(ResponsesBody.__struct_fields__) - {"background"})
COUNTED = sorted(CountedBody.__struct_fields__)
ODD_ITEMS: list[Any] = [
    *ODD,
    *([{"id": "x"}], [{"type": "item_reference"}], [{"type": "message", "role": "user"}]),
    [{"type": "function_call", "call_id": "1", "name": "f", "arguments": "{"}],
    [{"type": "function_call_output", "call_id": None, "output": []}],
    [{"type": "reasoning", "summary": [{"type": "summary_text", "text": 5}]}],
    [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,x"}]}],
    [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}],
    [{"role": "assistant", "content": []}, {"role": "user", "content": []}],
    {"format": {"type": "json_schema", "name": "x", "schema": {"type": "nope"}}},
    [{"type": "function", "name": "", "parameters": {"type": 5}}],
]


def bodies(count: int) -> list[bytes]:
    """Right bodies with odd values in them, cut off or with bytes changed."""
    dice = random.Random(11)
    found = []
    for _ in range(count):
        body: dict[str, Any] = {"input": "Hi", "max_output_tokens": 1, "store": False}
        body["stream"] = dice.random() < 0.3
        for field in dice.sample(FIELDS, dice.randint(1, 3)):
            body[field] = dice.choice(ODD_ITEMS)
        content = bytearray(json.dumps(body).encode())
        if dice.random() < 0.2:
            content[dice.randrange(len(content))] = dice.randrange(256)
        if dice.random() < 0.1:
            del content[dice.randrange(len(content)) :]
        found.append(bytes(content))
    return found


def test_no_body_makes_the_server_fail(client: httpx.Client) -> None:
    failed, refused = [], 0
    for content in bodies(1500):
        answer = client.post(PATH, content=content, headers=HEADERS)
        refused += 400 <= answer.status_code < 500
        if answer.status_code >= 500 or '"server_error"' in answer.text:
            failed.append((content[:300], answer.status_code, answer.text[:300]))
    assert not failed
    assert refused > 800
    assert post(client).status_code == 200


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"\xff", b'{"input": NaN}', b"[" * 100_000, b"{}"]
)
@pytest.mark.parametrize("path", [PATH, f"{PATH}/input_tokens"])
def test_what_is_no_body_is_refused(client: httpx.Client, path: str, content: bytes) -> None:
    answer = client.post(path, content=content, headers=HEADERS)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_no_body_makes_the_count_of_its_tokens_fail(client: httpx.Client) -> None:
    dice, refused = random.Random(3), 0
    for _ in range(300):
        body = {"input": "Hi", dice.choice(COUNTED): dice.choice(ODD_ITEMS)}
        content = json.dumps(body)
        answer = client.post(f"{PATH}/input_tokens", content=content, headers=HEADERS)
        assert answer.status_code in (200, 400, 404), (body, answer.text)
        refused += answer.status_code != 200
    assert refused > 150


@pytest.mark.parametrize("depth", [30, 500, 5000])
def test_deep_nesting_is_refused_or_read(client: httpx.Client, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for body in (
        f'{{"input": [{{"role": "user", "content": "x", "more": {nested}}}]}}',
        f'{{"input": "x", "max_output_tokens": 1, "tools": [{{"type": "function", "name": "f", '
        f'"parameters": {{"enum": {nested}}}}}]}}',
        f'{{"input": "x", "max_output_tokens": 1, "text": {{"format": {{"type": "json_schema", '
        f'"name": "s", "schema": {{"enum": {nested}}}}}}}}}',
    ):
        answer = client.post(PATH, content=body.encode(), headers=HEADERS)
        assert answer.status_code in (200, 400)


@pytest.mark.parametrize("id", ["x", "%00", "😀", "..", "x" * 5000])
@pytest.mark.parametrize("path", ["", "/cancel", "/input_items"])
def test_an_id_that_is_none_is_not_found(client: httpx.Client, id: str, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = client.request(method, f"{PATH}/{id}{path}")
        assert answer.status_code in (404, 405)
