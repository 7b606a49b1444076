"""Requests for vectors: texts -> tokens -> batches of like length -> vectors, in their order."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import cast

import mlx.core as mx

from mistralrs_mlx.api.checks import mistyped
from mistralrs_mlx.api.requests import EmbeddingRequest
from mistralrs_mlx.api.validation import embedding_inputs
from mistralrs_mlx.engine.memory import Budget
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import ModelUnloaded, RequestError
from mistralrs_mlx.layers.pooling import Pooling, unit
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.models.embedder import Embedder, Headless
from mistralrs_mlx.text.tokenizer import Tokenizer

from .facts import Facts
from .fitting import refuse_unknown
from .host import Host

__all__ = ["AnyHost", "EmbeddingHost", "answer_embedding", "batches", "text_host"]

PASS = 4096  # tokens of one pass, padding included, unless a single text is longer
SHORT = 64  # tokens; up to here padding costs less than another pass
POOLING = "lasttoken"  # of a text model that was not made for vectors


class EmbeddingHost:
    """One loaded embedder with its tokenizer. Every method may be called from any thread."""

    def __init__(
        self,
        embedder: Callable[[], Embedder],
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        facts: Facts,
        memory: Budget,
        max_rows: int,
        lower_case: bool = False,
    ) -> None:
        """`embedder` is asked before each pass, and raises if its model is there no more."""
        self.tokenizer, self.facts, self.memory = tokenizer, facts, memory
        self.context_length = facts.context_length
        self._embedder, self._vocab_size = embedder, vocab_size
        self._max_rows, self._lower_case = max_rows, lower_case
        self._closed: str | None = None
        self.rested = 0.0  # when it last made vectors, by the monotonic clock

    @property
    def busy(self) -> bool:
        """Never: whoever has vectors made stays until they are there."""
        return False

    def await_rest(self) -> None:
        """At once, as it is never busy."""

    def tokens(self, given: str | list[int], *, truncate: bool, place: int) -> list[int]:
        """What the model reads of the input at this place."""
        if isinstance(given, str):
            found = self.tokenizer.encode(given.lower() if self._lower_case else given)
        else:
            found = self._known(given, place)
        if not found:
            raise RequestError(f"input {place} has no tokens. Give at least one character")
        refuse_unknown(found, self._vocab_size)
        return self._fitted(found, place, truncate=truncate)

    def embed(self, rows: Sequence[list[int]]) -> list[list[float]]:
        """One vector for each row of tokens. Between passes other models go on answering."""
        vectors: dict[int, list[float]] = {}
        lengths = [len(row) for row in rows]
        for group in batches(lengths, tokens=PASS, rows=self._max_rows):
            chosen = [rows[index] for index in group]
            made = worker().call(lambda chosen=chosen: self._pass(chosen))  # type: ignore[misc]
            vectors |= zip(group, made, strict=True)
        return [vectors[index] for index in range(len(rows))]

    def close(self, reason: str) -> "Future[None]":
        """End what runs, after the pass under way, with an error that says why."""
        return worker().send(lambda: self._close(reason))

    def _close(self, reason: str) -> None:
        if self._closed is not None:
            return
        self._closed = reason
        del self._embedder  # others may hold this host, such as the traceback a notebook keeps
        self.memory.close()

    def _pass(self, rows: list[list[int]]) -> list[list[float]]:
        if self._closed is not None:
            raise ModelUnloaded(self._closed)
        embedder = self._embedder()
        lengths = [len(row) for row in rows]
        padded = [row + [0] * (max(lengths) - len(row)) for row in rows]
        try:
            found = embedder(mx.array(padded), lengths).tolist()
        except (RuntimeError, MemoryError) as error:
            raise RequestError(f"the model failed while answering: {error}") from error
        self.rested = time.monotonic()
        return cast(list[list[float]], found)

    def _known(self, tokens: list[int], place: int) -> list[int]:
        if (worst := max(tokens)) >= self._vocab_size:
            raise RequestError(
                f"input {place} has the token {worst}; the model's vocabulary ends at "
                f"{self._vocab_size - 1}"
            )
        return tokens

    def _fitted(self, tokens: list[int], place: int, *, truncate: bool) -> list[int]:
        """The tokens, or as much of their beginning as fits, ended by what ends every text."""
        if len(tokens) <= self.context_length:
            return tokens
        if not truncate:
            raise RequestError(
                f"Prompt sequence length is greater than {self.context_length}, perhaps consider "
                f"using `truncate_sequence`? Input {place} has {len(tokens)} tokens"
            )
        special = self.tokenizer.special_ids
        closing = next((i for i, token in enumerate(reversed(tokens)) if token not in special), 0)
        kept = max(0, self.context_length - closing)
        return (tokens[:kept] + tokens[len(tokens) - closing :])[: self.context_length]


AnyHost = Host | EmbeddingHost


def answer_embedding(host: AnyHost, request: EmbeddingRequest) -> list[list[float]]:
    """One vector for each input, in order; inputs of like length are computed together."""
    if not isinstance(request, EmbeddingRequest):
        raise mistyped("request", "an EmbeddingRequest", request)
    embedding = host if isinstance(host, EmbeddingHost) else _of_text_model(host)
    rows = [
        embedding.tokens(given, truncate=request.truncate_sequence, place=place)
        for place, given in enumerate[str | list[int]](embedding_inputs(request))
    ]
    return embedding.embed(rows)


def text_host(host: AnyHost, model_id: str) -> Host:
    """The host, if it answers texts with texts."""
    if isinstance(host, Host):
        return host
    raise RequestError(
        "Received a request incompatible for this model's category. "
        f"`{model_id}` makes vectors of texts: use send_embedding_request"
    )


def batches(lengths: Sequence[int], *, tokens: int, rows: int) -> list[list[int]]:
    """Indices of rows that are computed together, longest first.

    Together with their padding they have at most so many tokens, and unless all are short none is
    padded to more than twice its length.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        group = groups[-1] if groups else []
        longest = lengths[group[0]] if group else 0
        fits = 0 < len(group) < rows and (len(group) + 1) * longest <= tokens
        if fits and longest <= max(SHORT, 2 * lengths[index]):
            group.append(index)
        else:
            groups.append([index])
    return groups


def _of_text_model(host: Host) -> EmbeddingHost:
    """A text model read as one that makes vectors, an extension to mistral.rs."""
    if not isinstance(host.engine.model, CausalLM):
        raise RequestError(
            "Received a request incompatible for this model's category. Vectors come from text "
            "models and from those that Which.Embedding opens"
        )
    return EmbeddingHost(
        lambda: _headless(host),
        host.tokenizer,
        vocab_size=host.vocab_size,
        facts=host.facts,
        memory=host.memory,
        max_rows=32,
    )


def _headless(host: Host) -> Embedder:
    model = host.engine.model  # raises if it was unloaded meanwhile
    assert isinstance(model, CausalLM)
    return Embedder(Headless(model), Pooling([POOLING]), (unit,))
