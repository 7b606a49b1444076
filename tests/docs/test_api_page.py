"""docs/api.md tells of everything that can be given."""

import inspect
from functools import partial
from typing import Any

import pytest

import mistralrs_mlx
from mistralrs_mlx import ChatCompletionRequest, CompletionRequest, Runner, Which
from mistralrs_mlx.api.described import arguments
from mistralrs_mlx.unbuilt import REQUEST, RUNNER, WHICH
from scripts.api_tables import PAGES, REQUESTS, SELECTORS, fragments, words
from tests.tidy.source import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
KINDS = (*SELECTORS, *REQUESTS, Runner)


def parameters(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_every_parameter_has_its_words(kind: type) -> None:
    assert not [name for name in parameters(kind) if not words(kind, name)]


@pytest.mark.parametrize("kind", SELECTORS, ids=lambda kind: kind.__qualname__)
def test_the_help_of_a_selector_tells_of_its_own_arguments_and_no_others(kind: type) -> None:
    assert arguments(kind).keys() == parameters(kind)


def test_no_words_are_left_of_what_is_gone() -> None:
    known = {kind: parameters(kind) for kind in (*REQUESTS, Runner)}
    known[Which] = set().union(*map(parameters, SELECTORS))
    assert not [name for home, names in known.items() for name in arguments(home).keys() - names]
    assert not PAGES.keys() - set().union(*known.values())


def test_a_completion_has_the_words_of_a_chat_where_it_has_none() -> None:
    chat = partial(words, ChatCompletionRequest)
    assert words(CompletionRequest, "temperature") == chat("temperature")
    assert words(CompletionRequest, "tool_schemas") != chat("tool_schemas")


@pytest.mark.parametrize(
    ("home", "unbuilt"),
    [(Which, WHICH), (Runner, RUNNER), (ChatCompletionRequest, REQUEST)],
    ids=["Which", "Runner", "ChatCompletionRequest"],
)
def test_help_says_what_is_not_built_and_only_of_that(home: object, unbuilt: Any) -> None:
    told = {name: " ".join(said.split()) for name, said in arguments(home).items()}
    said = {name: words.partition("Not built yet: ")[2] for name, words in told.items()}
    expected = {name: f"{feature}." for name, (_, feature) in unbuilt.items()}
    assert {name: feature for name, feature in said.items() if feature} == expected


def test_every_made_part_is_on_a_page() -> None:
    pages = PAGE + (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in fragments() if f"<!-- made: {name} -->" not in pages]


def test_every_public_name_is_told() -> None:
    assert not [name for name in mistralrs_mlx.__all__ if f"`{name}`" not in PAGE]


def test_what_is_not_built_says_so() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `mcp_client_config`"))
    assert row.endswith("*Not built yet: MCP.* |")
