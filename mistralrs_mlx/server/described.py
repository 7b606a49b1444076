"""What the server tells about itself: its OpenAPI description, and the chat page."""

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mistralrs_mlx import __version__

from .answers import ChatAnswer, CompletionAnswer
from .anthropic import CountBody, MessagesBody
from .bodies import (
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    EmbeddingBody,
    IsqBody,
    ModelBody,
    TokenizeBody,
)
from .embeddings import Vectors
from .failure import Envelope
from .management import Cards, ModelStatus
from .responses.answers import Answer, Deleted, Items
from .responses.bodies import ResponsesBody
from .responses.queries import ItemsQuery, Query, ResponseQuery
from .tokens import Detokenized, Tokenized

__all__ = ["chat_page", "description", "openapi"]

POLICY = (
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
)
REF = "#/components/schemas/{name}"
READ = {"/v1/models": ("The models, and whether they are loaded.", Cards)}
PLAIN = {"/health": "Whether the server is up.", "/metrics": "Counts and times for Prometheus."}
ASKED: dict[str, tuple[str, Any, Any]] = {  # path: (what it does, body, answer)
    "/v1/chat/completions": ("Answer a chat.", ChatBody, ChatAnswer),
    "/v1/completions": ("Continue texts.", CompletionBody, CompletionAnswer),
    "/v1/embeddings": ("Turn texts into vectors.", EmbeddingBody, Vectors),
    "/v1/responses": ("Answer, and keep the conversation.", ResponsesBody, Answer),
    "/v1/messages": ("Answer a chat, as Anthropic's clients ask.", MessagesBody, None),
    "/v1/messages/count_tokens": ("Count a prompt's tokens.", CountBody, None),
    "/v1/models/unload": ("Free a model's memory.", ModelBody, ModelStatus),
    "/v1/models/reload": ("Load a model again.", ModelBody, ModelStatus),
    "/v1/models/status": ("Whether a model is loaded.", ModelBody, ModelStatus),
    "/tokenize": ("The token ids of a text.", TokenizeBody, Tokenized),
    "/detokenize": ("The text of token ids.", DetokenizeBody, Detokenized),
    "/re_isq": ("Quantize a loaded model anew.", IsqBody, ModelStatus),
}
ONE = "/v1/responses/{id}"
OF_ONE: dict[tuple[str, str], tuple[str, type[Query] | None, Any]] = {  # its query in place of body
    (ONE, "get"): ("A response, or as much as there is of it.", ResponseQuery, Answer),
    (ONE, "delete"): ("Forget a response.", None, Deleted),
    (f"{ONE}/cancel", "post"): ("End a response in the background.", None, Answer),
    (f"{ONE}/input_items", "get"): ("What a response has heard, by pages.", ItemsQuery, Items),
}


async def openapi(_: Request) -> Response:
    """The description of all routes, made from the types that read and write their bodies."""
    return Response(msgspec.json.encode(description()), media_type="application/json")


async def chat_page(_: Request) -> Response:
    """A page to chat with the models. It loads nothing from elsewhere."""
    return Response(_page(), media_type="text/html", headers={"Content-Security-Policy": POLICY})


@cache
def description() -> dict[str, Any]:
    """The whole OpenAPI document."""
    kinds = [kind for _, *pair in ASKED.values() for kind in pair if kind is not None]
    kinds += [kind for _, kind in READ.values()] + [Envelope]
    kinds += [kind for *_, kind in OF_ONE.values()]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REF)
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {
        path: {"get": _operation(text, by_kind, answer=kind)} for path, (text, kind) in READ.items()
    }
    paths |= {path: {"get": _operation(text, by_kind)} for path, text in PLAIN.items()}
    paths |= {
        path: {"post": _operation(text, by_kind, body=body, answer=answer)}
        for path, (text, body, answer) in ASKED.items()
    }
    for (path, method), (text, query, answer) in OF_ONE.items():
        paths.setdefault(path, {})[method] = _operation(text, by_kind, answer=answer) | {
            "parameters": [_parameter("id", "path", {"type": "string"}), *_queried(query)]
        }
    key = {"type": "http", "scheme": "bearer"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "mistralrs-mlx", "version": __version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": key}},
        "security": [{}, {"key": []}],
    }


def _operation(
    text: str, schemas: dict[Any, Any], *, body: Any = None, answer: Any = None
) -> dict[str, Any]:
    good = {"description": "Done."} | ({} if answer is None else _json(schemas[answer]))
    error = {"description": "An error."} | _json(schemas[Envelope])
    found: dict[str, Any] = {"summary": text, "responses": {"200": good, "default": error}}
    if body is not None:
        found["requestBody"] = {"required": True} | _json(schemas[body])
    return found


def _queried(query: type[Query] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    (schema,) = msgspec.json.schema(query)["$defs"].values()
    return [_parameter(name, "query", of) for name, of in schema["properties"].items()]


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _json(schema: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


@cache
def _page() -> bytes:
    return files(__package__).joinpath("page.html").read_bytes()
