"""A request of the API -> tokens, a generation, and its answer."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mistralrs_mlx.api.checks import mistyped
from mistralrs_mlx.api.requests import ChatCompletionRequest, CompletionRequest
from mistralrs_mlx.api.responses import ChatCompletionResponse, CompletionResponse
from mistralrs_mlx.api.validation import stop_strings, validate_grammar, validate_tool_choice
from mistralrs_mlx.bench.counts import count_decode
from mistralrs_mlx.engine.constraints import Constraint
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.unbuilt import fields_of, refuse_unbuilt

from .answers import Heading, chat_chunks, chat_response, completion_response
from .chat import Chat
from .choosing import sampling_params
from .fitting import fitted
from .host import Generation, Host
from .streamer import ChatCompletionStreamer
from .toolset import Toolset

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "answer_chat",
    "answer_chat_async",
    "answer_completion",
    "prompt_logits",
    "step_counts",
]


def answer_chat(
    host: Host, model_id: str, request: ChatCompletionRequest, tools: Toolset
) -> ChatCompletionResponse | ChatCompletionStreamer:
    """Start a chat answer and give it whole or as a stream."""
    chat, heading = _chat(host, model_id, request, tools)
    if request.stream:
        return _stream(chat, heading, host, request)
    try:
        return _whole(chat, heading, host, request)
    finally:
        chat.cancel()


async def answer_chat_async(
    host: Host, model_id: str, request: ChatCompletionRequest, tools: Toolset
) -> ChatCompletionResponse | ChatCompletionStreamer:
    """The same, without blocking the event loop. Canceling the task cancels the answer."""
    chat, heading = await asyncio.to_thread(_chat, host, model_id, request, tools)
    if request.stream:
        return _stream(chat, heading, host, request)
    try:
        return await asyncio.to_thread(_whole, chat, heading, host, request)
    finally:
        chat.cancel()


def _chat(
    host: Host, model_id: str, request: ChatCompletionRequest, tools: Toolset
) -> tuple[Chat, Heading]:
    if not isinstance(request, ChatCompletionRequest):
        raise mistyped("request", "a ChatCompletionRequest", request)
    refuse_unbuilt("request", fields_of(request))
    chat = Chat(host, model_id, request, tools.of(request, host))
    return chat, Heading(id=str(chat.number), model=model_id, session_id=chat.session_id)


def _whole(
    chat: Chat, heading: Heading, host: Host, request: ChatCompletionRequest
) -> ChatCompletionResponse:
    return chat_response(
        chat,
        heading,
        host.tokenizer,
        choices=request.n_choices,
        logprobs=request.logprobs,
    )


def _stream(
    chat: Chat, heading: Heading, host: Host, request: ChatCompletionRequest
) -> ChatCompletionStreamer:
    chunks = chat_chunks(
        chat,
        heading,
        host.tokenizer,
        choices=request.n_choices,
        logprobs=request.logprobs,
    )
    return ChatCompletionStreamer(chunks, chat.cancel)


def answer_completion(host: Host, model_id: str, request: CompletionRequest) -> CompletionResponse:
    """Continue the prompt as it stands."""
    if not isinstance(request, CompletionRequest):
        raise mistyped("request", "a CompletionRequest", request)
    refuse_unbuilt("request", fields_of(request))
    number = host.next_number()
    if request.tool_schemas or validate_tool_choice(request).mode == "required":
        raise RequestError(
            "tool_schemas and tool_choice: a completion has no chat template that could show "
            "tools to the model; send a ChatCompletionRequest"
        )
    if not request.prompt:
        raise RequestError("Received an empty prompt. Give at least one character")
    ranked = request.best_of is not None and request.best_of < request.n_choices
    generation = Generation(
        prompt=fitted(host.tokenizer.encode_prompt(request.prompt), host, request),
        params=sampling_params(request, host, number, 0 if ranked else None),
        choices=request.n_choices,
        max_tokens=request.max_tokens,
        stops=tuple(stop_strings(request)),
        ignore_eos=request.ignore_eos,
        constraint=_constraint(host, request),
        continues=True,
    )
    return completion_response(
        host.start(generation),
        Heading(id=str(number), model=model_id),
        best_of=request.best_of,
        prefix=request.prompt if request.echo_prompt else "",
        suffix=request.suffix or "",
    )


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
    return worker().call(lambda: np.array(host.engine.logits(tokens)))


def step_counts(host: Host) -> dict[str, int]:
    """What one decode step of one row costs, whatever the machine."""
    counts = worker().call(lambda: count_decode(host.engine.model, host.vocab_size))
    return {name: getattr(counts, name) for name in ("dispatches", "primitives", "waits")}


def _constraint(
    host: Host, request: ChatCompletionRequest | CompletionRequest
) -> Callable[[], Constraint] | None:
    """What compiles the request's grammar. Only what is no grammar at all is refused here."""
    grammar = validate_grammar(request)
    if grammar is None:
        return None
    return partial(host.grammars.compile, grammar, ignore_eos=request.ignore_eos)
