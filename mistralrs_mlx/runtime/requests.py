"""A request of the API -> tokens, a generation, and its answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mistralrs_mlx.api.checks import mistyped
from mistralrs_mlx.api.requests import ChatCompletionRequest
from mistralrs_mlx.api.responses import ChatCompletionResponse
from mistralrs_mlx.api.validation import chat_messages
from mistralrs_mlx.bench.counts import count_decode
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.text.tokenizer import Tokenizer
from mistralrs_mlx.unbuilt import fields_of, refuse_unbuilt

from .answers import ChatCollector, Heading, chat_chunks
from .chat import Chat
from .host import Host, UseText
from .prompts import chat_prompt
from .streamer import ChatCompletionStreamer
from .tools import offered_tools
from .toolset import Toolset
from .waiting import awaited, waited

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "answer_chat",
    "answer_chat_async",
    "count_prompt_tokens",
    "prompt_logits",
    "step_counts",
]


def answer_chat(
    use: UseText, request: ChatCompletionRequest, tools: Toolset
) -> ChatCompletionResponse | ChatCompletionStreamer:
    """Start a chat answer and give it whole or as a stream."""
    begun = _begun(use, request, tools)
    if request.stream:
        return _stream(begun, request)
    try:
        collected = ChatCollector(request.n_choices)
        for update in waited(begun.chat.updates(), begun.chat):
            collected.add(update)
        return _whole(collected, begun, request)
    finally:
        begun.chat.cancel()


async def answer_chat_async(
    use: UseText, request: ChatCompletionRequest, tools: Toolset
) -> ChatCompletionResponse | ChatCompletionStreamer:
    """The same, without blocking the event loop. Canceling the task cancels the answer."""
    begun = await asyncio.to_thread(_begun, use, request, tools)
    if request.stream:
        return _stream(begun, request)
    try:
        collected = ChatCollector(request.n_choices)
        async for update in awaited(begun.chat.updates(), begun.chat):
            collected.add(update)
        return _whole(collected, begun, request)
    finally:
        begun.chat.cancel()


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A chat whose first round has been sent to the engine: it needs its host no more."""

    chat: Chat
    heading: Heading
    tokenizer: Tokenizer


def _begun(use: UseText, request: ChatCompletionRequest, tools: Toolset) -> _Begun:
    if not isinstance(request, ChatCompletionRequest):
        raise mistyped("request", "a ChatCompletionRequest", request)
    refuse_unbuilt("request", fields_of(request))
    with use() as (host, model_id):
        chat = Chat(use, host, model_id, request, tools.of(request, host))
        heading = Heading(id=str(chat.number), model=model_id, session_id=chat.session_id)
        return _Begun(chat=chat, heading=heading, tokenizer=host.tokenizer)


def _whole(
    collected: ChatCollector, begun: _Begun, request: ChatCompletionRequest
) -> ChatCompletionResponse:
    return collected.response(begun.chat, begun.heading, begun.tokenizer, logprobs=request.logprobs)


def _stream(begun: _Begun, request: ChatCompletionRequest) -> ChatCompletionStreamer:
    chunks = chat_chunks(
        begun.chat,
        begun.heading,
        begun.tokenizer,
        choices=request.n_choices,
        logprobs=request.logprobs,
    )
    return ChatCompletionStreamer(chunks, begun.chat)


def count_prompt_tokens(
    host: Host, model_id: str, request: ChatCompletionRequest, tools: Toolset
) -> int:
    """The length of a chat's prompt, template, tools and media included."""
    if not isinstance(request, ChatCompletionRequest):
        raise mistyped("request", "a ChatCompletionRequest", request)
    refuse_unbuilt("request", fields_of(request))
    offered = offered_tools(request, tools.of(request, host))
    prompt = chat_prompt(host, model_id, request, chat_messages(request), offered)
    return len(prompt.tokens)


def prompt_logits(
    host: Host, prompt: str | Sequence[int]
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """Logits of every token of a prompt, (L, V)."""
    import numpy as np  # here: a tenth of a second that answering does not need

    tokens = host.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    if not tokens or len(tokens) > host.context_length:
        raise RequestError(
            f"the prompt has {len(tokens)} tokens; it needs 1 to {host.context_length}"
        )
    if (worst := max(tokens)) >= host.vocab_size:
        raise RequestError(
            f"the prompt has the token {worst}; the vocabulary ends at {host.vocab_size - 1}"
        )
    return worker().call(lambda: np.array(host.engine.logits(tokens)))


def step_counts(host: Host) -> dict[str, int]:
    """What one decode step of one row costs, whatever the machine."""
    counts = worker().call(lambda: count_decode(host.engine.model, host.vocab_size))
    return {name: getattr(counts, name) for name in ("dispatches", "primitives", "waits")}
