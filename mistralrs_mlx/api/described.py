"""Docstrings that list arguments: `help()` shows them, and docs/api.md is made from them."""

import inspect
import re
from collections.abc import Iterable

__all__ = ["arguments", "with_arguments"]

LISTED = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def arguments(documented: object) -> dict[str, str]:
    """What a docstring says of each argument below `Args:`, in the lines that it has there."""
    _, _, listed = (inspect.getdoc(documented) or "").partition("\nArgs:\n")
    return dict(LISTED.findall(listed))


def with_arguments(kind: type, names: Iterable[str]) -> str | None:
    """The docstring of a class, and what that of its parent says of arguments that it has."""
    shared = arguments(kind.__bases__[0])
    lines = [f"    {name}: {shared[name]}" for name in names if name in shared]
    return "\n".join([inspect.getdoc(kind) or "", "", "Args:", *lines]) if lines else kind.__doc__
