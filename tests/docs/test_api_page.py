"""docs/api.md tells of everything that can be given."""

import inspect

import pytest

import mistralrs_mlx
from mistralrs_mlx import CompletionRequest, Runner
from scripts.api_tables import REQUESTS, SELECTORS, WORDS, fragments, words
from tests.tidy.source import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
KINDS = (*SELECTORS, *REQUESTS, Runner)


def parameters(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_every_parameter_has_its_words(kind: type) -> None:
    assert not [name for name in parameters(kind) if not words(kind, name)]


def test_no_words_are_left_of_what_is_gone() -> None:
    known = {kind.__name__: parameters(kind) for kind in (*REQUESTS, Runner)}
    known["Which"] = set().union(*map(parameters, SELECTORS))
    stale = {home: sorted(said.keys() - known[home]) for home, said in WORDS.items()}
    assert not {home: names for home, names in stale.items() if names}


def test_a_completion_has_the_words_of_a_chat_where_it_has_none() -> None:
    chat = WORDS["ChatCompletionRequest"]
    assert words(CompletionRequest, "temperature") == chat["temperature"]
    assert words(CompletionRequest, "tool_schemas") != chat["tool_schemas"]


def test_every_made_part_is_on_a_page() -> None:
    pages = PAGE + (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in fragments() if f"<!-- made: {name} -->" not in pages]


def test_every_public_name_is_told() -> None:
    assert not [name for name in mistralrs_mlx.__all__ if f"`{name}`" not in PAGE]


def test_what_is_not_built_says_so() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `mcp_client_config`"))
    assert row.endswith("*Not built yet: MCP.* |")
