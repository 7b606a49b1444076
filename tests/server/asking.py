"""Short ways to ask a live server."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from mistralrs_mlx import Runner
from mistralrs_mlx.engine.worker import worker

__all__ = ["CHAT", "busy", "chat", "chunks", "exactly", "until"]

CHAT = "/v1/chat/completions"


def chat(client: httpx.Client, **fields: Any) -> httpx.Response:
    """A greedy chat of a few tokens, unless the fields say otherwise."""
    fields = {"messages": "Hello", "max_tokens": 8, "temperature": 0, **fields}
    return client.post(CHAT, json=fields)


def chunks(client: httpx.Client, path: str = CHAT, **fields: Any) -> list[dict[str, Any]]:
    """What a stream's events say, without the one that ends it."""
    fields = {"max_tokens": 8, "temperature": 0, "stream": True, **fields}
    if path == CHAT:
        fields = {"messages": "Hello"} | fields
    text = client.post(path, json=fields).text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line[:5] == "data:"]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def exactly(text: str) -> dict[str, Any]:
    """The fields of a chat whose answer can only be this text."""
    return {"grammar": {"type": "regex", "value": re.escape(text)}, "max_tokens": 300}


def busy(runner: Runner) -> bool:
    """Whether the runner's engine has anything left to do."""
    return worker().call(lambda: runner._find(None)[0].engine.busy)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
