"""Short ways to ask for responses."""

import json
from typing import Any

import httpx
import openai

from tests.server.asking import exactly

__all__ = ["CALL", "PATH", "TOOL", "ask", "events", "only", "post"]

PATH = "/v1/responses"
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "strict": False,
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call>'


def ask(ai: openai.OpenAI, **options: Any) -> Any:
    """A greedy response of a few tokens, unless the options say otherwise."""
    given = {"model": "default", "input": "Hello", "max_output_tokens": 8, "temperature": 0}
    return ai.responses.create(**given | options)


def post(client: httpx.Client, **fields: Any) -> httpx.Response:
    """The same without OpenAI's client."""
    return client.post(
        PATH, json={"input": "Hello", "max_output_tokens": 8, "temperature": 0, **fields}
    )


def only(text: str) -> dict[str, Any]:
    """The options of a response that can only be this text."""
    return {"extra_body": {"grammar": exactly(text)["grammar"]}, "max_output_tokens": 300}


def events(text: str) -> list[dict[str, Any]]:
    """What a stream's events say. Each must be named as its type is."""
    found = []
    for block in text.split("\n\n"):
        if block.startswith("event: "):
            name, _, data = block.partition("\n")
            found.append(json.loads(data.removeprefix("data: ")))
            assert name.removeprefix("event: ") == found[-1]["type"]
    return found
