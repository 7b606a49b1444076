"""What clients may send. A field that is not here is refused by its name."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "ChatBody",
    "CompletionBody",
    "DetokenizeBody",
    "EmbeddingBody",
    "GrammarBody",
    "IsqBody",
    "JsonObject",
    "JsonSchema",
    "ModelBody",
    "PlainText",
    "Schema",
    "StreamOptions",
    "TokenizeBody",
    "WebSearch",
]

U32 = 2**32 - 1
Count = Annotated[int, Meta(ge=1, le=2**31)]
Token = Annotated[int, Meta(ge=0, le=U32)]
Tokens = Annotated[list[Token], Meta(min_length=1)]
Number = Annotated[float, Meta(ge=-1e30, le=1e30)]
Stops = str | list[str] | None
Bias = dict[Annotated[int, Meta(ge=0, le=U32)], Annotated[float, Meta(ge=-100, le=100)]]
MOST_INPUTS = 2048
PART = {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}
CONTENT = [{"type": "string"}, {"type": "array", "items": PART}, {"type": "null"}]
MESSAGE = {  # only described so: the chat template has the last word on messages
    "required": ["role"],
    "properties": {"role": {"type": "string"}, "content": {"anyOf": CONTENT}},
}
Message = Annotated[dict[str, Any], Meta(title="Message", extra_json_schema=MESSAGE)]
Messages = Annotated[list[Message], Meta(extra_json_schema={"minItems": 1})]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all bodies."""


class StreamOptions(Body, frozen=True, kw_only=True):
    """`include_usage` sends the counts in a chunk of their own; false, not at all."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # there is none to leave out


class GrammarBody(Body, frozen=True, kw_only=True):
    """mistral.rs's way to hold an answer to a grammar."""

    type: Literal["regex", "json_schema", "lark", "llguidance"]
    value: str | dict[str, Any]


class Schema(Body, frozen=True, kw_only=True):
    """A JSON schema with a name. The answer is held to it, `strict` or not."""

    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class PlainText(Body, frozen=True, kw_only=True, tag="text"):
    """`{"type": "text"}`: an answer in words."""


class JsonObject(Body, frozen=True, kw_only=True, tag="json_object"):
    """`{"type": "json_object"}`: an answer that is some JSON object."""


class JsonSchema(Body, frozen=True, kw_only=True, tag="json_schema"):
    """`{"type": "json_schema", ...}`: an answer that is JSON of a schema."""

    json_schema: Schema


class Place(Body, frozen=True, kw_only=True):
    """Where the user is, roughly."""

    city: str = ""
    country: str = ""
    region: str = ""
    timezone: str = ""


class Location(Body, frozen=True, kw_only=True):
    """`{"type": "approximate", "approximate": {...}}`."""

    type: Literal["approximate"]
    approximate: Place


class WebSearch(Body, frozen=True, kw_only=True):
    """Let the model search the web."""

    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: Location | None = None
    search_description: str | None = None
    extract_description: str | None = None


class TemplateArguments(Body, frozen=True, kw_only=True):
    """What mistral.rs lets through to the chat template."""

    enable_thinking: bool | None = None
    reasoning_effort: str | None = None


class Sampled(Body, frozen=True, kw_only=True):
    """How tokens are chosen, and when an answer ends: for chats and completions alike."""

    model: str | None = None
    max_tokens: Count | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: Annotated[int, Meta(ge=0, le=U32)] | None = None
    min_p: Number | None = None
    n: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stops = None
    seed: int | None = None
    logit_bias: Bias | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    repetition_penalty: Number | None = None
    dry_multiplier: Number | None = None
    dry_base: Number | None = None
    dry_allowed_length: Annotated[int, Meta(ge=0, le=U32)] | None = None
    dry_sequence_breakers: list[str] | None = None
    grammar: GrammarBody | None = None
    response_format: PlainText | JsonObject | JsonSchema | None = None
    truncate_sequence: bool | None = None
    ignore_eos: bool | None = None
    adapter: str | None = None
    user: str | None = None  # for the records of a service that keeps some


class ChatBody(Sampled, frozen=True, kw_only=True):
    """POST /v1/chat/completions."""

    messages: str | Messages
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    reasoning_effort: str | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: TemplateArguments | None = None
    web_search_options: WebSearch | None = None
    max_tool_rounds: Annotated[int, Meta(ge=0, le=U32)] | None = None
    # Refused by the Runner while it has no such thing.
    session_id: str | None = None
    files: list[dict[str, Any]] | None = None
    enable_code_execution: bool | None = None
    enable_shell: bool | None = None
    agent_permission: str | None = None
    code_execution_permission: str | None = None
    # Fields of OpenAI's service: for its records and caches, or with one value that means nothing.
    metadata: dict[str, Any] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    store: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[str] | None = None
    verbosity: str | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None


class CompletionBody(Sampled, frozen=True, kw_only=True):
    """POST /v1/completions."""

    prompt: str | list[str | int | list[int]]
    suffix: str | None = None
    echo: bool | None = None
    best_of: Count | None = None
    logprobs: int | None = None


class EmbeddingBody(Body, frozen=True, kw_only=True):
    """POST /v1/embeddings."""

    input: str | Annotated[list[str | Token | Tokens], Meta(min_length=1, max_length=1 << 20)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Count | None = None
    truncate_sequence: bool | None = None
    user: str | None = None


class TokenizeBody(Body, frozen=True, kw_only=True):
    """POST /tokenize."""

    prompt: str
    model: str | None = None
    add_special_tokens: bool = True


class DetokenizeBody(Body, frozen=True, kw_only=True):
    """POST /detokenize."""

    tokens: list[Token]
    model: str | None = None
    skip_special_tokens: bool = False


class ModelBody(Body, frozen=True, kw_only=True):
    """POST /v1/models/unload, reload and status."""

    model_id: str


class IsqBody(Body, frozen=True, kw_only=True):
    """POST /re_isq."""

    ggml_type: str
    model: str | None = None
