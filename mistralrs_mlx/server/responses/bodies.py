"""What clients of OpenAI's Responses API may send -> the chats that they ask for."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from mistralrs_mlx.server.asking import refused
from mistralrs_mlx.server.bodies import (
    Body,
    ChatBody,
    Count,
    JsonObject,
    JsonSchema,
    Location,
    Place,
    PlainText,
    Sampled,
    Schema,
    TemplateArguments,
    WebSearch,
)
from mistralrs_mlx.server.failure import Failure

__all__ = [
    "CountedBody",
    "FunctionTool",
    "ReasoningOptions",
    "ResponsesBody",
    "TextOptions",
    "Tool",
    "ToolPolicy",
    "WebSearchTool",
    "chat_body",
    "check_included",
    "counted_body",
]

LOGPROBS = "message.output_text.logprobs"
# Pictures are always told, and thoughts never hidden: there is nothing to encrypt.
INCLUDABLE = (LOGPROBS, "message.input_image.image_url", "reasoning.encrypted_content")
REFUSED = {
    "max_tokens": "use max_output_tokens",
    "response_format": "use text.format",
    "max_tool_calls": "the model decides itself; max_tool_rounds bounds what is run here",
    "conversation": "use previous_response_id",
    "prompt": "there are no stored prompts; use instructions and input",
}
Key = Annotated[str, Meta(max_length=64)]
Metadata = Annotated[dict[Key, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
SAME = [  # fields of a chat's body that have one name and one meaning
    *("model", "temperature", "top_p", "top_k", "min_p", "stop", "seed", "logit_bias"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty", "dry_multiplier", "dry_base"),
    *("dry_allowed_length", "dry_sequence_breakers", "grammar", "ignore_eos", "adapter"),
    *("enable_thinking", "chat_template_kwargs", "max_tool_rounds", "parallel_tool_calls"),
]


class FunctionTool(Body, frozen=True, kw_only=True, tag="function"):
    """A function of the client's."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Where(Body, frozen=True, kw_only=True):
    """Where the user is, roughly."""

    type: Literal["approximate"] | None = None
    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class WebSearchTool(Body, frozen=True, kw_only=True, tag="web_search"):
    """Let the model search the web, if the `Runner` was made with search."""

    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: Where | None = None


Tool = FunctionTool | WebSearchTool


class OneFunction(Body, frozen=True, kw_only=True, tag="function"):
    """The function that must be called."""

    name: str


class AllowedFunction(Body, frozen=True, kw_only=True):
    """One of several. There is no other kind, and still the kind must be said."""

    type: Literal["function"]
    name: str


class AllowedTools(Body, frozen=True, kw_only=True, tag="allowed_tools"):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[AllowedFunction]


ToolPolicy = Literal["none", "auto", "required"] | OneFunction | AllowedTools


class NamedSchema(Schema, frozen=True, kw_only=True, tag="json_schema"):
    """An answer that is JSON of a schema."""


class TextOptions(Body, frozen=True, kw_only=True):
    """What form the answer has."""

    format: PlainText | JsonObject | NamedSchema | None = None
    verbosity: str | None = None


class ReasoningOptions(Body, frozen=True, kw_only=True):
    """How much to think. Thoughts are told whole; no model here sums them up."""

    effort: str | None = None
    summary: Literal["auto"] | None = None
    generate_summary: Literal["auto"] | None = None


class ResponsesBody(Sampled, frozen=True, kw_only=True):
    """POST /v1/responses."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    max_output_tokens: Count | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    include: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolPolicy | None = None
    parallel_tool_calls: bool | None = None
    max_tool_rounds: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: TemplateArguments | None = None
    truncation: Literal["auto", "disabled"] | None = None
    # For the records and caches of a service that keeps some; they come back as they were sent.
    metadata: Metadata | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    service_tier: Literal["auto", "default"] | None = None
    # Refused, with what to use instead.
    max_tool_calls: int | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None


class CountedBody(Body, frozen=True, kw_only=True):
    """POST /v1/responses/input_tokens: what a prompt is made of."""

    input: str | list[dict[str, Any]] | None = None
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolPolicy | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    conversation: str | dict[str, Any] | None = None


def counted_body(body: CountedBody) -> ResponsesBody:
    """The response that is not asked for yet."""
    said = {name: getattr(body, name) for name in CountedBody.__struct_fields__}
    return ResponsesBody(**said | {"input": body.input or []})


def chat_body(body: ResponsesBody, messages: list[dict[str, Any]]) -> ChatBody:
    """The chat that it asks for. It is streamed in any case, and told whole if so wanted."""
    _refuse(body)
    logprobs = LOGPROBS in (body.include or []) or bool(body.top_logprobs)
    text, reasoning = body.text or TextOptions(), body.reasoning or ReasoningOptions()
    return ChatBody(
        messages=messages,
        stream=True,
        max_completion_tokens=body.max_output_tokens,
        logprobs=logprobs or None,
        top_logprobs=(body.top_logprobs or 0) if logprobs else None,
        tools=[_function(each) for each in body.tools or [] if isinstance(each, FunctionTool)]
        or None,
        tool_choice=_choice(body.tool_choice),
        web_search_options=_search(body.tools or []),
        response_format=_format(text),
        verbosity=text.verbosity,
        reasoning_effort=reasoning.effort,
        truncate_sequence=_truncates(body),
        **{name: getattr(body, name) for name in SAME},
    )


def check_included(include: list[str] | None) -> None:
    """Refuse what cannot be told beside an answer."""
    for each in include or []:
        if each not in INCLUDABLE:
            raise refused("include", f"{each!r} is not one of {', '.join(INCLUDABLE)}")


def _refuse(body: ResponsesBody) -> None:
    """Refuse what no answer here can honour."""
    for name, reason in REFUSED.items():
        if getattr(body, name) is not None:
            raise refused(name, reason)
    if body.n not in (None, 1):
        raise refused("n", "a response is one answer")
    check_included(body.include)
    _refuse_streaming(body)
    if body.background and body.store is False:
        raise refused("background", "it needs store=true, as its answer is called for later")


def _refuse_streaming(body: ResponsesBody) -> None:
    options = body.stream_options
    if options is not None and options.include_usage is not None:
        raise refused("stream_options.include_usage", "a stream's last event has the usage")
    if options is not None and not body.stream:
        raise refused("stream_options", "it goes only with stream=true")
    if options is not None and options.include_obfuscation:
        raise refused("stream_options.include_obfuscation", "events are as long as what they say")


def _truncates(body: ResponsesBody) -> bool | None:
    if body.truncation is None:
        return body.truncate_sequence
    wanted = body.truncation == "auto"
    if body.truncate_sequence not in (None, wanted):
        message = f"truncation is {body.truncation!r}, but truncate_sequence says otherwise"
        raise Failure(400, message, parameter="truncate_sequence")
    return wanted


def _function(tool: FunctionTool) -> dict[str, Any]:
    given = {"parameters": tool.parameters, "description": tool.description, "strict": tool.strict}
    said = {name: value for name, value in given.items() if value is not None}
    return {"type": "function", "function": {"name": tool.name, **said}}


def _search(tools: list[Tool]) -> WebSearch | None:
    found = [each for each in tools if isinstance(each, WebSearchTool)]
    if len(found) > 1:
        raise Failure(400, "there is one web_search at most", parameter="tools")
    if not found:
        return None
    (tool,) = found
    location = None
    if (where := tool.user_location) is not None:
        place = Place(
            city=where.city or "",
            country=where.country or "",
            region=where.region or "",
            timezone=where.timezone or "",
        )
        location = Location(type="approximate", approximate=place)
    return WebSearch(search_context_size=tool.search_context_size, user_location=location)


def _choice(choice: ToolPolicy | None) -> str | dict[str, Any] | None:
    if isinstance(choice, OneFunction):
        return _named(choice)
    if isinstance(choice, AllowedTools):
        allowed = {"mode": choice.mode, "tools": [_named(each) for each in choice.tools]}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return choice


def _named(function: OneFunction | AllowedFunction) -> dict[str, Any]:
    return {"type": "function", "function": {"name": function.name}}


def _format(text: TextOptions) -> PlainText | JsonObject | JsonSchema | None:
    if isinstance(text.format, NamedSchema):
        return JsonSchema(json_schema=Schema(name=text.format.name, schema=text.format.schema))
    return text.format
