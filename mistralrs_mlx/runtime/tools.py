"""Running the tools that a model calls: `Runner(tool_callbacks=...)`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mistralrs_mlx.api.agents import AgenticToolCallRecord
from mistralrs_mlx.api.functions import summary_of
from mistralrs_mlx.api.requests import ChatCompletionRequest
from mistralrs_mlx.api.tools import ToolSchema
from mistralrs_mlx.api.validation import validate_tool_choice, validate_tools
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.text.parsers.calls import ToolCall

__all__ = [
    "Callback",
    "Callbacks",
    "OwnTool",
    "checked_callbacks",
    "follow_up",
    "offered_tools",
    "run_calls",
    "with_callbacks",
]

Callback = Callable[[str, dict[str, Any]], str]
"""Called with the name of a tool and the arguments; it returns the result."""

Callbacks = Mapping[str, Callback]
"""By the name of a tool: what runs it."""


@dataclass(frozen=True)
class OwnTool:
    """A callback of this package, which knows what it takes."""

    schema: ToolSchema
    run: Callback

    def __call__(self, name: str, arguments: dict[str, Any]) -> str:
        return self.run(name, arguments)


def checked_callbacks(callbacks: object) -> Callbacks:
    """The callbacks that a user gave, if they are that."""
    if callbacks is None:
        return {}
    if not isinstance(callbacks, Mapping):
        raise RequestError(
            f"tool_callbacks is {callbacks!r}; it must be a dict from the names of tools to "
            "functions that take (name, arguments)"
        )
    for name, callback in callbacks.items():
        if not isinstance(name, str) or not callable(callback):
            raise RequestError(f"tool_callbacks[{name!r}] is {callback!r}, not a function")
    return dict(callbacks)


def offered_tools(request: ChatCompletionRequest, callbacks: Callbacks) -> list[ToolSchema]:
    """The tools that the model is told of; raises `RequestError` if those asked for are not."""
    use = validate_tool_choice(request)
    tools = with_callbacks(validate_tools(request), callbacks)
    if use.mode == "required" and not tools:
        raise RequestError("tool_choice asks for a call, but there are no tool_schemas")
    if use.name is not None and use.name not in {tool.name for tool in tools}:
        raise RequestError(f"tool_choice names {use.name!r}, which is not in tool_schemas")
    return [] if use.mode == "none" else tools


def with_callbacks(tools: Sequence[ToolSchema], callbacks: Callbacks) -> list[ToolSchema]:
    """The tools of a request and those callbacks that it does not describe itself.

    A callback takes (name, arguments), so its signature says nothing about its parameters.
    """
    described = {tool.name for tool in tools}
    more = [
        _described(name, callback) for name, callback in callbacks.items() if name not in described
    ]
    return [*tools, *more]


def run_calls(
    calls: Sequence[ToolCall], callbacks: Callbacks, round_number: int
) -> list[AgenticToolCallRecord]:
    """Run every call, in order. What goes wrong in one becomes its result."""
    return [
        AgenticToolCallRecord(
            round=round_number,
            name=call.name,
            arguments=call.arguments,
            result_content=_result(callbacks[call.name], call),
        )
        for call in calls
    ]


def follow_up(
    content: str, calls: Sequence[ToolCall], records: Sequence[AgenticToolCallRecord]
) -> list[dict[str, Any]]:
    """The messages that carry on a conversation after tools were run."""
    asked = {
        "role": "assistant",
        "content": content or None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ],
    }
    results = [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "name": call.name,
            "content": record.result_content,
        }
        for call, record in zip(calls, records, strict=True)
    ]
    return [asked, *results]


def _described(name: str, callback: Callback) -> ToolSchema:
    if isinstance(callback, OwnTool):
        return callback.schema
    return ToolSchema(name=name, description=summary_of(callback), parameters={"type": "object"})


def _result(callback: Callback, call: ToolCall) -> str:
    try:
        result = callback(call.name, json.loads(call.arguments))
    except Exception as error:  # the user's code: the model is told, and may try something else
        return _failed(call.name, f"{type(error).__name__}: {error}")
    if not isinstance(result, str):
        return _failed(call.name, f"TypeError: it returned {type(result).__name__}, not str")
    return result


def _failed(name: str, error: str) -> str:
    told = {"error": error, "tool": name, "status": "failed"}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))  # as compact as there
