"""The application: its routes, and what stands before them."""

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mistralrs_mlx import Runner

from .chat import chat_completions
from .completions import completions
from .embeddings import embeddings
from .failure import Failure, Gone, shown, told
from .gate import Gate
from .guard import Guard
from .management import (
    health,
    metrics,
    model_card,
    models,
    re_isq,
    reload_model,
    status_of_model,
    unload_model,
)
from .messages import count_tokens, messages
from .metrics import Metrics
from .pages import chat_page, docs_page, openapi
from .responses.routes import ROUTES as RESPONSES
from .responses.store import Store
from .settings import Settings
from .tokens import detokenize, tokenize

__all__ = ["application"]

SPARE_THREADS = 16  # for what is short: tokenizing, and waiting for the event loop
ROUTES = [
    Route("/", chat_page),
    Route("/ui", chat_page),  # where mistral.rs has it
    Route("/docs", docs_page),
    Route("/openapi.json", openapi),
    Route("/api-doc/openapi.json", openapi),  # where mistral.rs has it
    Route("/health", health),
    Route("/metrics", metrics),
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/models", models),
    Route("/v1/models/unload", unload_model, methods=["POST"]),
    Route("/v1/models/reload", reload_model, methods=["POST"]),
    Route("/v1/models/status", status_of_model, methods=["POST"]),
    Route("/v1/models/{model:path}", model_card),
    *RESPONSES,
    Route("/v1/messages", messages, methods=["POST"]),
    Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/detokenize", detokenize, methods=["POST"]),
    Route("/re_isq", re_isq, methods=["POST"]),
]


def application(runner: Runner, settings: Settings | None = None) -> Starlette:
    """An ASGI application in which this runner answers. Closing the runner is the caller's part."""
    settings = settings or Settings()
    measured = Metrics()
    paths = frozenset(route.path for route in ROUTES)
    app = Starlette(
        routes=ROUTES,
        middleware=[
            *_cors(settings),
            Middleware(Guard, settings=settings, metrics=measured, routes=paths),
        ],
        exception_handlers={
            Failure: told,
            ValueError: told,
            NotImplementedError: told,
            RecursionError: told,
            HTTPException: shown,
            405: _unknown_method,
            Gone: shown,
            Exception: shown,
        },
        lifespan=_living,
    )
    app.state.runner, app.state.settings, app.state.metrics = runner, settings, measured
    app.state.gate = Gate(most=settings.max_requests, most_at_once=settings.max_choices)
    app.state.responses = Store(most=settings.max_stored, most_bytes=settings.max_stored_bytes)
    app.state.started = int(time.time())
    return app


async def _unknown_method(request: Request, _: Exception) -> Response:
    """Name all methods of the path; Starlette names those of one of its routes."""
    found = next(each.path for each in ROUTES if each.path_regex.match(request.url.path))
    methods = (each.methods or set() for each in ROUTES if each.path == found)
    allowed = ", ".join(sorted(set().union(*methods)))
    return shown(request, HTTPException(405, headers={"Allow": allowed}))


def _cors(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    origins = list(settings.cors_origins)
    return [
        Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    ]


@asynccontextmanager
async def _living(app: Starlette) -> AsyncGenerator[None]:
    """A thread for every answer that may be under way: each may wait for a load or for its tools.

    At the end, what is answered in the background ends.
    """
    count = app.state.settings.max_requests + SPARE_THREADS
    threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix="answer")
    asyncio.get_running_loop().set_default_executor(threads)
    current_default_thread_limiter().total_tokens = count
    try:
        yield
    finally:
        await app.state.responses.close()
