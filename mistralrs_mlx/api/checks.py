"""What constructors accept: one `Rule` per field, read off the field's annotation.

`rule(float | None)` accepts None and finite numbers; `Annotated[int, whole(1)]` brings its own
rule. A value of the wrong type is a `TypeError`; one that cannot be right is a `RequestError`.
"""

import math
import operator
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass
from os import PathLike, fspath
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from mistralrs_mlx.errors import RequestError

from .wire import WireEnum, find, members

__all__ = [
    "FILES",
    "PATH",
    "TEXT",
    "U32",
    "OutOfRange",
    "Rule",
    "bias",
    "either",
    "enum_rule",
    "items",
    "mistyped",
    "number",
    "rule",
    "unbuilt",
    "whole",
]

U32 = 2**32 - 1
U64 = 2**64 - 1
UNLISTED = (str, bytes, bytearray, Mapping, Set)  # collections that no list is made of


class OutOfRange(RequestError, OverflowError):
    """A whole number is too small or too large.

    Both an `OverflowError`, which is what scripts written for mistral.rs expect of a negative
    number, and a `ValueError`, as every other bad request is.
    """


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`accept(name, value)` returns what to store, or says why the value cannot be taken."""

    expected: str  # completes "must be ..."
    accept: Callable[[str, Any], Any]


def mistyped(name: str, expected: str, value: object) -> TypeError:
    """The error for a value of the wrong type."""
    return TypeError(f"argument {name!r} must be {expected}, found {_shown(value)}")


def items(value: object) -> list[Any] | None:
    """What stands in a list, a tuple, a range or an array, in order; None for anything else."""
    if isinstance(value, Collection) and not isinstance(value, UNLISTED):
        return list(value)
    return None


def whole(least: int = 0, most: int = U64, message: str | None = None) -> Rule:
    """Ints from `least` to `most`; numpy's too. `message` replaces the words for too small."""

    def accept(name: str, value: Any) -> int:
        try:
            found = operator.index(value)
        except TypeError:
            raise mistyped(name, "an int", value) from None
        if found < least:
            raise OutOfRange(f"{message or f'{name} must be at least {least}.'} Found {found}.")
        if found > most:
            raise OutOfRange(f"{name} must be at most {most}. Found {found}.")
        return found

    return Rule(expected="an int", accept=accept)


def number(above: float = -math.inf) -> Rule:
    """Finite numbers greater than `above`, as floats."""

    def accept(name: str, value: Any) -> float:
        found = _as_float(name, value)
        if not math.isfinite(found):
            raise RequestError(f"{name} must be a finite number. Found {found}.")
        if found <= above:
            raise RequestError(f"{name} must be greater than {above:g}. Found {found:g}.")
        return found

    return Rule(expected="a number", accept=accept)


def bias() -> Rule:
    """Numbers to add to a logit; minus infinity forbids the token."""

    def accept(name: str, value: Any) -> float:
        found = _as_float(name, value)
        if math.isnan(found) or found == math.inf:
            raise RequestError(f"{name} must be a finite number or -inf. Found {found}.")
        return found

    return Rule(expected="a number", accept=accept)


def enum_rule(kind: type[WireEnum], absent: WireEnum | None = None) -> Rule:
    """Members of an enum, or strings that name one; `absent` is what None means, if anything."""
    expected = f"{kind.__name__} or its name"

    def accept(name: str, value: Any) -> WireEnum:
        if value is None and absent is not None:
            return absent
        if isinstance(value, WireEnum | str) and (member := find(kind, value)) is not None:
            return member
        if not isinstance(value, str):
            raise mistyped(name, expected, value)
        known = ", ".join(one.value for one in members(kind))
        raise RequestError(f"{name}: {value!r} is no {kind.__name__}; expected one of: {known}")

    return Rule(expected=expected, accept=accept)


def unbuilt(feature: str) -> Rule:
    """Nothing but None: mistral.rs documents the argument, and this package lacks the feature."""

    def accept(_: str, value: Any) -> None:
        if value is not None:
            raise NotImplementedError(feature)

    return Rule(expected="None", accept=accept)


def rule(annotation: Any) -> Rule:
    """The rule that an annotation spells."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return next(one for one in annotation.__metadata__ if isinstance(one, Rule))
    if origin in (Union, UnionType):
        return either(*map(rule, arguments))
    if origin is list:
        return _each(rule(arguments[0]))
    if origin is dict:
        return _table(rule(arguments[0]), rule(arguments[1]))
    if origin is Callable or annotation is Callable:
        return Rule(expected="callable", accept=_callable)
    return _PLAIN.get(annotation) or _instance(annotation)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise mistyped(name, "a string", value)
    return value


def _path(name: str, value: Any) -> str:
    if isinstance(value, PathLike):
        value = fspath(value)
    if not isinstance(value, str):
        raise mistyped(name, "a string or a path", value)
    return value


def _files(name: str, value: Any) -> str | list[str]:
    if isinstance(value, list | tuple):
        return [_path(name, one) for one in value]
    parts = [part.strip() for part in _path(name, value).split(";") if part.strip()]
    return parts if len(parts) > 1 else _path(name, value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise mistyped(name, "True or False", value)
    return value


def _bytes(name: str, value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise mistyped(name, "bytes", value)
    return bytes(value)


def _callable(name: str, value: Any) -> Any:
    if not callable(value):
        raise mistyped(name, "callable", value)
    return value


def _none(name: str, value: Any) -> None:
    if value is not None:
        raise mistyped(name, "None", value)


def _as_float(name: str, value: Any) -> float:
    if not isinstance(value, str | bytes):
        try:
            return float(value)
        except TypeError:
            pass
    raise mistyped(name, "a number", value)


def _instance(kind: type) -> Rule:
    if issubclass(kind, WireEnum):
        return enum_rule(kind)

    def accept(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise mistyped(name, f"a {kind.__qualname__}", value)
        return value

    return Rule(expected=f"a {kind.__qualname__}", accept=accept)


def either(*rules: Rule) -> Rule:
    """What any of these accept, the first that can."""
    expected = " or ".join(one.expected for one in rules)

    def accept(name: str, value: Any) -> Any:
        if value is None and _NONE in rules:
            return None
        for one in rules:
            try:
                return one.accept(name, value)
            except TypeError:
                continue
        raise mistyped(name, expected, value)

    return Rule(expected=expected, accept=accept)


def _each(one: Rule) -> Rule:
    expected = f"a list, each item {one.expected}"

    def accept(name: str, value: Any) -> list[Any]:
        given = items(value)
        if given is None:
            raise mistyped(name, expected, value)
        return [one.accept(f"{name}[{index}]", item) for index, item in enumerate(given)]

    return Rule(expected=expected, accept=accept)


def _table(key: Rule, value: Rule) -> Rule:
    expected = f"a dict of {key.expected} to {value.expected}"

    def accept(name: str, given: Any) -> dict[Any, Any]:
        if not isinstance(given, Mapping):
            raise mistyped(name, expected, given)
        return {
            key.accept(f"{name}'s key", one): value.accept(f"{name}[{one!r}]", other)
            for one, other in given.items()
        }

    return Rule(expected=expected, accept=accept)


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"


TEXT = Rule(expected="a string", accept=_text)
PATH = Rule(expected="a string or a path", accept=_path)
FILES = Rule(expected="a string or a list of strings", accept=_files)
_NONE = Rule(expected="None", accept=_none)
_PLAIN: dict[Any, Rule] = {
    str: TEXT,
    bool: Rule(expected="True or False", accept=_flag),
    int: whole(),
    float: number(),
    bytes: Rule(expected="bytes", accept=_bytes),
    type(None): _NONE,
    Any: Rule(expected="anything", accept=lambda _, value: value),
}
