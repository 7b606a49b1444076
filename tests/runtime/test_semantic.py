"""Ranking what a search found by meaning: EmbeddingGemma, and what happens without it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mistralrs_mlx import EmbeddingRequest, Runner, WebSearchOptions, Which
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.runtime import semantic
from mistralrs_mlx.runtime.embedding import AnyHost
from mistralrs_mlx.runtime.ranking import Passage, by_words
from mistralrs_mlx.runtime.semantic import ByMeaning
from tests.embedding.folders import tiny_embedder
from tests.embedding.tiny import encoder_config
from tests.runtime.test_search import SEARCH, TEMPLATE, call, run
from tests.runtime.test_tools import says

# One shares the query's word, the others none of it.
QUERY = "w7"
TEXTS = ["w30 w31 w32", "w7 w90 w91 w92 w93", "w8", "w120 w121", "w200", "w44 w45 w46 w47"]
PASSAGES = [Passage(title=f"w{60 + i}" if i else "", text=text) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which EmbeddingGemma's id names a tiny model of its kind."""
    parent = tmp_path_factory.mktemp("models")
    inside = parent / semantic.MODEL
    inside.mkdir(parents=True)
    tiny_embedder(inside, encoder_config("Gemma3TextModel"))
    return parent


@pytest.fixture
def beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Iterator[Runner]:
    with Runner(Which.Embedding(model_id=str(folder / semantic.MODEL))) as runner:
        yield runner


def found(query: str) -> list[dict[str, str]]:
    return [
        {"title": f"w{60 + i}", "description": "", "url": f"https://s{i}.org/", "content": text}
        for i, text in enumerate(TEXTS)
    ]


def searching(tiny_llama: Path, **options: Any) -> Runner:
    options = {"search_callback": found, **options}
    return Runner(Which.Plain(model_id=str(tiny_llama)), chat_template=TEMPLATE, **options)


def order(runner: Runner) -> list[str]:
    return [page["content"] for page in run(runner, call(SEARCH, query=QUERY))["output"]]


def cosines(embedder: Runner, query: str, documents: list[str]) -> np.ndarray:
    """By the public way, in the prompts of the model's card."""
    texts = [f"task: search result | query: {query}", *documents]
    asked, *others = np.array(embedder.send_embedding_request(EmbeddingRequest(input=texts)))
    return np.asarray(others) @ asked


def ranked_by(embedder: Runner) -> ByMeaning:
    return ByMeaning(lambda: embedder._roster.use(None))


def test_passages_are_compared_in_the_prompts_of_the_model(embedder: Runner) -> None:
    scores = ranked_by(embedder)(QUERY, PASSAGES)
    said = [f"title: {each.title or 'none'} | text: {each.text}" for each in PASSAGES]
    np.testing.assert_allclose(scores, cosines(embedder, QUERY, said), atol=1e-5)


def test_meaning_ranks_otherwise_than_words(embedder: Runner) -> None:
    meaning = np.argsort(ranked_by(embedder)(QUERY, PASSAGES))
    words = np.argsort(by_words(QUERY, PASSAGES), kind="stable")
    assert words[-1] == 1
    assert list(meaning) != list(words)


def test_beyond_the_most_passages_words_decide(
    embedder: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic, "MOST", 2)
    texts = ["w1", "w7 w7", "w7 w1 w2 w3", "w7 w1 w2 w3 w4 w5", "w2"]
    scores = ranked_by(embedder)(QUERY, [Passage(title="", text=t) for t in texts])
    assert min(scores[1:3]) >= -1 > scores[3] > scores[0] == scores[4]


def test_a_passage_longer_than_the_model_is_cut(embedder: Runner) -> None:
    rank = ranked_by(embedder)
    (score,) = rank(QUERY, [Passage(title="", text="w5 " * 2000)])
    assert -1 <= score <= 1
    assert rank(QUERY, []) == []


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(
    "options", [{"enable_search": True}, {"search_embedding_model": "embedding_gemma"}]
)
def test_a_runner_ranks_by_embeddings(
    tiny_llama: Path, embedder: Runner, options: dict[str, Any]
) -> None:
    with searching(tiny_llama, **options) as runner:
        ranked = order(runner)
        assert runner.list_models() == [str(tiny_llama)]
    titles = enumerate(TEXTS, start=60)
    pages = [(f"title: none | text: w{i} ", f"title: w{i} | text: {text}") for i, text in titles]
    best = np.argsort([-cosines(embedder, QUERY, list(page)).max() for page in pages])
    assert len(ranked) > 1  # as many as the tiny model has room for
    assert ranked == [TEXTS[i] for i in best[: len(ranked)]]
    assert TEXTS[1] != ranked[0]


@pytest.mark.usefixtures("beside")
def test_a_callback_alone_ranks_by_words(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ByMeaning, "__call__")
    with searching(tiny_llama) as runner:
        assert order(runner)[0] == TEXTS[1]


@pytest.mark.usefixtures("beside")
def test_the_embedder_is_loaded_at_the_first_search_and_freed_with_the_runner(
    tiny_llama: Path,
) -> None:
    with searching(tiny_llama, enable_search=True) as runner:
        (entry,) = runner._roster._aside
        assert entry.host is None
        first, loaded = order(runner), entry.host
        assert (order(runner), entry.host) == (first, loaded)
    assert entry.host is None


def test_without_the_model_words_rank_and_one_line_says_why(
    tiny_llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with searching(tiny_llama, enable_search=True) as runner:
        assert order(runner) == order(runner)
        assert order(runner)[0] == TEXTS[1]
    (line,) = [each for each in caplog.records if "ranks by words" in each.getMessage()]
    assert line.levelno == logging.WARNING
    assert "Hugging Face access failed" in line.getMessage()


def test_searches_at_once_fail_to_load_it_once(caplog: pytest.LogCaptureFixture) -> None:
    def use() -> AbstractContextManager[tuple[AnyHost, str]]:
        raise RequestError("offline")

    rank = ByMeaning(use)
    threads = [threading.Thread(target=rank, args=(QUERY, PASSAGES)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("beside")
def test_a_streamed_answer_ranks_by_embeddings(tiny_llama: Path) -> None:
    with searching(tiny_llama, enable_search=True) as runner:
        options: dict[str, Any] = {"web_search_options": WebSearchOptions(), "max_tool_rounds": 1}
        request = says(call(SEARCH, query=QUERY), stream=True, **options)
        assert list(runner.send_chat_completion_request(request))
        assert runner._roster._aside[0].host is not None


def test_an_unknown_ranking_model_is_refused_by_a_runner(tiny_llama: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"^Unknown search embedding model `zz`\. Supported values: embedding_gemma$",
    ):
        Runner(Which.Plain(model_id=str(tiny_llama)), search_embedding_model="zz")
