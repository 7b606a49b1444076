"""Anthropic's message bodies -> the chats that they ask for."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .bodies import ChatBody, JsonSchema, Schema
from .failure import Failure

__all__ = ["CountBody", "MessagesBody", "chat_body"]

Number = Annotated[float, Meta(ge=-1e30, le=1e30)]
Cache = dict[str, Any] | None  # where a cache should begin; ours finds out itself


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all parts of a body."""


class Text(Body, frozen=True, kw_only=True, tag="text"):
    """Words."""

    text: str
    cache_control: Cache = None
    citations: None = None


class SystemText(Body, frozen=True, kw_only=True):
    """Words of the system's. There is no other kind, and still the kind must be said."""

    type: Literal["text"]
    text: str
    cache_control: Cache = None
    citations: None = None


class Base64(Body, frozen=True, kw_only=True, tag="base64"):
    """A picture that came along."""

    media_type: str
    data: str


class Url(Body, frozen=True, kw_only=True, tag="url"):
    """A picture elsewhere."""

    url: str


class Image(Body, frozen=True, kw_only=True, tag="image"):
    """A picture."""

    source: Base64 | Url
    cache_control: Cache = None


class ToolUse(Body, frozen=True, kw_only=True, tag="tool_use"):
    """A call that the model made earlier."""

    id: str
    name: str
    input: dict[str, Any]
    cache_control: Cache = None
    caller: dict[str, Any] | None = None


class ToolResult(Body, frozen=True, kw_only=True, tag="tool_result"):
    """What a call gave."""

    tool_use_id: str
    content: str | list[Text | Image] | None = None
    is_error: bool | None = None
    cache_control: Cache = None


class Thinking(Body, frozen=True, kw_only=True, tag="thinking"):
    """What the model thought earlier."""

    thinking: str
    signature: str = ""


class Turn(Body, frozen=True, kw_only=True):
    """One turn."""

    role: Literal["user", "assistant"]
    content: str | list[Text | Image | ToolUse | ToolResult | Thinking]


class Tool(Body, frozen=True, kw_only=True):
    """A function of the client's."""

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    cache_control: Cache = None


class ToolPolicy(Body, frozen=True, kw_only=True):
    """Whether the model may or must call a tool."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingMode(Body, frozen=True, kw_only=True):
    """Whether to think first. How long is the model's decision: no model here has a budget."""

    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: int | None = None


class Metadata(Body, frozen=True, kw_only=True):
    """For the records of a service that keeps some."""

    user_id: str | None = None


class Format(Body, frozen=True, kw_only=True):
    """A JSON schema for the answer."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Body, frozen=True, kw_only=True):
    """How much to think, and what form the answer has."""

    effort: str | None = None
    format: Format | None = None


class CountBody(Body, frozen=True, kw_only=True):
    """POST /v1/messages/count_tokens."""

    messages: Annotated[list[Turn], Meta(min_length=1)]
    model: str | None = None
    system: str | list[SystemText] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolPolicy | None = None
    thinking: ThinkingMode | None = None
    output_config: OutputConfig | None = None
    cache_control: Cache = None


class MessagesBody(CountBody, frozen=True, kw_only=True):
    """POST /v1/messages."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**31)]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None


def chat_body(body: CountBody) -> ChatBody:
    """The chat that it asks for; where only tokens are counted, one of a single token."""
    turns = [*_system(body), *(turn for each in body.messages for turn in _turns(each))]
    if body.messages[-1].role == "assistant":
        raise Failure(400, "messages must end with the user's turn: no answer can be begun here")
    thinking, output = body.thinking, body.output_config or OutputConfig()
    return ChatBody(
        messages=turns,
        model=body.model,
        tools=[_tool(each) for each in body.tools or []] or None,
        tool_choice=_choice(body.tool_choice),
        enable_thinking=None if thinking is None else thinking.type != "disabled",
        reasoning_effort=output.effort,
        response_format=_format(output.format),
        **_sampling(body),
    )


def _sampling(body: CountBody) -> dict[str, Any]:
    if not isinstance(body, MessagesBody):
        return {"max_tokens": 1}
    return {
        "max_tokens": body.max_tokens,
        "stream": body.stream,
        "stop": body.stop_sequences,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
    }


def _format(form: Format | None) -> JsonSchema | None:
    if form is None:
        return None
    return JsonSchema(json_schema=Schema(name="output", schema=form.schema))


def _system(body: CountBody) -> list[dict[str, Any]]:
    if not body.system:
        return []
    said = body.system
    text = said if isinstance(said, str) else "\n".join(each.text for each in said)
    return [{"role": "system", "content": text}]


def _turns(message: Turn) -> Iterator[dict[str, Any]]:
    """The messages in a turn: results of tools are messages of their own, and come first."""
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
        return
    parts, calls, thoughts = [], [], []
    for block in message.content:
        if isinstance(block, ToolResult):
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": _result(block)}
        elif isinstance(block, ToolUse):
            calls.append(_call(block))
        elif isinstance(block, Thinking):
            thoughts.append(block.thinking)
        else:
            parts.append(_part(block))
    if parts or calls or thoughts:
        yield {
            "role": message.role,
            "content": parts if parts else (None if calls else ""),
            "tool_calls": calls or None,
            "reasoning_content": "".join(thoughts) or None,
        }


def _part(block: Text | Image) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"type": "text", "text": block.text}
    source = block.source
    if isinstance(source, Base64):
        url = f"data:{source.media_type};base64,{source.data}"
    else:
        url = source.url
    return {"type": "image_url", "image_url": {"url": url}}


def _result(block: ToolResult) -> str:
    if isinstance(block.content, str) or block.content is None:
        text = block.content or ""
    else:
        text = "\n".join(_words(each) for each in block.content)
    return f"Error: {text}" if block.is_error else text


def _words(block: Text | Image) -> str:
    if isinstance(block, Text):
        return block.text
    raise Failure(400, "the result of a tool is text here, not a picture", parameter="messages")


def _call(block: ToolUse) -> dict[str, Any]:
    called = {"name": block.name, "arguments": block.input}
    return {"id": block.id, "type": "function", "function": called}


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolPolicy | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    if choice.disable_parallel_tool_use:
        reason = "a model decides itself how many calls it makes"
        raise Failure(400, f"disable_parallel_tool_use is not supported: {reason}")
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    return {"auto": "auto", "any": "required", "none": "none"}[choice.type]
