"""What the server tells about itself is true and complete."""

import re
from typing import Any

import httpx
import jsonschema
import pytest

from mistralrs_mlx import Runner
from mistralrs_mlx.server import Settings
from mistralrs_mlx.server.app import ROUTES
from mistralrs_mlx.server.described import description

from .asking import CHAT, chat
from .conftest import live

STREAMED = {CHAT, "/v1/completions", "/v1/messages", "/v1/responses"}
THEMSELVES = {"/", "/ui", "/docs", "/openapi.json", "/api-doc/openapi.json"}


def schema(name: str) -> dict[str, Any]:
    """The schema of a type, with all that it refers to."""
    return {"$ref": f"#/components/schemas/{name}", **description()}


def test_every_route_is_described() -> None:
    routes = {re.sub(":path", "", route.path) for route in ROUTES}
    assert routes - THEMSELVES == set(description()["paths"])


def test_the_description_is_served(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == description()


def test_answers_are_as_described(client: httpx.Client) -> None:
    for path, name in (("/v1/models", "Cards"), ("/v1/nothing", "Envelope")):
        jsonschema.validate(client.get(path).json(), schema(name))
    asked = chat(client, logprobs=True, top_logprobs=1)
    jsonschema.validate(asked.json(), schema("ChatAnswer"))


@pytest.mark.parametrize(
    ("body", "right"),
    [
        ({"messages": "Hi", "max_tokens": 1, "stop": ["x"], "logit_bias": {"5": 1}}, True),
        ({"messages": "Hi", "max_tokens": 0}, False),
        ({"messages": 5}, False),
        ({"messages": "Hi", "no_such_field": 1}, False),
    ],
)
def test_a_body_is_right_for_the_server_if_it_is_as_described(
    client: httpx.Client, body: dict[str, Any], right: bool
) -> None:
    kind = jsonschema.Draft202012Validator(schema("ChatBody"))
    assert kind.is_valid(body) == right == (client.post(CHAT, json=body).status_code == 200)


@pytest.mark.parametrize("path", ["/", "/ui", "/docs"])
def test_a_page_loads_nothing_from_elsewhere(client: httpx.Client, path: str) -> None:
    page = client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://|innerHTML|eval\(|import\(", page.text)


def test_pages_are_shown_without_the_key_that_they_ask_for(runner: Runner) -> None:
    with live(runner, Settings(api_key="sesame")) as url:
        for path in ("/", "/ui", "/docs"):
            assert httpx.get(url + path).status_code == 200
        for path in ("/openapi.json", "/api-doc/openapi.json"):
            assert httpx.get(url + path).status_code == 401


def test_a_wrong_method_is_told_all_that_the_path_has(client: httpx.Client) -> None:
    for path, methods in (("/v1/responses/x", "DELETE, GET, HEAD"), (CHAT, "POST")):
        answer = client.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


def test_every_stream_says_what_its_events_are() -> None:
    for path, operations in description()["paths"].items():
        content = operations.get("post", {"responses": {"200": {}}})["responses"]["200"]
        streamed = "text/event-stream" in content.get("content", {})
        assert streamed == (path in STREAMED)
