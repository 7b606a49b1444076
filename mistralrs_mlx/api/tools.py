"""Tools that a request offers, and whether the model may or must call one."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from mistralrs_mlx.errors import RequestError

from .checks import Rule, mistyped
from .enums import ToolChoice
from .functions import SchemaModel, parameters_of, summary_of
from .wire import find

__all__ = ["CHOICE", "SOURCE", "ToolSchema", "ToolSource", "ToolUse", "tool_schema", "tool_use"]

ToolSource = str | Mapping[str, Any] | Callable[..., Any]  # JSON, the same parsed, or a function
FIRST_KEYS = ("type", "properties", "required", "additionalProperties")


@dataclass(frozen=True, kw_only=True)
class ToolSchema:
    """A function that the model may call. `strict` holds its arguments to `parameters`."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def openai(self) -> dict[str, Any]:
        """In OpenAI's shape, as chat templates expect it."""
        members = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": self.strict,
        }
        said = {key: value for key, value in members.items() if value is not None}
        return {"type": "function", "function": said}


@dataclass(frozen=True, kw_only=True)
class ToolUse:
    """Whether the model may call tools, and the one that it must call, if there is one."""

    mode: Literal["none", "auto", "required"]
    name: str | None = None


def tool_schema(source: ToolSource, where: str) -> ToolSchema:
    """What a tool's description says. `where` names it in messages: `tool_schemas[0]`."""
    if callable(source):
        return _of_function(source, where)
    tool = _parsed(source, where) if isinstance(source, str) else source
    function = _member(tool, "function", Mapping, where)
    if tool.get("type", "function") != "function":
        raise RequestError(f"{where}: `type` must be 'function', found {tool['type']!r}")
    key = "parameters" if "parameters" in function else "arguments"
    parameters = _maybe(function, key, Mapping, where)
    return ToolSchema(
        name=_member(function, "name", str, where),
        description=_maybe(function, "description", str, where),
        parameters=None if parameters is None else _ordered(parameters),
        strict=_maybe(function, "strict", bool, where),
    )


def tool_use(choice: ToolChoice | str | Mapping[str, Any] | None) -> ToolUse:
    """What a checked `tool_choice` asks for; without one, the model may call what it likes."""
    if isinstance(choice, Mapping):
        return ToolUse(mode="required", name=choice["function"]["name"])
    if choice == "required":
        return ToolUse(mode="required")
    return ToolUse(mode="none" if choice == ToolChoice.NoTools else "auto")


def _of_function(function: Callable[..., Any], where: str) -> ToolSchema:
    try:
        parameters = _parameters(function)
    except (NameError, RecursionError, TypeError, ValueError) as error:
        raise RequestError(
            f"{where}: cannot read the arguments of {function!r}: {error}; give a JSON schema"
        ) from error
    return ToolSchema(
        name=_name(function),
        description=summary_of(function),
        parameters=parameters,
    )


def _name(function: Callable[..., Any]) -> str:
    if isinstance(function, partial):
        return _name(function.func)
    named = inspect.isroutine(function) or isinstance(function, type)
    return function.__name__ if named else type(function).__name__


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    if isinstance(function, SchemaModel):
        return function.model_json_schema()
    return parameters_of(function)


def _parsed(text: str, where: str) -> Mapping[str, Any]:
    try:
        tool = json.loads(text)
    except ValueError as error:
        raise RequestError(f"{where} is not JSON: {error}") from error
    if not isinstance(tool, Mapping):
        raise RequestError(f"{where} must be a JSON object, found {text[:60]!r}")
    return tool


def _member(holder: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    if key not in holder:
        raise RequestError(
            f"{where}: missing field `{key}`; the form is "
            '{"type": "function", "function": {"name": ..., "parameters": ...}}'
        )
    if not isinstance(holder[key], kind):
        raise RequestError(f"{where}: `{key}` is of the wrong type, found {holder[key]!r}")
    return holder[key]


def _maybe(holder: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    return None if holder.get(key) is None else _member(holder, key, kind, where)


def _ordered(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """In mistral.rs's order, which decides the prompt: the main keys first, then by alphabet."""
    keys = [key for key in FIRST_KEYS if key in parameters]
    rest = sorted(key for key in parameters if key not in FIRST_KEYS)
    return {key: parameters[key] for key in (*keys, *rest)}


def _choice(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        _member(_member(value, "function", Mapping, name), "name", str, name)
        return dict(value)
    if isinstance(value, str) and value.lower() in ("required", "any"):
        return "required"
    if not isinstance(value, str | ToolChoice):
        raise mistyped(name, "a ToolChoice, a string or a dict that names a function", value)
    member = find(ToolChoice, value)
    if member is None:
        raise RequestError(
            f"{name}: found {value!r}; expected 'auto', 'none', 'required' or "
            '{"type": "function", "function": {"name": ...}}'
        )
    return member


def _source(name: str, value: Any) -> Any:
    if not isinstance(value, str | Mapping) and not callable(value):
        raise mistyped(name, "JSON, a dict or a function", value)
    return value


CHOICE = Rule(expected="a ToolChoice", accept=_choice)
SOURCE = Rule(expected="JSON, a dict or a function", accept=_source)
