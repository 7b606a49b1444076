"""POST /v1/embeddings."""

import math
import sys
from array import array
from base64 import b64encode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from mistralrs_mlx import EmbeddingRequest, Runner

from .asking import made
from .bodies import MOST_INPUTS, EmbeddingBody
from .body import body_of
from .failure import Failure
from .leaving import unless_gone
from .replies import gate_of, json, metrics_of, model_of, runner_of

__all__ = ["Vectors", "embeddings"]

EMBEDDING = msgspec.json.Decoder(EmbeddingBody)  # made here: a type that is none fails at once

UNIT = 1e-3  # how far from one a vector's length may be for it to be shortened to length one


class Vector(msgspec.Struct, frozen=True, kw_only=True):
    """One vector: its numbers, or base64 of them as little-endian 32-bit floats."""

    object: str
    index: int
    embedding: list[float] | str


class EmbeddingCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class Vectors(msgspec.Struct, frozen=True, kw_only=True):
    """A vector for each input, in their order."""

    object: str
    data: list[Vector]
    model: str
    usage: EmbeddingCounts


async def embeddings(request: Request) -> Response:
    """Turn texts, or lists of tokens, into vectors."""
    body = await body_of(request, EMBEDDING)
    model = model_of(request, body.model)
    wanted = made(
        EmbeddingRequest, input=body.input, truncate_sequence=bool(body.truncate_sequence)
    )
    inputs = _inputs(wanted)
    if len(inputs) > MOST_INPUTS:
        message = f"{len(inputs)} inputs are too many; send {MOST_INPUTS} at a time"
        raise Failure(400, message, parameter="input")
    runner = runner_of(request)
    with gate_of(request).answers(1):
        work = run_in_threadpool(_embedded, runner, wanted, inputs, model)
        found, tokens = await unless_gone(request, work)
    metrics_of(request).count_tokens(prompt=tokens)
    vectors = [_shortened(vector, body.dimensions) for vector in found]
    coded = body.encoding_format == "base64"
    data = [
        Vector(object="embedding", index=index, embedding=_base64(vector) if coded else vector)
        for index, vector in enumerate(vectors)
    ]
    usage = EmbeddingCounts(prompt_tokens=tokens, total_tokens=tokens)
    return json(Vectors(object="list", data=data, model=model, usage=usage))


def _inputs(request: EmbeddingRequest) -> list[str | list[int]]:
    given = request.input
    if isinstance(given, str) or isinstance(given[0], int):
        return [given]
    return list(given)


def _embedded(
    runner: Runner, request: EmbeddingRequest, inputs: list[str | list[int]], model: str
) -> tuple[list[list[float]], int]:
    """The vectors, and how many tokens were read for them."""
    vectors = runner.send_embedding_request(request, model)
    most = runner.max_sequence_length(model) or sys.maxsize
    lengths = (
        len(each if isinstance(each, list) else runner.tokenize_text(each, model_id=model))
        for each in inputs
    )
    return vectors, sum(min(length, most) for length in lengths)


def _shortened(vector: list[float], dimensions: int | None) -> list[float]:
    """The first numbers of a vector, at length one if the whole has that length."""
    if dimensions is None or dimensions == len(vector):
        return vector
    if dimensions > len(vector):
        message = f"dimensions={dimensions}, but this model's vectors have {len(vector)}"
        raise Failure(400, message, parameter="dimensions")
    start = vector[:dimensions]
    length = math.hypot(*start)
    if length == 0 or abs(math.hypot(*vector) - 1) > UNIT:
        return start
    return [each / length for each in start]


def _base64(vector: list[float]) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()
