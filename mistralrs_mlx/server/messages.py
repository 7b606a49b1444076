"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients ask them."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from mistralrs_mlx import (
    ChatCompletionChunkResponse,
    ChatCompletionResponse,
    ResponseMessage,
    ToolCallResponse,
    Usage,
)

from .answers import fresh_id
from .anthropic import CountBody, MessagesBody, chat_body
from .asking import chat_request
from .blocks import Block, Counted, CountedTokens, MessageAnswer, Reason, Said, Thought, Used
from .body import body_of
from .chat import Chunks, begun
from .events import EventStream, named
from .failure import ANTHROPIC, Failure, envelope
from .leaving import unless_gone
from .replies import gate_of, json, metrics_of, model_of, runner_of, settings_of

__all__ = ["count_tokens", "messages"]

MESSAGES = msgspec.json.Decoder(MessagesBody)
COUNT = msgspec.json.Decoder(CountBody)
REASONS: Mapping[str, Reason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}
Event = dict[str, Any]


async def messages(request: Request) -> Response:
    """Answer a conversation, whole or as events."""
    body = await body_of(request, MESSAGES)
    model = model_of(request, body.model)
    chat = chat_request(chat_body(body), media_urls=settings_of(request).media_urls)
    with ExitStack() as stack:
        stack.enter_context(gate_of(request).answers(1))
        if not chat.stream:
            response = await unless_gone(request, runner_of(request).chat(chat, model))
            _count(request, response.usage)
            return json(_whole(response))
        chunks, first = await unless_gone(request, begun(request, chat, model, stack))
        return EventStream(
            _events(request, chunks, first, model),
            seconds=settings_of(request).answer_seconds,
            closing=stack.pop_all(),
            failed=_failed,
        )


async def count_tokens(request: Request) -> Response:
    """Count a prompt's tokens; nothing is generated."""
    body = await body_of(request, COUNT)
    model = model_of(request, body.model)
    chat = chat_request(chat_body(body), media_urls=settings_of(request).media_urls)
    counted = await run_in_threadpool(runner_of(request).count_prompt_tokens, chat, model)
    return json(Counted(input_tokens=counted))


def _whole(response: ChatCompletionResponse) -> MessageAnswer:
    (choice,) = response.choices
    return MessageAnswer(
        id=fresh_id("msg"),
        model=response.model,
        content=list(_blocks(choice.message)),
        stop_reason=_reason(choice.finish_reason, choice.stop_sequence),
        stop_sequence=choice.stop_sequence,
        usage=_usage(response.usage),
    )


def _blocks(message: ResponseMessage) -> Iterator[Block]:
    if message.reasoning_content:
        yield Thought(thinking=message.reasoning_content)
    if message.content:
        yield Said(text=message.content)
    for call in message.tool_calls or []:
        arguments = msgspec.json.decode(call.function.arguments or "{}")
        yield Used(id=call.id, name=call.function.name, input=arguments)


def _reason(finish_reason: str, stop_sequence: str | None) -> Reason:
    if stop_sequence is not None:
        return "stop_sequence"
    return REASONS.get(finish_reason, "end_turn")


def _usage(usage: Usage) -> CountedTokens:
    """Anthropic counts apart what came from a cache."""
    details = usage.prompt_tokens_details
    cached = 0 if details is None else details.cached_tokens
    return CountedTokens(
        input_tokens=usage.prompt_tokens - cached,
        cache_read_input_tokens=cached,
        output_tokens=usage.completion_tokens,
    )


def _count(request: Request, usage: Usage) -> None:
    metrics_of(request).count_tokens(prompt=usage.prompt_tokens, completion=usage.completion_tokens)


async def _events(
    request: Request,
    chunks: Chunks,
    first: ChatCompletionChunkResponse | None,
    model: str,
) -> AsyncGenerator[bytes]:
    """The message's begin, its blocks piece by piece, and its end."""
    blocks = _Blocks()
    try:
        yield named(_start(model))
        yield named({"type": "ping"})
        chunk = first
        while True:
            for each in [{"type": "ping"}] if chunk is None else blocks.events(chunk):
                yield named(each)
            if chunk is not None and chunk.usage is not None:
                _count(request, chunk.usage)
            chunk = await anext(chunks)
    except StopAsyncIteration:
        yield named({"type": "message_stop"})
    finally:
        await chunks.aclose()


def _start(model: str) -> Event:
    """How many tokens the prompt has is told at the end: it may not be read yet."""
    message: dict[str, Any] = {
        "id": fresh_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    return {"type": "message_start", "message": message}


@dataclass
class _Blocks:
    """The blocks of a message as they grow: one at a time is open."""

    index: int = -1
    kind: str | None = field(default=None)

    def events(self, chunk: ChatCompletionChunkResponse) -> Iterator[Event]:
        """What a chunk adds, and at the end why the message ended."""
        (choice,) = chunk.choices
        delta = choice.delta
        yield from self._grown("thinking", delta.reasoning_content)
        yield from self._grown("text", delta.content)
        for call in delta.tool_calls or []:
            yield from self._called(call)
        if choice.finish_reason is None:
            return
        yield from self._closed()
        reason = _reason(choice.finish_reason, choice.stop_sequence)
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": choice.stop_sequence},
            "usage": {"output_tokens": 0} if chunk.usage is None else _usage(chunk.usage),
        }

    def _grown(self, kind: str, text: str | None) -> Iterator[Event]:
        if not text:
            return
        if self.kind != kind:
            empty = {"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
            yield from self._opened(kind, empty)
        yield self._delta({"type": f"{kind}_delta", kind: text})

    def _called(self, call: ToolCallResponse) -> Iterator[Event]:
        block = {"type": "tool_use", "id": call.id, "name": call.function.name, "input": {}}
        yield from self._opened("tool_use", block)
        yield self._delta({"type": "input_json_delta", "partial_json": call.function.arguments})

    def _opened(self, kind: str, block: Event) -> Iterator[Event]:
        yield from self._closed()
        self.index, self.kind = self.index + 1, kind
        yield {"type": "content_block_start", "index": self.index, "content_block": block}

    def _closed(self) -> Iterator[Event]:
        if self.kind is not None:
            self.kind = None
            yield {"type": "content_block_stop", "index": self.index}

    def _delta(self, delta: Event) -> Event:
        return {"type": "content_block_delta", "index": self.index, "delta": delta}


def _failed(failure: Failure) -> bytes:
    return b"event: error\ndata: %b\n\n" % envelope(failure, ANTHROPIC)
