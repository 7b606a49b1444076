"""POST /v1/completions: whole, or as server-sent events."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from mistralrs_mlx import CompletionChunkResponse, CompletionRequest, CompletionResponse

from .answers import CompletionAnswer, Counts, completion_answer, counts, fresh_id, text_choices
from .asking import completion_requests
from .bodies import CompletionBody, StreamOptions
from .body import body_of
from .events import EventStream, chunk_events, event, merged, paced
from .leaving import unless_gone
from .metrics import Metrics
from .replies import gate_of, json, metrics_of, model_of, runner_of, settings_of

__all__ = ["completions"]

COMPLETION = msgspec.json.Decoder(CompletionBody)  # made here: a type that is none fails at once

Chunk = tuple[int, CompletionChunkResponse]  # and the number of the prompt that it continues
Chunks = AsyncGenerator[Chunk | None]


async def completions(request: Request) -> Response:
    """Continue one or more texts, all of them at once."""
    body = await body_of(request, COMPLETION)
    model = model_of(request, body.model)
    wanted = completion_requests(body)
    with ExitStack() as stack:
        stack.enter_context(gate_of(request).answers(sum(each.n_choices for each in wanted)))
        if not body.stream:
            found = await unless_gone(request, _answered(request, wanted, model))
            return json(completion_answer(found, fresh_id("cmpl")))
        chunks, first = await unless_gone(request, _begun(request, wanted, model, stack))
        told = _Told(body.stream_options, metrics_of(request), wanted)
        return EventStream(
            told.events(chunks, first),
            seconds=settings_of(request).answer_seconds,
            closing=stack.pop_all(),
        )


async def _answered(
    request: Request, wanted: list[CompletionRequest], model: str
) -> list[CompletionResponse]:
    works = [asyncio.ensure_future(runner_of(request).complete(each, model)) for each in wanted]
    try:
        found = await asyncio.gather(*works)
    finally:  # of one that fails, the others are of no use
        for work in works:
            work.cancel()
    for answer in found:
        metrics_of(request).count_tokens(
            prompt=answer.usage.prompt_tokens, completion=answer.usage.completion_tokens
        )
    return found


async def _begun(
    request: Request, wanted: list[CompletionRequest], model: str, stack: ExitStack
) -> tuple[Chunks, Chunk | None]:
    """The chunks to come and the first one, or None for it while long prompts are read."""
    began = time.monotonic()
    streams = []
    for each in wanted:
        start = runner_of(request).stream_completion_request
        streams.append(await run_in_threadpool(start, each, model))
        stack.callback(streams[-1].close)
    chunks = paced(merged(streams), settings_of(request).keep_alive_seconds)
    first = await anext(chunks, None)
    metrics_of(request).first_token_seconds.add(time.monotonic() - began)
    return chunks, first


@dataclass
class _Told:
    """Chunks as events; what all of them share."""

    options: StreamOptions | None
    metrics: Metrics
    wanted: list[CompletionRequest]
    id: str = field(default_factory=lambda: fresh_id("cmpl"))
    usages: list[Counts] = field(default_factory=list)  # of the prompts that are done

    def events(self, chunks: Chunks, first: Chunk | None) -> AsyncGenerator[bytes]:
        """What the client is sent."""
        return chunk_events(chunks, first, lambda chunk: self._event(*chunk), self.metrics)

    def _event(self, prompt: int, chunk: CompletionChunkResponse) -> bytes:
        usage = self._usage(chunk)
        apart = None if self.options is None else self.options.include_usage
        before = sum(each.n_choices for each in self.wanted[:prompt])
        said = CompletionAnswer(
            id=self.id,
            object=chunk.object,
            created=chunk.created,
            model=chunk.model,
            choices=text_choices(chunk.choices, before),
            system_fingerprint=chunk.system_fingerprint,
            usage=usage if apart is None else None,
        )
        if usage is None or not apart:
            return event(said)
        return event(said) + event(msgspec.structs.replace(said, choices=[], usage=usage))

    def _usage(self, chunk: CompletionChunkResponse) -> Counts | None:
        """What the whole request took, with the last chunk of all."""
        if chunk.usage is None:
            return None
        self.usages.append(counts(chunk.usage))
        if len(self.usages) < len(self.wanted):
            return None
        read = sum(each.prompt_tokens for each in self.usages)
        written = sum(each.completion_tokens for each in self.usages)
        self.metrics.count_tokens(prompt=read, completion=written)
        if len(self.usages) == 1:
            return self.usages[0]
        return Counts(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)
