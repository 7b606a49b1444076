"""An architecture file says only what is different, and the registry knows it."""

import ast
from itertools import combinations

from tests.tidy.source import PACKAGE, Source, sources

SHARED = {"__init__", "base", "embedder", "layouts", "multimodal", "registry", "weights"}
REGISTRY = PACKAGE / "models" / "registry.py"
COPY = 10  # lines in a row that two architectures may not share


def name(source: Source) -> str:
    return source.path.split("/")[-1].removesuffix(".py")


MODELS = [
    source
    for source in sources("mistralrs_mlx/models")
    if source.path.count("/") == 2 and name(source) not in SHARED
]


def test_every_architecture_is_registered() -> None:
    table = REGISTRY.read_text(encoding="utf-8")
    assert not [source.path for source in MODELS if name(source) not in table]


def test_an_architecture_has_at_most_one_parent() -> None:
    parents = {source.path: imported(source) & set(map(name, MODELS)) for source in MODELS}
    assert not {path: names for path, names in parents.items() if len(names) > 1}


def test_no_two_architectures_share_ten_lines_in_a_row() -> None:
    read = {source.path: passages(source) for source in MODELS}
    shared = {(one, two): read[one] & read[two] for one, two in combinations(read, 2)}
    assert not {pair: lines for pair, lines in shared.items() if lines}


def imported(source: Source) -> set[str | None]:
    """The sibling modules that this one imports from."""
    imports = (node for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom))
    return {node.module for node in imports if node.level == 1}


def passages(source: Source) -> set[str]:
    """Every run of ten lines that hold code; imports and blank lines do not count."""
    imports = {
        line
        for node in source.tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    numbered = enumerate(source.lines, 1)
    kept = [line.strip() for n, line in numbered if line.strip() and n not in imports]
    return {"\n".join(kept[i : i + COPY]) for i in range(len(kept) - COPY + 1)}
