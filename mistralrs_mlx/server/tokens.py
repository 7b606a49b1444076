"""POST /tokenize and /detokenize, in vLLM's form."""

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from .bodies import DetokenizeBody, TokenizeBody
from .body import body_of
from .replies import json, model_of, runner_of

__all__ = ["Detokenized", "Tokenized", "detokenize", "tokenize"]

TOKENIZE = msgspec.json.Decoder(TokenizeBody)  # made here: a type that is none fails at once
DETOKENIZE = msgspec.json.Decoder(DetokenizeBody)


class Tokenized(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a text."""

    count: int
    max_model_len: int | None
    tokens: list[int]


class Detokenized(msgspec.Struct, frozen=True, kw_only=True):
    """The text of tokens."""

    prompt: str


async def tokenize(request: Request) -> Response:
    """The token ids of a text."""
    body = await body_of(request, TOKENIZE)
    model, runner = model_of(request, body.model), runner_of(request)
    tokens = await run_in_threadpool(
        runner.tokenize_text, body.prompt, body.add_special_tokens, model_id=model
    )
    most = await run_in_threadpool(runner.max_sequence_length, model)
    return json(Tokenized(count=len(tokens), max_model_len=most, tokens=tokens))


async def detokenize(request: Request) -> Response:
    """The text of token ids."""
    body = await body_of(request, DETOKENIZE)
    model, runner = model_of(request, body.model), runner_of(request)
    text = await run_in_threadpool(
        runner.detokenize_text, body.tokens, body.skip_special_tokens, model
    )
    return json(Detokenized(prompt=text))
