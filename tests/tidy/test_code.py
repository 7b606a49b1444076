"""Habits that the package keeps, whatever a linter would let pass."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.source import Source, calls, functions, sources, texts

BROAD = ("Exception", "BaseException")
CATCHES_ALL = {  # path -> why it must catch whatever comes
    "mistralrs_mlx/engine/engine.py": "a failed pass ends its own answers and no other",
    "mistralrs_mlx/runtime/tools.py": "what a tool raises is its result, which the model reads",
    "mistralrs_mlx/server/events.py": "whoever waits for a stream's end is told of one",
    "mistralrs_mlx/engine/worker.py": "what a job raises belongs to the thread that waits for it",
}
VAGUE_FILES = {"helpers", "manager", "misc", "util", "utils"}
VAGUE_NAMES = re.compile(r"^_?(get|do|handle|process)_")
OF_THE_API = {  # mistral.rs's own names
    "get_default_model_id",
    "get_model_status",
    *("handle_data", "handle_endtag", "handle_startendtag", "handle_starttag"),  # html.parser's
}
# Traces of a machine or a person: paths that only they have, hosts that only they reach.
PRIVATE = ["/" + "work/", "/" + "tmp/", "../" + "shared", "pythonhosted" + ".org", "/" + "root/"]
PACKAGE_SOURCES = sources("mistralrs_mlx")


def where(source: Source, nodes: list[ast.expr] | list[ast.Call]) -> list[str]:
    return [f"{source.path}:{node.lineno}" for node in nodes]


def test_nothing_asks_for_attributes_instead_of_types() -> None:
    found = [
        place
        for source in PACKAGE_SOURCES
        for place in where(source, calls(source, "hasattr"))
        + where(source, [call for call in calls(source, "getattr") if len(call.args) == 3])
    ]
    assert not found


def test_only_the_command_line_prints() -> None:
    found = [
        place
        for source in PACKAGE_SOURCES
        if not source.path.startswith("mistralrs_mlx/cli/")
        for place in where(source, calls(source, "print"))
    ]
    assert not found


def broad(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything and does not end by raising."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    catches = any(k is None or (isinstance(k, ast.Name) and k.id in BROAD) for k in kinds)
    return catches and not isinstance(handler.body[-1], ast.Raise)


def test_no_error_is_swallowed_unseen() -> None:
    found = {
        source.path
        for source in PACKAGE_SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and broad(node)
    }
    assert found == CATCHES_ALL.keys()


def test_nothing_is_left_for_later() -> None:
    mark = re.compile(r"\b(TO" + "DO|FIX" + r"ME|XX" + r"X)\b")
    assert not [source.path for source in sources() if mark.search(source.text)]


def test_names_say_what_a_thing_is() -> None:
    files = [source.path for source in sources() if Path(source.path).stem in VAGUE_FILES]
    names = [
        f"{source.path}:{function.name}"
        for source in PACKAGE_SOURCES
        for function in functions(source)
        if VAGUE_NAMES.match(function.name) and function.name not in OF_THE_API
    ]
    assert not files + names


def listed(source: Source) -> list[str] | None:
    """What the module's `__all__` says, where it is written out."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def test_public_names_are_sorted() -> None:
    found = {source.path: listed(source) for source in PACKAGE_SOURCES}
    assert not [path for path, names in found.items() if names and names != in_order(names)]


def test_public_names_are_there() -> None:
    missing = {s.path: set(listed(s) or []) - defined(s) for s in PACKAGE_SOURCES}
    assert not {path: names for path, names in missing.items() if names}


def in_order(names: list[str]) -> list[str]:
    """Constants, then classes, then the rest: the order that ruff's RUF022 keeps."""
    return sorted(names, key=lambda n: (0 if n.isupper() else 1 if n[0].isupper() else 2, n))


def defined(source: Source) -> set[str]:
    """The names that a module's top level binds, lazily exported ones included."""
    names = set(re.findall(r'"(\w+)"', source.text)) if "def __getattr__" in source.text else set()
    for node in top_level(source.tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name)}
    return names


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under its `if`s and `try`s included."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from top_level(node.body + node.orelse)
        else:
            yield node


def test_no_file_names_a_private_place() -> None:
    found = [(path, word) for path, text in texts() for word in PRIVATE if word in text]
    assert not found
