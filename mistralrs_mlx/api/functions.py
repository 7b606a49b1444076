"""JSON schemas of Python functions, so that a function can be given to a model as a tool."""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import is_dataclass
from enum import Enum
from functools import partial
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Protocol,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
    runtime_checkable,
)

__all__ = ["SchemaModel", "json_type", "parameters_of", "summary_of"]

_PLAIN: dict[Any, dict[str, Any]] = {
    Any: {},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    int: {"type": "integer"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    dict: {"type": "object"},
    list: {"type": "array"},
    set: {"type": "array"},
    tuple: {"type": "array"},
}
_DEFINITIONS = "$defs"


@runtime_checkable
class SchemaModel(Protocol):
    """A pydantic model class, or anything that describes itself as one does."""

    def model_json_schema(self) -> dict[str, Any]:
        """Its JSON schema."""


def summary_of(function: Callable[..., Any]) -> str | None:
    """The first paragraph of its docstring, on one line."""
    whose = function.func if isinstance(function, partial) else function
    paragraph = (inspect.getdoc(whose) or "").split("\n\n")[0]
    return " ".join(paragraph.split()) or None


def parameters_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The JSON schema of its arguments, read off names, annotations and defaults.

    Raises `NameError`, `RecursionError`, `TypeError` or `ValueError` if they cannot be read.
    """
    hints = get_type_hints(_body(function), include_extras=True)
    named = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    required = [name for name, one in named.items() if one.default is one.empty]
    return _members({name: hints.get(name, Any) for name in named}, required)


def json_type(annotation: Any) -> dict[str, Any]:
    """The JSON schema of a type; `{}`, anything, where there is no telling."""
    builder = _GENERIC.get(get_origin(annotation))
    if builder is not None:
        return builder(get_args(annotation))
    if annotation in _PLAIN:
        return dict(_PLAIN[annotation])
    return _class(annotation) if isinstance(annotation, type) else {}


def _body(function: Callable[..., Any]) -> Any:
    """The function that has the annotations of a function, of a class or of a callable object."""
    if isinstance(function, partial):
        return _body(function.func)
    if isinstance(function, type):
        return inspect.getattr_static(function, "__init__")
    return function if inspect.isroutine(function) else type(function).__call__


def _class(kind: type) -> dict[str, Any]:
    if isinstance(kind, SchemaModel):
        return deepcopy(kind.model_json_schema())
    if is_dataclass(kind):
        return parameters_of(kind)
    if is_typeddict(kind):
        keys: frozenset[str] = kind.__required_keys__  # type: ignore[attr-defined]
        hints = get_type_hints(kind, include_extras=True)
        return _members(hints, [name for name in hints if name in keys])
    return _literal([one.value for one in kind]) if issubclass(kind, Enum) else {}


def _members(kinds: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    properties = {name: json_type(kind) for name, kind in kinds.items()}
    schema = {"type": "object", "properties": properties, "required": list(required)}
    shared: dict[str, Any] = {}
    _gather(properties, shared)
    return {**schema, _DEFINITIONS: shared} if shared else schema


def _gather(schema: Any, shared: dict[str, Any]) -> None:
    """Take out what classes define for themselves, since references lead to a schema's root."""
    children: list[Any] = schema if isinstance(schema, list) else []
    if isinstance(schema, dict):
        own = schema.pop(_DEFINITIONS, {}) if isinstance(schema.get(_DEFINITIONS), dict) else {}
        for name, definition in own.items():
            if shared.setdefault(name, definition) != definition:
                raise ValueError(f"two of its classes are named {name}")
        children = list(schema.values())
    for child in children:
        _gather(child, shared)


def _annotated(arguments: Sequence[Any]) -> dict[str, Any]:
    schema = json_type(arguments[0])
    words = [one for one in arguments[1:] if isinstance(one, str)]
    return {**schema, "description": words[0]} if words else schema


def _inner(arguments: Sequence[Any]) -> dict[str, Any]:
    return json_type(arguments[0])


def _union(arguments: Sequence[Any]) -> dict[str, Any]:
    return {"anyOf": [json_type(one) for one in arguments]}


def _literal(values: Sequence[Any]) -> dict[str, Any]:
    kinds = {type(one) for one in values}
    return {**(json_type(kinds.pop()) if len(kinds) == 1 else {}), "enum": list(values)}


def _array(arguments: Sequence[Any]) -> dict[str, Any]:
    return {"type": "array", "items": json_type(arguments[0])}


def _tuple(arguments: Sequence[Any]) -> dict[str, Any]:
    return _array(arguments) if arguments[1:] == (...,) else {"type": "array"}


def _object(arguments: Sequence[Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": json_type(arguments[1])}


_GENERIC: dict[Any, Callable[[Sequence[Any]], dict[str, Any]]] = {
    Annotated: _annotated,
    Literal: _literal,
    Mapping: _object,
    NotRequired: _inner,
    Required: _inner,
    Sequence: _array,
    Union: _union,
    dict: _object,
    list: _array,
    set: _array,
    tuple: _tuple,
    types.UnionType: _union,
}
