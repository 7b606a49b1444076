"""Short ways to ask one of several models of a `Runner`, for tests of their management."""

from pathlib import Path
from typing import Any

from mistralrs_mlx import ChatCompletionRequest, Runner, Which

__all__ = ["ONE", "TWO", "WEIGHTS", "ask", "pair", "plain", "said"]

WEIGHTS = 448_768  # bytes of the tiny model
ONE = "800KiB"  # room for one tiny model and a few rows
TWO = "1100KiB"  # for two of them, and one row


def plain(folder: Path) -> Which:
    return Which.Plain(model_id=str(folder))


def pair(folder: Path, memory_goal: str | None = None, **options: Any) -> Runner:
    """Two models of one checkpoint, `a` and `b`; what does not fit is unloaded."""
    runner = Runner(plain(folder), memory_goal=memory_goal, **options)
    for name in ("a", "b"):
        runner.add_model(plain(folder), name)
    runner.remove_model(str(folder))
    return runner


def ask(runner: Runner, model_id: str | None = None, **options: Any) -> Any:
    """A greedy answer of a few tokens by this model, unless the options say otherwise."""
    options = {"messages": "Hello there", "max_tokens": 8, "temperature": 0.0, **options}
    return runner.send_chat_completion_request(
        ChatCompletionRequest(model="default", **options), model_id
    )


def said(response: Any) -> str:
    """What the first choice says, or all that a stream says."""
    if not isinstance(response, list):
        return response.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in response)
