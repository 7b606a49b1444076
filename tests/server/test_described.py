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


def test_the_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://|innerHTML|eval\(", page.text)


def test_the_page_is_shown_without_the_key_that_it_asks_for(runner: Runner) -> None:
    with live(runner, Settings(api_key="sesame")) as url:
        assert httpx.get(url).status_code == 200
        assert httpx.get(f"{url}/openapi.json").status_code == 401
