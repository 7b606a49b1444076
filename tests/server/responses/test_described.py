"""Responses and their items are as /openapi.json describes them."""

from typing import Any

import httpx
import jsonschema
import pytest

from mistralrs_mlx.server.described import description

from .saying import CALL, PATH, TOOL, only, post


def schema(name: str) -> dict[str, Any]:
    """The schema of a type, with all that it refers to."""
    return {"$ref": f"#/components/schemas/{name}", **description()}


@pytest.mark.parametrize(
    "fields",
    [
        {"top_logprobs": 1},
        {"background": True},
        {"tools": [TOOL], "tool_choice": "none", "text": {}, "reasoning": {"effort": "low"}},
        {"tools": [TOOL], "max_output_tokens": 300, **only(CALL)["extra_body"]},
    ],
)
def test_a_response_is_as_described(client: httpx.Client, fields: dict[str, Any]) -> None:
    answer = post(client, **fields)
    id = answer.json()["id"]
    jsonschema.validate(answer.json(), schema("Answer"))
    jsonschema.validate(client.get(f"{PATH}/{id}/input_items").json(), schema("Items"))
    jsonschema.validate(client.delete(f"{PATH}/{id}").json(), schema("Deleted"))


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"metadata": {"a": "b"}, "text": {"format": {"type": "json_object"}}}, True),
        ({"input": [{"role": "user", "content": "Hi"}]}, True),
        ({"input": 5}, False),
        ({"max_output_tokens": 0}, False),
        ({"metadata": {"a": 5}}, False),
        ({"no_such_field": 1}, False),
    ],
)
def test_a_body_is_right_for_the_server_if_it_is_as_described(
    client: httpx.Client, fields: dict[str, Any], right: bool
) -> None:
    kind = jsonschema.Draft202012Validator(schema("ResponsesBody"))
    assert kind.is_valid({"input": "Hi"} | fields) == right
    assert (post(client, **fields).status_code == 200) == right
