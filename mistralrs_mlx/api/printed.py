"""How mistral.rs prints things: Rust's `Debug`, over many lines or on one."""

import dataclasses
import math
import struct
import unicodedata
from functools import cache
from typing import Any, cast, get_args

from .wire import WireEnum

__all__ = ["debug_repr", "one_line", "single"]

INDENT = "    "
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}

# Other_Grapheme_Extend of Unicode's PropList: marks that join to what precedes them.
_JOINING = frozenset(
    "\u09be\u09d7\u0b3e\u0b57\u0bbe\u0bd7\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dcf\u0ddf\u1b35"
    "\u200c\u302e\u302f\uff9e\uff9f"
)


def debug_repr(value: Any, indent: int | None = 0) -> str:
    """Rust's `{:#?}` of a value that starts `indent` steps deep; None: `{:?}`, on one line."""
    if isinstance(value, list | tuple | bytes):
        return _block("[", [debug_repr(item, _deeper(indent)) for item in value], "]", indent)
    return _fields(value, indent) if dataclasses.is_dataclass(value) else _scalar(value)


def one_line(value: Any, *names: str) -> str:
    """`Name(first=1, second=Some("x"))`, as mistral.rs prints its settings."""
    shown = (f"{name}={_member(value, name, None)}" for name in names)
    return f"{type(value).__name__}({', '.join(shown)})"


def single(value: float) -> float:
    """The nearest 32-bit float, widened again: what reading a Rust `f32` from Python gives."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "None", True: "true", False: "false"}[value]
    if isinstance(value, WireEnum):
        return value.name
    if isinstance(value, float):
        return _float(value)
    return _string(value) if isinstance(value, str) else repr(value)


def _fields(value: Any, indent: int | None) -> str:
    deeper = _deeper(indent)
    members = [
        f"{field.name}: {_member(value, field.name, deeper)}" for field in dataclasses.fields(value)
    ]
    name = type(value).__name__
    return _block(f"{name} {{", members, "}", indent, padded=True)


def _member(value: Any, name: str, indent: int | None) -> str:
    content, kind = getattr(value, name), cast(Any, type(value))
    if content is None or name not in _optional(kind):
        return debug_repr(content, indent)
    return _block("Some(", [debug_repr(content, _deeper(indent))], ")", indent)


@cache
def _optional(kind: Any) -> frozenset[str]:
    """The fields that may be None: Rust wraps what they hold in `Some`."""
    return frozenset(
        field.name for field in dataclasses.fields(kind) if type(None) in get_args(field.type)
    )


def _block(
    start: str, items: list[str], end: str, indent: int | None, *, padded: bool = False
) -> str:
    if not items:
        return start + end
    if indent is None:
        inside = ", ".join(items)
        return f"{start} {inside} {end}" if padded else f"{start}{inside}{end}"
    lines = "".join(f"{INDENT * (indent + 1)}{item},\n" for item in items)
    return f"{start}\n{lines}{INDENT * indent}{end}"


def _deeper(indent: int | None) -> int | None:
    return None if indent is None else indent + 1


def _float(value: float) -> str:
    """The shortest digits that read back as the same 32-bit float."""
    if math.isnan(value):
        return "NaN"
    value = single(value)
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    digits = next(
        text for places in range(9) if single(float(text := f"{value:.{places}e}")) == value
    )
    if value == 0 or single(1e-4) <= abs(value) < single(1e16):
        return repr(float(digits))
    mantissa, exponent = digits.split("e")
    return f"{mantissa}e{int(exponent)}"


def _string(text: str) -> str:
    return f'"{"".join(_ESCAPES.get(char) or _escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    if char.isascii() and char.isprintable():
        return char
    joins = unicodedata.category(char) in ("Mn", "Me") or char in _JOINING
    return char if char.isprintable() and not joins else f"\\u{{{ord(char):x}}}"
