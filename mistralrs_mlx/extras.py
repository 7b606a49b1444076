"""Importing optional packages, even where the user's script has the name of one.

Python looks beside the running script before it looks at what is installed: within `regex.py`, an
import of regex finds that script again. Examples of mistral.rs have such names.
"""

import sys
import threading
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

__all__ = ["extra"]

_IMPORTING = threading.RLock()  # a package may lead here again while it is imported


def extra(name: str) -> ModuleType:
    """Import an installed package by its top-level name, never a script that lies in the way.

    Whoever imports it later gets the same. Raises `ModuleNotFoundError`.
    """
    with _IMPORTING:
        found = None if name in sys.modules else find_spec(name)
        if found is None or not _is_script(found, name):
            return import_module(name)
        folder = _folder(found)
        rest = [place for place in sys.path if Path(place).resolve() != folder]
        return _loaded(PathFinder.find_spec(name, rest), name)


def _is_script(found: ModuleSpec, name: str) -> bool:
    """Whether this is a lone file beside the running script, or where Python was started."""
    if found.origin is None or Path(found.origin).name != f"{name}.py":
        return False
    main = sys.modules["__main__"].__dict__.get("__file__")
    return _folder(found) in {Path.cwd(), *([Path(main).resolve().parent] if main else [])}


def _folder(found: ModuleSpec) -> Path:
    return Path(found.origin or "").resolve().parent


def _loaded(found: ModuleSpec | None, name: str) -> ModuleType:
    if found is None or found.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}, but a script", name=name)
    module = sys.modules[name] = module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except BaseException:  # half a module must not stay, as in any import
        del sys.modules[name]
        raise
    return module
