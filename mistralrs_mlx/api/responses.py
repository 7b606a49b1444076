"""What requests return. Fields stand in the order in which mistral.rs prints them."""

import builtins
from typing import Any

from .agents import AgenticToolCallRecord
from .enums import ToolCallType
from .files import File
from .notebook import answer_html, completion_html, usage_html
from .values import narrow_floats, record

__all__ = [
    "CalledFunction",
    "ChatCompletionChunkResponse",
    "ChatCompletionResponse",
    "Choice",
    "ChunkChoice",
    "CompletionChoice",
    "CompletionChunkChoice",
    "CompletionChunkResponse",
    "CompletionResponse",
    "Delta",
    "Logprobs",
    "PromptTokensDetails",
    "ResponseLogprob",
    "ResponseMessage",
    "ToolCallResponse",
    "TopLogprob",
    "Usage",
]

FINGERPRINT = "local"


@record
class PromptTokensDetails:
    """How many prompt tokens an earlier request had already paid for."""

    cached_tokens: int


@record
class Usage:
    """Tokens and times of one request. Rates are 0 where there is nothing to measure."""

    completion_tokens: int
    prompt_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    avg_tok_per_sec: float
    avg_prompt_tok_per_sec: float
    avg_compl_tok_per_sec: float
    total_time_sec: float
    total_prompt_time_sec: float
    total_completion_time_sec: float

    def __post_init__(self) -> None:
        narrow_floats(self)

    def _repr_html_(self) -> str:
        return usage_html(self)


@record
class TopLogprob:
    """One likely token: its id, and in `bytes` its text (mistral.rs has it this way round)."""

    token: int
    logprob: float
    bytes: str | None = None

    def __post_init__(self) -> None:
        narrow_floats(self)


@record
class ResponseLogprob:
    """A generated token: its text, in `bytes` the UTF-8 of it, and what else was likely.

    `bytes` is of that type, though mistral.rs's stubs, and what it prints, say a list of ints.
    """

    token: str
    logprob: float
    bytes: Any | None = None
    top_logprobs: list[TopLogprob]

    def __post_init__(self) -> None:
        narrow_floats(self)
        if self.bytes is not None:
            object.__setattr__(self, "bytes", builtins.bytes(self.bytes))


@record
class Logprobs:
    """The natural logarithms of the probabilities of all tokens of an answer."""

    content: list[ResponseLogprob] | None = None


@record
class CalledFunction:
    """The function that the model calls; `arguments` is JSON."""

    name: str
    arguments: str


@record
class ToolCallResponse:
    """One call of one tool; `index` counts the calls of an answer."""

    index: int
    id: str
    tp: ToolCallType = ToolCallType.Function
    function: CalledFunction


@record
class ResponseMessage:
    """The answer. `content` is None when the model only calls tools."""

    content: str | None = None
    role: str = "assistant"
    tool_calls: list[ToolCallResponse] | None = None
    reasoning_content: str | None = None


@record
class Choice:
    """One answer, and why it ended: `stop`, `length`, `tool_calls` or `canceled`."""

    finish_reason: str
    stop_sequence: str | None = None
    index: int
    message: ResponseMessage
    logprobs: Logprobs | None = None


@record
class ChatCompletionResponse:
    """The answer to a `ChatCompletionRequest`; `created` is in Unix seconds."""

    id: str
    choices: list[Choice]
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    object: str = "chat.completion"
    usage: Usage
    adapter_generation: str | None = None
    agentic_tool_calls: list[AgenticToolCallRecord] | None = None
    files: list[File] | None = None
    session_id: str | None = None

    def _repr_html_(self) -> str:
        return answer_html(self)


@record
class Delta:
    """What a chunk adds to the answer."""

    content: str | None = None
    role: str = "assistant"
    tool_calls: list[ToolCallResponse] | None = None
    reasoning_content: str | None = None


@record
class ChunkChoice:
    """A piece of one answer; `finish_reason` is set on its last piece."""

    finish_reason: str | None = None
    stop_sequence: str | None = None
    index: int
    delta: Delta
    logprobs: ResponseLogprob | None = None


@record
class ChatCompletionChunkResponse:
    """One step of a streamed answer; the last one has `usage`."""

    id: str
    choices: list[ChunkChoice]
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    object: str = "chat.completion.chunk"
    usage: Usage | None = None
    adapter_generation: str | None = None
    session_id: str | None = None


@record
class CompletionChoice:
    """One continuation of a prompt."""

    finish_reason: str
    index: int
    text: str
    logprobs: Logprobs | None = None


@record
class CompletionChunkChoice:
    """A piece of one continuation; `finish_reason` is set on its last piece."""

    text: str
    index: int
    logprobs: ResponseLogprob | None = None
    finish_reason: str | None = None


@record
class CompletionChunkResponse:
    """One step of a streamed completion; the last one has `usage`."""

    id: str
    choices: list[CompletionChunkChoice]
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    object: str = "text_completion"
    usage: Usage | None = None
    adapter_generation: str | None = None


@record
class CompletionResponse:
    """The answer to a `CompletionRequest`; `created` is in Unix seconds."""

    id: str
    choices: list[CompletionChoice]
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    object: str = "text_completion"
    usage: Usage
    adapter_generation: str | None = None

    def _repr_html_(self) -> str:
        return completion_html(self)
