"""A Python function is a tool: its schema is read off its signature."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from mistralrs_mlx.api.functions import json_type
from mistralrs_mlx.api.tools import tool_schema
from mistralrs_mlx.errors import RequestError


class Unit(Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


def weather(city: Annotated[str, "Where"], days: int = 1, unit: Unit = Unit.CELSIUS) -> str:
    """Tell the
    weather.

    Not for the model.
    """
    return f"{city} {days} {unit}"


class Clock:
    """Tell the time."""

    def __call__(self, zone: str) -> str:
        return zone


@dataclass
class Place:
    x: int
    y: str


class Point(TypedDict):
    x: int
    y: NotRequired[str]


class Node:
    """Describes itself as pydantic's classes do."""

    kind = "integer"

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"$defs": {"N": {"type": cls.kind}}, "$ref": "#/$defs/N"}


class OtherNode(Node):
    kind = "string"


@dataclass
class Chain:
    rest: "Chain"


PLACE = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "string"}},
    "required": ["x", "y"],
}


def test_a_function_is_described_by_its_signature_and_docstring() -> None:
    tool = tool_schema(weather, "tool_schemas[0]")
    assert (tool.name, tool.description) == ("weather", "Tell the weather.")
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where"},
            "days": {"type": "integer"},
            "unit": {"type": "string", "enum": ["c", "f"]},
        },
        "required": ["city"],
    }


def test_a_function_without_annotations_takes_anything() -> None:
    tool = tool_schema(lambda x: x, "tool_schemas[0]")
    assert (tool.name, tool.description) == ("<lambda>", None)
    assert tool.parameters == {"type": "object", "properties": {"x": {}}, "required": ["x"]}


def test_an_object_that_can_be_called_is_named_after_its_class() -> None:
    tool = tool_schema(Clock(), "tool_schemas[0]")
    assert (tool.name, tool.parameters) == (
        "Clock",
        {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    )


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (Any, {}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (tuple[int, str], {"type": "array"}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (set[str], {"type": "array", "items": {"type": "string"}}),
        (Place, PLACE),
        (Point, {**PLACE, "required": ["x"]}),
        (complex, {}),
    ],
)
def test_a_type_becomes_a_schema(annotation: Any, schema: dict[str, Any]) -> None:
    assert json_type(annotation) == schema


def test_definitions_of_classes_are_found_from_the_root() -> None:
    def draw(a: Node, *, rest: list[Node] | None = None) -> None: ...

    parameters = tool_schema(draw, "x").parameters or {}
    assert parameters["$defs"] == {"N": {"type": "integer"}}
    assert parameters["properties"]["a"] == {"$ref": "#/$defs/N"}
    assert parameters["properties"]["rest"]["anyOf"][0]["items"] == {"$ref": "#/$defs/N"}


def test_definitions_that_differ_under_one_name_are_refused() -> None:
    def draw(a: Node, b: OtherNode) -> None: ...

    with pytest.raises(RequestError, match="two of its classes are named N; give a JSON schema"):
        tool_schema(draw, "tool_schemas[0]")


def test_a_partial_function_is_described_as_the_whole_one_is() -> None:
    tool = tool_schema(partial(weather, "Oslo"), "tool_schemas[0]")
    assert (tool.name, tool.description) == ("weather", "Tell the weather.")
    assert list((tool.parameters or {})["properties"]) == ["days", "unit"]


def test_a_class_within_itself_is_refused() -> None:
    def follow(chain: Chain) -> None: ...

    with pytest.raises(RequestError, match="recursion"):
        tool_schema(follow, "tool_schemas[0]")


def test_a_function_whose_arguments_cannot_be_read_is_refused() -> None:
    unreadable: list[Callable[..., Any]] = [min, partial(min, 1)]
    for function in unreadable:
        with pytest.raises(RequestError, match="cannot read the arguments"):
            tool_schema(function, "tool_schemas[0]")
