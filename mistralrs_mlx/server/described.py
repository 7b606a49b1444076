"""The server's OpenAPI description, made from the types that read and write its bodies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from mistralrs_mlx import __version__

from .answers import ChatAnswer, ChatChunk, CompletionAnswer
from .anthropic import CountBody, MessagesBody
from .blocks import Counted, MessageAnswer
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
from .failure import ANTHROPIC, Envelope, TheirEnvelope
from .management import Card, Cards, ModelStatus
from .responses.answers import Answer, Deleted, InputTokens, Items
from .responses.bodies import CountedBody, ResponsesBody
from .responses.queries import ItemsQuery, ResponseQuery
from .tokens import Detokenized, Tokenized

__all__ = ["OPERATIONS", "Operation", "description"]

JSON, EVENTS, TEXT = "application/json", "text/event-stream", "text/plain"
REF = "#/components/{place}/{name}"
SCHEMA = "#/components/schemas/{name}"
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What streams whose events have their kinds carry; their clients know them all."""

    type: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a method of a path does, what it reads and what it gives."""

    path: str
    does: str
    group: str
    method: str = "get"
    body: type[msgspec.Struct] | None = None
    example: Json | None = None  # of a body
    query: type[msgspec.Struct] | None = None
    answer: type | None = None  # None: a text
    events: type | None = None  # what a stream carries, if it can be one
    may_fail: tuple[int, ...] = ()  # beside what everything may

    @property
    def name(self) -> str:
        """A name that no other has."""
        return "_".join([self.method, *re.findall(r"\w+", self.path)])

    @property
    def failures(self) -> tuple[int, ...]:
        """The statuses that it may end with."""
        read = READING if self.body is not None else ()
        return tuple(sorted({*ALWAYS, *read, *self.may_fail}))


ERRORS = {
    400: "A field is wrong, or asks for what is not there.",
    401: "The key is missing or wrong.",
    403: "The `Host` is a foreign name.",
    404: "What is named is not there.",
    408: "The body was slow to arrive.",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    429: "Too many answers are under way.",
    500: "The model failed.",
    503: "The model was unloaded while it answered.",
    504: "The answer took too long.",
    507: "There is no room in memory.",
}
ALWAYS = (401, 403, 500)
READING = (400, 408, 413, 415)
ANSWERING = (404, 429, 503, 504, 507)
LOADING = (404, 507)  # what asks a model that may have to be loaded first
HELLO = [{"role": "user", "content": "Hello"}]
ONE = {"model_id": "default"}
EXAMPLES: dict[str, Json] = {"model": {"examples": ["default"]}}
RESPONSE = "/v1/responses/{id}"
OPERATIONS = [
    Operation(
        path="/v1/chat/completions", method="post", group="Answers",
        does="Answer a chat, whole or streamed.",
        body=ChatBody, answer=ChatAnswer, events=ChatChunk, may_fail=ANSWERING,
        example={"messages": HELLO, "max_tokens": 64},
    ),
    Operation(
        path="/v1/completions", method="post", group="Answers",
        does="Continue texts, whole or streamed.",
        body=CompletionBody, answer=CompletionAnswer, events=CompletionAnswer, may_fail=ANSWERING,
        example={"prompt": "Once upon a time", "max_tokens": 64},
    ),
    Operation(
        path="/v1/responses", method="post", group="Answers",
        does="Answer, and keep the conversation.",
        body=ResponsesBody, answer=Answer, events=Event, may_fail=ANSWERING,
        example={"input": "Hello", "max_output_tokens": 64},
    ),
    Operation(
        path="/v1/responses/input_tokens", method="post", group="Tokens and vectors",
        does="Count the tokens that a response would read.",
        body=CountedBody, answer=InputTokens, may_fail=(404,), example={"input": "Hello"},
    ),
    Operation(
        path=RESPONSE, group="Answers", does="Tell a response, or as much as there is of it.",
        query=ResponseQuery, answer=Answer, may_fail=(400, 404),
    ),
    Operation(
        path=RESPONSE, method="delete", group="Answers", does="Forget a response.",
        answer=Deleted, may_fail=(404,),
    ),
    Operation(
        path=f"{RESPONSE}/cancel", method="post", group="Answers",
        does="End a response in the background.", answer=Answer, may_fail=(400, 404),
    ),
    Operation(
        path=f"{RESPONSE}/input_items", group="Answers",
        does="What a response has heard, page by page.",
        query=ItemsQuery, answer=Items, may_fail=(400, 404),
    ),
    Operation(
        path="/v1/messages", method="post", group="Answers",
        does="Answer a chat as Anthropic's clients ask, whole or streamed.",
        body=MessagesBody, answer=MessageAnswer, events=Event, may_fail=ANSWERING,
        example={"messages": HELLO, "max_tokens": 64},
    ),
    Operation(
        path="/v1/messages/count_tokens", method="post", group="Tokens and vectors",
        does="Count the tokens of a prompt in Anthropic's form.",
        body=CountBody, answer=Counted, may_fail=LOADING, example={"messages": HELLO},
    ),
    Operation(
        path="/v1/embeddings", method="post", group="Tokens and vectors",
        does="Turn texts into vectors.", body=EmbeddingBody, answer=Vectors, may_fail=ANSWERING,
        example={"input": ["Hello", "Goodbye"]},
    ),
    Operation(
        path="/tokenize", method="post", group="Tokens and vectors",
        does="The token ids of a text.", body=TokenizeBody, answer=Tokenized, may_fail=LOADING,
        example={"prompt": "Hello"},
    ),
    Operation(
        path="/detokenize", method="post", group="Tokens and vectors",
        does="The text of token ids.", body=DetokenizeBody, answer=Detokenized, may_fail=LOADING,
        example={"tokens": [1, 2, 3]},
    ),
    Operation(
        path="/v1/models", group="Models", does="The models, and whether they are loaded.",
        answer=Cards,
    ),
    Operation(
        path="/v1/models/{model}", group="Models", does="One of the models.",
        answer=Card, may_fail=(404,),
    ),
    *(
        Operation(
            path=f"/v1/models/{act}", method="post", group="Models", does=does,
            body=ModelBody, answer=ModelStatus, may_fail=LOADING, example=ONE,
        )
        for act, does in (
            ("unload", "Free a model's memory; a request to it loads it again."),
            ("reload", "Load a model again."),
            ("status", "Whether a model is loaded, what it is and what it holds."),
        )
    ),
    Operation(
        path="/re_isq", method="post", group="Models", does="Quantize a loaded model anew.",
        body=IsqBody, answer=ModelStatus, may_fail=LOADING, example={"ggml_type": "Q4K"},
    ),
    Operation(path="/health", group="Server", does="Whether it is up."),
    Operation(path="/metrics", group="Server", does="Counts and times for Prometheus."),
]  # fmt: skip


@cache
def description() -> Json:
    """The whole OpenAPI document."""
    kinds = [kind for each in OPERATIONS for kind in (each.body, each.answer, each.events) if kind]
    kinds += [Envelope, TheirEnvelope]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=SCHEMA)
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Json] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mistralrs-mlx", "version": __version__},
        "tags": [{"name": name} for name in dict.fromkeys(each.group for each in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": dict(_errors(by_kind)),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _operation(asked: Operation, schemas: dict[Any, Json]) -> Json:
    form = _form(asked.path)
    wrong = {
        str(status): {"$ref": REF.format(place="responses", name=f"{form}{status}")}
        for status in asked.failures
    }
    found: Json = {
        "operationId": asked.name,
        "summary": asked.does,
        "tags": [asked.group],
        "responses": {"200": _good(asked, schemas), **wrong},
    }
    if parameters := list(_parameters(asked)):
        found["parameters"] = parameters
    if asked.body is not None:
        said = {"schema": schemas[asked.body], "example": asked.example}
        found["requestBody"] = {"required": True, "content": {JSON: said}}
    return found


def _good(asked: Operation, schemas: dict[Any, Json]) -> Json:
    """The answer, and the same as a stream."""
    if asked.answer is None:
        content: Json = {TEXT: {"schema": {"type": "string"}}}
    else:
        content = {JSON: {"schema": schemas[asked.answer]}}
    if asked.events is not None:
        content[EVENTS] = {"schema": _event(asked, schemas)}
    found: Json = {"description": "Done.", "content": content}
    if asked.answer is Answer and asked.body is not None:
        found["links"] = dict(_links())
    return found


def _links() -> Iterator[tuple[str, Json]]:
    """What can be asked about a response once it is there."""
    for each in OPERATIONS:
        if each.path.startswith(RESPONSE):
            id = {"id": "$response.body#/id"}
            yield each.name, {"operationId": each.name, "parameters": id}


def _event(asked: Operation, schemas: dict[Any, Json]) -> Json:
    """One event of a stream: its data is JSON, or a mark of the end."""
    failed = TheirEnvelope if _form(asked.path) == "Anthropic" else Envelope
    said = {"anyOf": [schemas[asked.events], schemas[failed]]}
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": said}
    return {
        "type": "object",
        "description": "With `stream: true`: an event.",
        "required": ["data"],
        "properties": {"data": {"anyOf": [data, {"const": "[DONE]"}]}},
    }


def _parameters(asked: Operation) -> Iterator[Json]:
    for part in asked.path.split("/"):
        if part.startswith("{"):
            name = part.strip("{}")
            said = {"type": "string", "minLength": 1} | EXAMPLES.get(name, {})
            yield _parameter(name, "path", said)
    if asked.query is not None:
        (schema,) = msgspec.json.schema(asked.query)["$defs"].values()
        for name, of in schema["properties"].items():
            yield _parameter(name, "query", of)


def _parameter(name: str, place: str, schema: Json) -> Json:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _errors(schemas: dict[Any, Json]) -> Iterator[tuple[str, Json]]:
    """What each status means, in the form of each family of routes."""
    wait = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
    for path, kind in (("", Envelope), (ANTHROPIC, TheirEnvelope)):
        for status, meaning in ERRORS.items():
            said: Json = {"description": meaning, "content": {JSON: {"schema": schemas[kind]}}}
            if status in {429, 503}:
                said["headers"] = {"Retry-After": wait}
            yield f"{_form(path)}{status}", said


def _form(path: str) -> str:
    """Whose form the errors of a path have."""
    return "Anthropic" if path.startswith(ANTHROPIC) else "OpenAI"
