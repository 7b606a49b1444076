"""A response as OpenAI's clients read it."""

import time
from typing import Any, Literal

import msgspec

from mistralrs_mlx import Usage
from mistralrs_mlx.server.bodies import PlainText

from .bodies import ReasoningOptions, ResponsesBody, TextOptions, Tool, ToolPolicy
from .items import Item, item_id

__all__ = [
    "Answer",
    "Deleted",
    "Incomplete",
    "InputTokens",
    "Items",
    "ResponseError",
    "fresh_answer",
    "tokens",
]


AnswerStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The base of what is always sent whole."""


class ResponseError(Sent, frozen=True, kw_only=True):
    """Why a response failed."""

    code: str
    message: str


class Incomplete(Sent, frozen=True, kw_only=True):
    """Why a response ended before its end."""

    reason: Literal["max_output_tokens"]


class Read(Sent, frozen=True, kw_only=True):
    """How many tokens of the prompt an earlier request had paid for."""

    cached_tokens: int
    cache_write_tokens: int = 0


class Written(Sent, frozen=True, kw_only=True):
    """How many tokens of the answer were thoughts, counted by tokenizing them anew."""

    reasoning_tokens: int


class Tokens(Sent, frozen=True, kw_only=True):
    """What a response took."""

    input_tokens: int
    input_tokens_details: Read
    output_tokens: int
    output_tokens_details: Written
    total_tokens: int


class Answer(Sent, frozen=True, kw_only=True):
    """A response. It repeats how it was asked."""

    id: str
    created_at: int
    model: str
    status: AnswerStatus
    output: list[Item]
    object: str = "response"
    background: bool
    completed_at: int | None = None
    error: ResponseError | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None = None
    metadata: dict[str, str]
    parallel_tool_calls: bool = True
    previous_response_id: str | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    reasoning: ReasoningOptions
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float | None
    text: TextOptions
    tool_choice: ToolPolicy
    tools: list[Tool]
    top_logprobs: int | None
    top_p: float | None
    truncation: str
    usage: Tokens | None = None
    user: str | None


class Items(Sent, frozen=True, kw_only=True):
    """A page of items."""

    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: str = "list"


class InputTokens(Sent, frozen=True, kw_only=True):
    """How long a prompt is."""

    input_tokens: int
    object: str = "response.input_tokens"


class Deleted(Sent, frozen=True, kw_only=True):
    """A response is gone."""

    id: str
    deleted: bool = True
    object: str = "response"


def fresh_answer(body: ResponsesBody, model: str) -> Answer:
    """The response to a body before anything is said."""
    text = body.text or TextOptions()
    same: dict[str, Any] = {
        name: getattr(body, name)
        for name in Answer.__struct_fields__
        if name in ResponsesBody.__struct_fields__
    }
    same |= {
        "model": model,
        "background": bool(body.background),
        "max_tool_calls": None,
        "metadata": body.metadata or {},
        "parallel_tool_calls": True,
        "reasoning": body.reasoning or ReasoningOptions(),
        "service_tier": "default",
        "store": body.store is not False,
        "text": msgspec.structs.replace(text, format=text.format or PlainText()),
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "truncation": "auto" if body.truncate_sequence else body.truncation or "disabled",
    }
    status: AnswerStatus = "queued" if body.background else "in_progress"
    return Answer(id=item_id("resp"), created_at=int(time.time()), status=status, output=[], **same)


def tokens(usage: Usage, *, thought: int) -> Tokens:
    """What a response took; `thought` of its tokens were thoughts."""
    details = usage.prompt_tokens_details
    return Tokens(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=Read(cached_tokens=0 if details is None else details.cached_tokens),
        output_tokens=usage.completion_tokens,
        output_tokens_details=Written(reasoning_tokens=min(thought, usage.completion_tokens)),
        total_tokens=usage.total_tokens,
    )
