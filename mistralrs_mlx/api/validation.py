"""What is checked when a request is sent, before the model is asked. Raises `RequestError`."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, cast

from mistralrs_mlx.errors import RequestError

from .functions import SchemaModel
from .requests import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from .tools import ToolSchema, ToolUse, tool_schema, tool_use

__all__ = [
    "Grammar",
    "chat_messages",
    "embedding_inputs",
    "stop_strings",
    "thinks",
    "validate_grammar",
    "validate_tool_choice",
    "validate_tools",
]

GenerationRequest = ChatCompletionRequest | CompletionRequest
GrammarKind = Literal["regex", "lark", "json_schema", "llguidance"]
KINDS = ("regex", "lark", "json_schema", "llguidance")


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """A grammar to hold the output to. `text` is JSON for the last two kinds."""

    kind: GrammarKind
    text: str


def validate_grammar(request: GenerationRequest) -> Grammar | None:
    """The request's grammar, if it has one. Whether it compiles is not known yet."""
    grammar, kind = request.grammar, request.grammar_type
    if grammar is None and kind is None:
        return None
    if kind is None:
        raise RequestError("Grammar text is specified but not grammar type")
    if grammar is None:
        raise RequestError("Grammar type is specified but not grammar text")
    if kind not in KINDS:
        raise RequestError(
            "Grammar type is specified but is not `regex`, `lark`, `json_schema`, nor "
            f"`llguidance`: found `{kind}`"
        )
    text = grammar if isinstance(grammar, str) else _dumped(grammar, kind)
    _check_json(text, kind)
    return Grammar(kind=cast(GrammarKind, kind), text=text)


def chat_messages(request: ChatCompletionRequest) -> list[dict[str, Any]] | str:
    """The messages of a chat, of which there is at least one."""
    if request.messages == []:
        raise RequestError("messages is empty; give at least one, or a string")
    return request.messages


def validate_tools(request: GenerationRequest) -> list[ToolSchema]:
    """The tools that the request offers, in its order."""
    given = request.tool_schemas or []
    tools = [tool_schema(one, f"tool_schemas[{index}]") for index, one in enumerate(given)]
    names = Counter(tool.name for tool in tools)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise RequestError(f"tool_schemas: two tools are named {twice!r}; names must differ")
    return tools


def validate_tool_choice(request: GenerationRequest) -> ToolUse:
    """Whether the model may or must call a tool."""
    return tool_use(request.tool_choice)


def stop_strings(request: GenerationRequest) -> list[str]:
    """The texts that end an answer. Empty ones say nothing and are left out."""
    return [text for text in request.stop_seqs or [] if text]


def thinks(request: ChatCompletionRequest) -> bool:
    """Whether the model may think first: what the effort says, else the switch, else yes."""
    if request.reasoning_effort is not None:
        return request.reasoning_effort != "off"
    return request.enable_thinking is not False


def embedding_inputs(request: EmbeddingRequest) -> list[str] | list[list[int]]:
    """The texts, or the lists of tokens, each of which becomes one vector."""
    given = request.input
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [given]
    return cast(list[str] | list[list[int]], given)


def _dumped(grammar: dict[str, Any] | type, kind: str) -> str:
    if kind not in ("json_schema", "llguidance"):
        raise RequestError(f"A `{kind}` grammar must be a string, found {grammar!r}")
    if isinstance(grammar, dict):
        return json.dumps(grammar)
    if isinstance(grammar, SchemaModel):
        return json.dumps(grammar.model_json_schema())
    raise RequestError(f"{grammar!r} has no JSON schema; give a dict or a pydantic model")


def _check_json(text: str, kind: str) -> None:
    if kind not in ("json_schema", "llguidance"):
        return
    what = "schema" if kind == "json_schema" else "llguidance object"
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise RequestError(f"Failed to parse JSON {what}: {error}") from error
    if kind == "llguidance" and not (isinstance(parsed, dict) and "grammars" in parsed):
        raise RequestError(f"Failed to parse JSON {what}: missing field `grammars`")
