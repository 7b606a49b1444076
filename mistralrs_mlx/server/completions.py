"""POST /v1/completions. A stream sends an answer when it is complete: the Runner has no pieces."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from mistralrs_mlx import CompletionRequest, CompletionResponse

from .answers import completion_answer, fresh_id
from .asking import completion_requests
from .bodies import CompletionBody
from .body import body_of
from .events import ALIVE, DONE, EventStream, event, paced
from .leaving import unless_gone
from .replies import gate_of, json, metrics_of, model_of, runner_of, settings_of

__all__ = ["completions"]

COMPLETION = msgspec.json.Decoder(CompletionBody)  # made here: a type that is none fails at once

Answers = AsyncGenerator[list[CompletionResponse] | None]


async def completions(request: Request) -> Response:
    """Continue one or more texts."""
    body = await body_of(request, COMPLETION)
    model = model_of(request, body.model)
    wanted = completion_requests(body)
    with ExitStack() as stack:
        stack.enter_context(gate_of(request).answers(sum(each.n_choices for each in wanted)))
        if not body.stream:
            found = await unless_gone(request, _answered(request, wanted, model))
            return json(completion_answer(found, fresh_id("cmpl")))
        answers = paced(_once(request, wanted, model), settings_of(request).keep_alive_seconds)
        first = await unless_gone(request, _first(answers))
        apart = None if body.stream_options is None else body.stream_options.include_usage
        return EventStream(
            _events(answers, first, apart=apart),
            seconds=settings_of(request).answer_seconds,
            closing=stack.pop_all(),
        )


async def _answered(
    request: Request, wanted: list[CompletionRequest], model: str
) -> list[CompletionResponse]:
    found = []
    for each in wanted:
        answer = await run_in_threadpool(runner_of(request).send_completion_request, each, model)
        metrics_of(request).count_tokens(
            prompt=answer.usage.prompt_tokens, completion=answer.usage.completion_tokens
        )
        found.append(answer)
    return found


async def _once(
    request: Request, wanted: list[CompletionRequest], model: str
) -> AsyncGenerator[list[CompletionResponse]]:
    yield await _answered(request, wanted, model)


async def _first(answers: Answers) -> list[CompletionResponse] | None:
    return await anext(answers, None)


async def _events(
    answers: Answers, first: list[CompletionResponse] | None, *, apart: bool | None
) -> AsyncGenerator[bytes]:
    """Comments until the answers are there; then all of them, and their counts if wanted."""
    try:
        found = first
        while found is None:
            yield ALIVE
            found = await anext(answers)
        whole = completion_answer(found, fresh_id("cmpl"), usage=apart is not False)
        usage = whole.usage
        yield event(msgspec.structs.replace(whole, usage=usage if apart is None else None))
        if apart:
            yield event(msgspec.structs.replace(whole, choices=[]))
        yield DONE
    finally:
        await answers.aclose()
