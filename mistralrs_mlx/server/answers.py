"""The package's responses -> what OpenAI's clients read."""

from uuid import uuid4

import msgspec

from mistralrs_mlx import (
    ChatCompletionChunkResponse,
    ChatCompletionResponse,
    ChunkChoice,
    CompletionChunkChoice,
    CompletionResponse,
    ResponseLogprob,
    ToolCallResponse,
    Usage,
)

__all__ = [
    "ChatAnswer",
    "ChatChunk",
    "CompletionAnswer",
    "Counts",
    "Token",
    "chat_answer",
    "chat_choices",
    "completion_answer",
    "counts",
    "fresh_id",
    "logprob_of",
    "text_choices",
]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The base of what is always sent whole."""


class Spare(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of what leaves out what it does not have."""


class CachedTokens(Sent, frozen=True, kw_only=True):
    """How many tokens of the prompt an earlier request had paid for."""

    cached_tokens: int


class Counts(Spare, frozen=True, kw_only=True):
    """Tokens of a request, and mistral.rs's times."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens | None = None
    avg_tok_per_sec: float | None = None
    avg_prompt_tok_per_sec: float | None = None
    avg_compl_tok_per_sec: float | None = None
    total_time_sec: float | None = None
    total_prompt_time_sec: float | None = None
    total_completion_time_sec: float | None = None


class Called(Sent, frozen=True, kw_only=True):
    """A function that the model calls; `arguments` is JSON."""

    name: str
    arguments: str


class Call(Spare, frozen=True, kw_only=True):
    """A call; in a stream with its place among the calls."""

    id: str
    function: Called
    type: str
    index: int | None = None


class LikelyToken(Sent, frozen=True, kw_only=True):
    """One token that was likely."""

    token: str
    logprob: float
    bytes: list[int] | None


class Token(LikelyToken, frozen=True, kw_only=True):
    """A token of the answer, and what else was likely."""

    top_logprobs: list[LikelyToken]


class TokenList(Sent, frozen=True, kw_only=True):
    """The tokens of an answer."""

    content: list[Token] | None
    refusal: None = None


class Message(Spare, frozen=True, kw_only=True):
    """An answer, whole."""

    role: str
    content: str | None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None


class Delta(Spare, frozen=True, kw_only=True):
    """What a chunk adds. The role comes once: clients join the texts of all chunks."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None


class Choice(Spare, frozen=True, kw_only=True):
    """One answer, and why it ended."""

    index: int
    message: Message
    finish_reason: str
    logprobs: TokenList | None
    stop_sequence: str | None = None


class Record(Sent, frozen=True, kw_only=True):
    """A call that the `Runner` has made itself, and what it gave."""

    round: int
    name: str
    arguments: str
    result: str


class ChatAnswer(Spare, frozen=True, kw_only=True):
    """The answer to a chat."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Counts
    system_fingerprint: str
    session_id: str | None = None
    agentic_tool_calls: list[Record] | None = None


class ChoiceChunk(Spare, frozen=True, kw_only=True):
    """A piece of one answer."""

    index: int
    delta: Delta
    finish_reason: str | None
    logprobs: TokenList | None
    stop_sequence: str | None = None


class ChatChunk(Spare, frozen=True, kw_only=True):
    """One event of a streamed chat."""

    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChoiceChunk]
    usage: Counts | None = None


class TextChoice(Sent, frozen=True, kw_only=True):
    """One continuation of a prompt; in a stream, a piece of it."""

    index: int
    text: str
    finish_reason: str | None
    logprobs: None = None


class CompletionAnswer(Spare, frozen=True, kw_only=True):
    """The answer to a completion, or an event of it."""

    id: str
    object: str
    created: int
    model: str
    choices: list[TextChoice]
    system_fingerprint: str
    usage: Counts | None = None


def fresh_id(kind: str) -> str:
    """An id that no other answer has, not even one of another model or another day."""
    return f"{kind}-{uuid4().hex}"


def counts(usage: Usage) -> Counts:
    """What a request took."""
    cached = usage.prompt_tokens_details
    return Counts(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=(
            None if cached is None else CachedTokens(cached_tokens=cached.cached_tokens)
        ),
        avg_tok_per_sec=usage.avg_tok_per_sec,
        avg_prompt_tok_per_sec=usage.avg_prompt_tok_per_sec,
        avg_compl_tok_per_sec=usage.avg_compl_tok_per_sec,
        total_time_sec=usage.total_time_sec,
        total_prompt_time_sec=usage.total_prompt_time_sec,
        total_completion_time_sec=usage.total_completion_time_sec,
    )


def chat_answer(response: ChatCompletionResponse) -> ChatAnswer:
    """A whole chat answer."""
    return ChatAnswer(
        id=fresh_id("chatcmpl"),
        object=response.object,
        created=response.created,
        model=response.model,
        choices=[
            Choice(
                index=choice.index,
                message=Message(
                    role=choice.message.role,
                    content=choice.message.content,
                    tool_calls=_calls(choice.message.tool_calls),
                    reasoning_content=choice.message.reasoning_content,
                ),
                finish_reason=choice.finish_reason,
                logprobs=_list(None if choice.logprobs is None else choice.logprobs.content),
                stop_sequence=choice.stop_sequence,
            )
            for choice in response.choices
        ],
        usage=counts(response.usage),
        system_fingerprint=response.system_fingerprint,
        session_id=response.session_id,
        agentic_tool_calls=_records(response),
    )


def chat_choices(chunk: ChatCompletionChunkResponse, begun: set[int]) -> list[ChoiceChunk]:
    """The pieces in a chunk. `begun` has the choices whose role has been sent."""
    pieces = [_piece(choice, first=choice.index not in begun) for choice in chunk.choices]
    begun.update(choice.index for choice in chunk.choices)
    return pieces


def completion_answer(responses: list[CompletionResponse], id: str) -> CompletionAnswer:
    """The answers to all prompts of a completion, their choices numbered through."""
    choices = [choice for response in responses for choice in response.choices]
    return CompletionAnswer(
        id=id,
        object=responses[0].object,
        created=responses[0].created,
        model=responses[0].model,
        choices=[
            TextChoice(index=index, text=choice.text, finish_reason=choice.finish_reason)
            for index, choice in enumerate(choices)
        ],
        system_fingerprint=responses[0].system_fingerprint,
        usage=_sum(responses),
    )


def text_choices(choices: list[CompletionChunkChoice], before: int) -> list[TextChoice]:
    """Pieces of a completion, numbered behind the choices of the prompts before."""
    return [
        TextChoice(index=before + each.index, text=each.text, finish_reason=each.finish_reason)
        for each in choices
    ]


def logprob_of(token: ResponseLogprob) -> Token:
    """A token of the answer, as OpenAI has it."""
    likely = [
        LikelyToken(
            token=each.bytes or "", logprob=each.logprob, bytes=list((each.bytes or "").encode())
        )
        for each in token.top_logprobs
    ]
    return Token(
        token=token.token,
        logprob=token.logprob,
        bytes=list(token.bytes or b""),
        top_logprobs=likely,
    )


def _sum(responses: list[CompletionResponse]) -> Counts:
    if len(responses) == 1:
        return counts(responses[0].usage)
    read = sum(response.usage.prompt_tokens for response in responses)
    written = sum(response.usage.completion_tokens for response in responses)
    return Counts(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def _piece(choice: ChunkChoice, *, first: bool) -> ChoiceChunk:
    delta = choice.delta
    return ChoiceChunk(
        index=choice.index,
        delta=Delta(
            role=delta.role if first else None,
            content=delta.content,
            tool_calls=_calls(delta.tool_calls, numbered=True),
            reasoning_content=delta.reasoning_content,
        ),
        finish_reason=choice.finish_reason,
        logprobs=_list([choice.logprobs] if choice.logprobs else None),
        stop_sequence=choice.stop_sequence,
    )


def _calls(calls: list[ToolCallResponse] | None, *, numbered: bool = False) -> list[Call] | None:
    if calls is None:
        return None
    return [
        Call(
            id=call.id,
            type="function",
            function=Called(name=call.function.name, arguments=call.function.arguments),
            index=call.index if numbered else None,
        )
        for call in calls
    ]


def _list(tokens: list[ResponseLogprob] | None) -> TokenList | None:
    return None if tokens is None else TokenList(content=[logprob_of(each) for each in tokens])


def _records(response: ChatCompletionResponse) -> list[Record] | None:
    """The calls that the Runner has made itself."""
    if response.agentic_tool_calls is None:
        return None
    return [
        Record(
            round=each.round, name=each.name, arguments=each.arguments, result=each.result_content
        )
        for each in response.agentic_tool_calls
    ]
