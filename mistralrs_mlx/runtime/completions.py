"""Completions: texts that are continued without a chat template."""

import asyncio
from collections.abc import Callable
from functools import partial

from mistralrs_mlx.api.checks import mistyped
from mistralrs_mlx.api.requests import CompletionRequest
from mistralrs_mlx.api.responses import CompletionResponse
from mistralrs_mlx.api.validation import stop_strings, validate_grammar, validate_tool_choice
from mistralrs_mlx.engine.constraints import Constraint
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.unbuilt import fields_of, refuse_unbuilt

from .answers import CompletionCollector, Heading, completion_chunks
from .choosing import sampling_params
from .fitting import fitted
from .host import Answer, Generation, Host, UseText
from .streamer import CompletionStreamer
from .waiting import awaited, waited

__all__ = ["answer_completion", "answer_completion_async", "stream_completion"]

Begun = tuple[Answer, Heading]


def answer_completion(use: UseText, request: CompletionRequest) -> CompletionResponse:
    """Continue the prompt as it stands."""
    answer, heading = _begun(use, request)
    collected = CompletionCollector(answer.choices)
    for event in waited(iter(answer), answer):
        collected.add(event)
    return _whole(collected, heading, request)


async def answer_completion_async(use: UseText, request: CompletionRequest) -> CompletionResponse:
    """The same, without blocking the event loop. Canceling the task cancels the answer."""
    answer, heading = await asyncio.to_thread(_begun, use, request)
    try:
        collected = CompletionCollector(answer.choices)
        async for event in awaited(iter(answer), answer):
            collected.add(event)
        return _whole(collected, heading, request)
    finally:
        answer.cancel()


def stream_completion(use: UseText, request: CompletionRequest) -> CompletionStreamer:
    """The same piece by piece. Which choices are the best is not known before their end."""
    if _ranked(request):
        raise RequestError(
            f"best_of is {request.best_of} and n_choices {request.n_choices}: which choices are "
            "best is known only at their end. A stream gives all of them, with best_of=None"
        )
    answer, heading = _begun(use, request)
    chunks = completion_chunks(answer, heading, prefix=_prefix(request), suffix=_suffix(request))
    return CompletionStreamer(chunks, answer)


def _begun(use: UseText, request: CompletionRequest) -> Begun:
    if not isinstance(request, CompletionRequest):
        raise mistyped("request", "a CompletionRequest", request)
    refuse_unbuilt("request", fields_of(request))
    with use() as (host, model_id):
        return _started(host, model_id, request)


def _started(host: Host, model_id: str, request: CompletionRequest) -> Begun:
    number = host.next_number()
    if request.tool_schemas or validate_tool_choice(request).mode == "required":
        raise RequestError(
            "tool_schemas and tool_choice: a completion has no chat template that could show "
            "tools to the model; send a ChatCompletionRequest"
        )
    if not request.prompt:
        raise RequestError("Received an empty prompt. Give at least one character")
    generation = Generation(
        prompt=fitted(host.tokenizer.encode_prompt(request.prompt), host, request),
        params=sampling_params(request, host, number, 0 if _ranked(request) else None),
        choices=request.n_choices,
        max_tokens=request.max_tokens,
        stops=tuple(stop_strings(request)),
        ignore_eos=request.ignore_eos,
        constraint=_constraint(host, request),
        continues=True,
    )
    return host.start(generation), Heading(id=str(number), model=model_id)


def _whole(
    collected: CompletionCollector, heading: Heading, request: CompletionRequest
) -> CompletionResponse:
    return collected.response(
        heading,
        best_of=request.best_of,
        prefix=_prefix(request),
        suffix=_suffix(request),
    )


def _ranked(request: CompletionRequest) -> bool:
    """Whether some of the choices are dropped."""
    return request.best_of is not None and request.best_of < request.n_choices


def _prefix(request: CompletionRequest) -> str:
    return request.prompt if request.echo_prompt else ""


def _suffix(request: CompletionRequest) -> str:
    return request.suffix or ""


def _constraint(host: Host, request: CompletionRequest) -> Callable[[], Constraint] | None:
    """What compiles the request's grammar. Only what is no grammar at all is refused here."""
    grammar = validate_grammar(request)
    if grammar is None:
        return None
    return partial(host.grammars.compile, grammar, ignore_eos=request.ignore_eos)
