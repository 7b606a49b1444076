"""Ranking by meaning: EmbeddingGemma compares a query with passages, in the prompts it learned."""

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from operator import mul

from mistralrs_mlx.api.which import (
    WhichEmbedding,
    WhichGGUF,
    WhichLora,
    WhichMultimodalPlain,
    WhichPlain,
    WhichXLora,
)
from mistralrs_mlx.errors import MistralRsMlxError, RequestError

from .embedding import AnyHost, EmbeddingHost
from .opening import Opening
from .ranking import Passage, by_words
from .roster import Use

__all__ = ["ByMeaning", "embedding_gemma"]

log = logging.getLogger(__name__)

MODEL = "google/embeddinggemma-300m"
MOST = 128  # passages that are embedded for one search: some 25,000 tokens
ROWS = 32  # of one pass
CACHED = WhichEmbedding | WhichGGUF | WhichLora | WhichMultimodalPlain | WhichPlain | WhichXLora
BEHIND = -2.0  # no cosine is as low


def embedding_gemma(beside: Opening) -> Opening:
    """How EmbeddingGemma is loaded beside a model: with the same token, and from the same cache."""
    cache = beside.which.hf_cache_path if isinstance(beside.which, CACHED) else None
    return replace(
        beside,
        which=WhichEmbedding(model_id=MODEL, hf_cache_path=cache),
        max_seqs=ROWS,
        chat_template=None,
        jinja_explicit=None,
        in_situ_quant=None,
    )


class ByMeaning:
    """Ranks passages by cosine, and by words if the model cannot be loaded. It is safe in threads.

    Only the `MOST` passages whose words fit best are embedded; the rest follow by words.
    """

    def __init__(self, use: Use) -> None:
        """`use` gives the model, and loads it if need be."""
        self._use = use
        self._failed = False
        self._loading = threading.Lock()

    def __call__(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """Rate each passage; more is better."""
        words = by_words(query, passages)
        if not passages or not self._loaded():
            return words
        with self._use() as (host, _):
            return self._rated(_embedder(host), query, passages, words)

    def _rated(
        self, host: EmbeddingHost, query: str, passages: Sequence[Passage], words: list[float]
    ) -> list[float]:
        chosen = sorted(range(len(words)), key=lambda i: -words[i])[:MOST]
        texts = [_query(query), *(_document(passages[i]) for i in chosen)]
        rows = [host.tokens(text, truncate=True, place=i) for i, text in enumerate(texts)]
        asked, *vectors = host.embed(rows)
        scores = [BEHIND + score / (1 + score) for score in words]
        for i, vector in zip(chosen, vectors, strict=True):
            scores[i] = _cosine(asked, vector)
        return scores

    def _loaded(self) -> bool:
        """Whether it could be loaded; once that has failed, no search waits for it again."""
        with self._loading:
            if self._failed:
                return False
            try:
                with self._use() as (host, _):
                    _embedder(host)
            except (MistralRsMlxError, OSError) as error:
                self._failed = True
                log.warning(
                    "web search ranks by words (BM25), since EmbeddingGemma cannot be had: %s",
                    error,
                )
                return False
            return True


def _embedder(host: AnyHost) -> EmbeddingHost:
    if not isinstance(host, EmbeddingHost):
        raise RequestError(f"{MODEL} makes no vectors")
    return host


def _query(text: str) -> str:
    return f"task: search result | query: {text}"


def _document(passage: Passage) -> str:
    return f"title: {passage.title or 'none'} | text: {passage.text}"


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = _dot(one, one) * _dot(other, other)
    return _dot(one, other) / math.sqrt(lengths) if lengths else 0.0


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(map(mul, one, other))
