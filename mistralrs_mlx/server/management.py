"""The models: which there are, and mistral.rs's routes that load and unload them. And /health."""

from typing import Any, Literal

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from .bodies import IsqBody, ModelBody
from .body import body_of
from .replies import gate_of, json, metrics_of, model_of, runner_of

__all__ = [
    "Card",
    "Cards",
    "ModelStatus",
    "health",
    "metrics",
    "model_card",
    "models",
    "re_isq",
    "reload_model",
    "status_of_model",
    "unload_model",
]

ISQ = msgspec.json.Decoder(IsqBody)  # made here: a type that is none fails at once
MODEL = msgspec.json.Decoder(ModelBody)


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is, as it was loaded last, and the bytes that it holds."""

    status: Literal["loaded", "unloaded", "reloading"]
    kind: Literal["text", "multimodal", "embedding"]
    architecture: str
    source: str
    dtype: str
    quantization: str
    context_length: int
    weights_bytes: int
    caches_bytes: int
    kept_bytes: int


class Card(Details, frozen=True, kw_only=True):
    """A model as OpenAI's clients list it, and its details."""

    id: str
    object: str
    created: int
    owned_by: str


class Cards(msgspec.Struct, frozen=True, kw_only=True):
    """All of them. `default` is the one that answers when none is named."""

    object: str
    data: list[Card]


class ModelStatus(Details, frozen=True, kw_only=True):
    """The details of a model."""

    model_id: str


async def health(_: Request) -> Response:
    """The server is up; models are not asked."""
    return Response("OK", media_type="text/plain")


async def metrics(request: Request) -> Response:
    """Counts and times for Prometheus."""
    text = metrics_of(request).text(
        answers=gate_of(request).inside, models=dict(runner_of(request).list_models_with_status())
    )
    return Response(text, media_type="text/plain; version=0.0.4")


async def models(request: Request) -> Response:
    """The list, `default` first."""
    runner = runner_of(request)
    cards = [_card(request, model) for model in runner.list_models()]
    default = _card(request, model_of(request, None))
    return json(Cards(object="list", data=[msgspec.structs.replace(default, id="default"), *cards]))


async def model_card(request: Request) -> Response:
    """One of the list."""
    wanted: str = request.path_params["model"]
    card = _card(request, model_of(request, wanted))
    return json(msgspec.structs.replace(card, id=wanted))


async def unload_model(request: Request) -> Response:
    """Free a model's memory. A request to it loads it again."""
    model = await _named(request)
    await run_in_threadpool(runner_of(request).unload_model, model)
    return _status(request, model)


async def reload_model(request: Request) -> Response:
    """Load a model again that was unloaded."""
    model = await _named(request)
    await run_in_threadpool(runner_of(request).reload_model, model)
    return _status(request, model)


async def status_of_model(request: Request) -> Response:
    """Tell whether a model is loaded, what it is and what it holds."""
    return _status(request, await _named(request))


async def re_isq(request: Request) -> Response:
    """Quantize a model anew, once its running answers have ended."""
    body = await body_of(request, ISQ)
    model = model_of(request, body.model)
    await run_in_threadpool(runner_of(request).send_re_isq, body.ggml_type, model)
    return _status(request, model)


async def _named(request: Request) -> str:
    return model_of(request, (await body_of(request, MODEL)).model_id)


def _status(request: Request, model: str) -> Response:
    return json(ModelStatus(model_id=model, **_details(request, model)))


def _details(request: Request, model: str) -> dict[str, Any]:
    details = runner_of(request).model_details(model)
    return {name: getattr(details, name) for name in Details.__struct_fields__}


def _card(request: Request, model: str) -> Card:
    return Card(
        id=model,
        object="model",
        created=request.app.state.started,
        owned_by="local",
        **_details(request, model),
    )
