"""What one rendering of a chat template may take: steps, seconds and bytes.

A template's author is a stranger, and one line can ask for more memory than there is. So values are
weighed as they are made; those that could be large at once are refused before.
"""

import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from mistralrs_mlx.errors import TemplateError

__all__ = ["Spending", "current", "size_of_call", "size_of_format", "spending"]

MOST_STEPS = 1_000_000  # a few seconds; real templates take a few steps per message
MOST_SECONDS = 30.0
MOST_BYTES = 1 << 30  # of all values together, most of which are gone again soon
MOST_WRITTEN = 128 << 20  # of what is written, once more by each macro or block around it
LARGEST = 32 << 20  # bytes of one value with all that is in it: several million tokens
WIDEST = 1000  # columns that a text is filled up to
WIDTHS = frozenset({"batch", "center", "expandtabs", "indent", "ljust", "rjust", "slice", "zfill"})
TEXTS = (str, bytes)
SIZED = (str, bytes, list, tuple, dict)
NUMBER = re.compile(r"\d+")
PERCENT = re.compile(r"%(?:\([^)]*\))?([^a-zA-Z%(]*)")  # width and precision of a field
BRACES = re.compile(r"\{[^{}:]*:?([^{}]*)")
NESTED = re.compile(r"\{[^{}]*:[^{}]*\{")

T = TypeVar("T")
_current: ContextVar["Spending"] = ContextVar("spending")


class Spending:
    """What a template has taken by now. Raises `TemplateError` when it is too much."""

    def __init__(self) -> None:
        self._steps = self._bytes = self._written = 0
        self._end = time.monotonic() + MOST_SECONDS
        self._weights: dict[int, tuple[object, int]] = {}  # with the object, so that its id stays

    def step(self) -> None:
        """Take a turn of a loop, or call a macro."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise TemplateError(f"The chat template gave no end after {MOST_STEPS:,} loop steps")
        if time.monotonic() > self._end:
            raise TemplateError(f"The chat template gave no end within {MOST_SECONDS:g} s")

    def made(self, value: T, weight: int | None = None) -> T:
        """Account for a value that was made, and return it. `weight` saves looking into it."""
        if isinstance(value, SIZED):
            if weight is not None and not isinstance(value, TEXTS):
                self._weights[id(value)] = (value, weight)
            self.expect(self.weight(value))
            self._bytes += sys.getsizeof(value)
            if self._bytes > MOST_BYTES:
                raise TemplateError(f"The chat template makes texts of more than {MOST_BYTES:,} B")
        return value

    def written(self, value: T) -> T:
        """Account for what is written: blocks and macros gather that of all their turns."""
        self._written += self.weight(value)
        if self._written > MOST_WRITTEN:
            raise TemplateError(f"The chat template writes more than {MOST_WRITTEN:,} B")
        return value

    def expect(self, size: int) -> None:
        """Refuse a value of so many bytes."""
        if size > LARGEST:
            raise TemplateError(
                f"The chat template makes a text or list of {size:,} B; at most {LARGEST:,} B fit"
            )

    def weight(self, value: object) -> int:
        """The bytes of a value written out: what is in it twice counts twice."""
        if isinstance(value, TEXTS):
            return sys.getsizeof(value)
        if not isinstance(value, SIZED):
            return 8
        if (known := self._weights.get(id(value))) is not None:
            return known[1]
        parts = (*value, *value.values()) if isinstance(value, dict) else value
        size = sys.getsizeof(value) + sum(map(self.weight, parts))
        self._weights[id(value)] = (value, size)
        return size


@contextmanager
def spending() -> Iterator[None]:
    """Within it, this thread's templates may take what one rendering may."""
    token = _current.set(Spending())
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Spending:
    """What is being spent by the template under way."""
    return _current.get()


def size_of_call(name: str, text: object, arguments: Sequence[Any]) -> int:
    """The most bytes that a method or filter adds to a text, if that can be much.

    Raises `TemplateError` for widths that no text has.
    """
    if name in WIDTHS and any(isinstance(each, int) and each > WIDEST for each in arguments):
        raise TemplateError(f"The chat template calls {name} with more than {WIDEST}")
    if not isinstance(text, str):
        return 0
    match name, arguments:
        case "replace", [str(old), str(new), *_]:
            return text.count(old) * len(new)
        case "expandtabs", [int(width), *_]:
            return text.count("\t") * width
        case "indent", [int() | str() as width, *_]:
            return (text.count("\n") + 1) * (width if isinstance(width, int) else len(width))
        case "join", [list() | tuple() as parts, *_]:
            return len(text) * len(parts)
    return 0


def size_of_format(form: str, values: object, *, percent: bool) -> int:
    """The most bytes of a text whose fields are filled in, as `%` does it or as `str.format`."""
    plain = form if percent else form.replace("{{", "").replace("}}", "")
    fields = (PERCENT if percent else BRACES).findall(plain)
    digits = [each for field in fields for each in NUMBER.findall(field)]
    if any(len(each) > 3 for each in digits) or any("*" in field for field in fields if percent):
        raise TemplateError("The chat template formats a text with a width beyond 999")
    if not percent and NESTED.search(plain):
        raise TemplateError("The chat template formats a text with a width from a variable")
    filled = values.values() if isinstance(values, Mapping) else values
    parts = filled if isinstance(filled, Iterable) and not isinstance(filled, str) else [filled]
    return sum(map(int, digits)) + len(fields) * max(map(current().weight, parts), default=0)
