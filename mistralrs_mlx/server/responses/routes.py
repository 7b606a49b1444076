"""The routes below /v1/responses."""

from contextlib import ExitStack

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mistralrs_mlx import ChatCompletionRequest
from mistralrs_mlx.server.asking import chat_request, refused
from mistralrs_mlx.server.body import body_of
from mistralrs_mlx.server.chat import begun, opened
from mistralrs_mlx.server.events import EventStream
from mistralrs_mlx.server.failure import Failure
from mistralrs_mlx.server.leaving import unless_gone
from mistralrs_mlx.server.replies import gate_of, json, model_of, runner_of, settings_of

from .answers import Deleted, InputTokens, fresh_answer
from .bodies import CountedBody, ResponsesBody, chat_body, counted_body
from .items import Item, messages_of, read_items, refuse_twins
from .queries import ItemsQuery, ResponseQuery, page, query_of
from .recording import Recording
from .store import Kept, Store
from .work import Work

__all__ = ["ROUTES"]

RESPONSES = msgspec.json.Decoder(ResponsesBody)  # made here: a type that is none fails at once
COUNTED = msgspec.json.Decoder(CountedBody)
NAMES = {"messages": "input", "verbosity": "text.verbosity", "web_search_options": "tools"}


async def create(request: Request) -> Response:
    """Answer: whole, as events, or in the background."""
    body = await body_of(request, RESPONSES)
    model = model_of(request, body.model)
    store = _store_of(request)
    before = _before(store, body.previous_response_id)
    asked = read_items(body.input, store.items)
    refuse_twins((*before, *asked))
    chat = _chat(request, body, (*before, *asked))
    work = Work(
        request,
        fresh_answer(body, model),
        before=before,
        asked=asked,
        store=None if body.store is False else store,
        recording=Recording() if body.background and body.stream else None,
    )
    with ExitStack() as stack:
        stack.enter_context(gate_of(request).answers(1))
        if body.background:
            return await _in_background(request, chat, work, stack)
        chunks, first = await unless_gone(request, begun(request, chat, model, stack))
        if not body.stream:
            return json(await unless_gone(request, work.whole(chunks, first)))
        work.begin()
        stack.callback(work.close)
        return EventStream(
            work.told(chunks, first),
            seconds=settings_of(request).answer_seconds,
            closing=stack.pop_all(),
            failed=work.failed,
        )


async def count(request: Request) -> Response:
    """How many tokens a prompt has; nothing is generated."""
    body = await body_of(request, COUNTED)
    model = model_of(request, body.model)
    store = _store_of(request)
    before = _before(store, body.previous_response_id)
    asked = () if body.input is None else read_items(body.input, store.items)
    refuse_twins((*before, *asked))
    chat = _chat(request, counted_body(body), (*before, *asked))
    counted = await run_in_threadpool(runner_of(request).count_prompt_tokens, chat, model)
    return json(InputTokens(input_tokens=counted))


async def retrieve(request: Request) -> Response:
    """A response that is kept, or as much as there is of it; or its events once more."""
    query, kept = query_of(request, ResponseQuery), _kept(request)
    if not query.stream:
        return json(kept.answer)
    if kept.events is None:
        reason = "only a response that was asked for with background and stream is told again"
        raise refused("stream", reason)
    start = 0 if query.starting_after is None else query.starting_after + 1
    return _recorded(request, kept.events, start)


async def delete(request: Request) -> Response:
    """Forget a response; what is done for it in the background ends."""
    kept = _kept(request)
    await _store_of(request).drop(kept.answer.id)
    return json(Deleted(id=kept.answer.id))


async def cancel(request: Request) -> Response:
    """End a response in the background. One that has ended stays as it is."""
    kept = _kept(request)
    if not kept.answer.background:
        raise Failure(400, "only a response that was asked for with background=true is canceled")
    await _store_of(request).cancel(kept.answer.id)
    return json(_kept(request).answer)


async def input_items(request: Request) -> Response:
    """What a response has heard, page by page: its input, and the conversation before it."""
    query = query_of(request, ItemsQuery)
    return json(page(_kept(request).heard, query))


async def _in_background(
    request: Request, chat: ChatCompletionRequest, work: Work, stack: ExitStack
) -> Response:
    chunks = await unless_gone(request, opened(request, chat, work.kept.answer.model, stack))
    begun = work.kept
    work.begin()
    stack.callback(work.close)
    work.go_on(chunks, stack.pop_all())
    return json(begun.answer) if begun.events is None else _recorded(request, begun.events, 0)


def _recorded(request: Request, events: Recording, start: int) -> Response:
    """Events that are recorded. Who stops reading them ends nothing."""
    settings = settings_of(request)
    return EventStream(
        events.read(start, settings.keep_alive_seconds),
        seconds=settings.answer_seconds,
        closing=ExitStack(),
        failed=lambda _: b"",  # it is in the recording, if there is anything to tell
    )


def _chat(request: Request, body: ResponsesBody, heard: tuple[Item, ...]) -> ChatCompletionRequest:
    """The chat that it asks for. What is wrong is told by the names that are known here."""
    try:
        return chat_request(
            chat_body(body, messages_of(heard, body.instructions)),
            media_urls=settings_of(request).media_urls,
        )
    except Failure as failure:
        failure.parameter = NAMES.get(failure.parameter or "", failure.parameter)
        raise


def _before(store: Store, id: str | None) -> tuple[Item, ...]:
    """The conversation that goes on."""
    if id is None:
        return ()
    kept = store.find(id, parameter="previous_response_id")
    if kept.answer.status in ("queued", "in_progress"):
        message = f"response `{id}` is {kept.answer.status}; go on from it when it has ended"
        raise Failure(400, message, parameter="previous_response_id")
    return kept.conversation


def _kept(request: Request) -> Kept:
    return _store_of(request).find(request.path_params["id"])


def _store_of(request: Request) -> Store:
    store: Store = request.app.state.responses
    return store


ROUTES = [
    Route("/v1/responses", create, methods=["POST"]),
    Route("/v1/responses/input_tokens", count, methods=["POST"]),
    Route("/v1/responses/{id}", retrieve, methods=["GET"]),
    Route("/v1/responses/{id}", delete, methods=["DELETE"]),
    Route("/v1/responses/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/responses/{id}/input_items", input_items, methods=["GET"]),
]
