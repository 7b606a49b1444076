"""A whole message as Anthropic's clients read it."""

from typing import Any, Literal

import msgspec

__all__ = [
    "Block",
    "Counted",
    "CountedTokens",
    "MessageAnswer",
    "Reason",
    "Said",
    "Thought",
    "Used",
]

Reason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The base of what is always sent whole."""


class Said(Sent, frozen=True, kw_only=True, tag="text"):
    """Words."""

    text: str


class Thought(Sent, frozen=True, kw_only=True, tag="thinking"):
    """What the model thought before. Nobody signs it."""

    thinking: str
    signature: str = ""


class Used(Sent, frozen=True, kw_only=True, tag="tool_use"):
    """A call of one of the client's tools."""

    id: str
    name: str
    input: dict[str, Any]


Block = Said | Thought | Used


class CountedTokens(Sent, frozen=True, kw_only=True):
    """What a message took. Tokens of the prompt that came from a cache are counted apart."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int = 0


class MessageAnswer(Sent, frozen=True, kw_only=True):
    """The answer to a conversation."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[Block]
    stop_reason: Reason
    stop_sequence: str | None
    usage: CountedTokens


class Counted(Sent, frozen=True, kw_only=True):
    """How many tokens a prompt has."""

    input_tokens: int
