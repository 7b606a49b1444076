"""POST /v1/chat/completions: whole, or as server-sent events."""

import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mistralrs_mlx import ChatCompletionChunkResponse, ChatCompletionRequest

from .answers import ChatChunk, chat_answer, chat_choices, counts, fresh_id
from .asking import chat_request
from .bodies import ChatBody, StreamOptions
from .body import body_of
from .events import EventStream, chunk_events, event, paced
from .leaving import unless_gone
from .metrics import Metrics
from .replies import gate_of, json, metrics_of, model_of, runner_of, settings_of

__all__ = ["Chunks", "begun", "chat_completions", "opened"]

CHAT = msgspec.json.Decoder(ChatBody)  # made here: a type that is none fails at once

Chunks = AsyncGenerator[ChatCompletionChunkResponse | None]


async def chat_completions(request: Request) -> Response:
    """Answer a chat. What is wrong with it is told by the status even of a stream."""
    body = await body_of(request, CHAT)
    model = model_of(request, body.model)
    chat = chat_request(body, media_urls=settings_of(request).media_urls)
    with ExitStack() as stack:
        stack.enter_context(gate_of(request).answers(chat.n_choices))
        if not chat.stream:
            return await _whole(request, chat, model)
        chunks, first = await unless_gone(request, begun(request, chat, model, stack))
        told = _Told(body.stream_options, metrics_of(request), first)
        return EventStream(
            told.events(chunks),
            seconds=settings_of(request).answer_seconds,
            closing=stack.pop_all(),
        )


async def _whole(request: Request, chat: ChatCompletionRequest, model: str) -> Response:
    response = await unless_gone(request, runner_of(request).chat(chat, model))
    metrics_of(request).count_tokens(
        prompt=response.usage.prompt_tokens, completion=response.usage.completion_tokens
    )
    return json(chat_answer(response))


async def begun(
    request: Request, chat: ChatCompletionRequest, model: str, stack: ExitStack
) -> tuple[Chunks, ChatCompletionChunkResponse | None]:
    """The chunks to come and the first one, or None for it while a long prompt is read."""
    began = time.monotonic()
    chunks = await opened(request, chat, model, stack)
    first = await anext(chunks, None)
    metrics_of(request).first_token_seconds.add(time.monotonic() - began)
    return chunks, first


async def opened(
    request: Request, chat: ChatCompletionRequest, model: str, stack: ExitStack
) -> Chunks:
    """The chunks to come of a chat that is started. Each is None while none comes for a while."""
    stream: Any = await runner_of(request).chat(chat, model)
    stack.callback(stream.close)
    return paced(stream, settings_of(request).keep_alive_seconds)


@dataclass
class _Told:
    """A stream of chunks as events; what all of them share."""

    options: StreamOptions | None
    metrics: Metrics
    first: ChatCompletionChunkResponse | None
    id: str = field(default_factory=lambda: fresh_id("chatcmpl"))
    begun: set[int] = field(default_factory=set)

    def events(self, chunks: Chunks) -> AsyncGenerator[bytes]:
        """What the client is sent."""
        return chunk_events(chunks, self.first, self._event, self.metrics)

    def _event(self, chunk: ChatCompletionChunkResponse) -> bytes:
        apart = None if self.options is None else self.options.include_usage
        usage = None if chunk.usage is None else counts(chunk.usage)
        if usage is not None:
            self.metrics.count_tokens(
                prompt=usage.prompt_tokens, completion=usage.completion_tokens
            )
        said = ChatChunk(
            id=self.id,
            object=chunk.object,
            created=chunk.created,
            model=chunk.model,
            system_fingerprint=chunk.system_fingerprint,
            choices=chat_choices(chunk, self.begun),
            usage=usage if apart is None else None,  # in the last chunk, as mistral.rs sends it
        )
        if usage is None or not apart:
            return event(said)
        alone = ChatChunk(
            id=self.id,
            object=chunk.object,
            created=chunk.created,
            model=chunk.model,
            system_fingerprint=chunk.system_fingerprint,
            choices=[],
            usage=usage,
        )
        return event(said) + event(alone)
