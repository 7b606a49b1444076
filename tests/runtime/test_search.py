"""Web search: the tools a request offers, what is found, and how it is cut to what fits."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import (
    ApproximateUserLocation,
    ChatCompletionRequest,
    Runner,
    WebSearchOptions,
    WebSearchUserLocation,
    Which,
)
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.runtime.embedding import AnyHost
from mistralrs_mlx.runtime.pages import results_in
from mistralrs_mlx.runtime.ranking import Found, best_parts, bm25, chunks
from mistralrs_mlx.runtime.search import Search, checked_search, search_tools
from mistralrs_mlx.runtime.tools import OwnTool
from mistralrs_mlx.runtime.web import Reply, read_public
from tests.runtime.test_tools import says

# Short, since the tiny model has room for 512 tokens, and a character is one.
TEMPLATE = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}{# <tool_call> #}"
SEARCH, EXTRACT = "mistralrs_search_the_web", "mistralrs_website_content_extractor"
NAMES = ("title", "description", "url", "content")
ROOM = 1 << 20
RESULTS = [
    dict(zip(NAMES, ("Cats", "On cats", "https://cats.org/a", "Cats purr."), strict=True)),
    dict(zip(NAMES, ("Oslo", "A city", "https://oslo.no/b", "Oslo has rain."), strict=True)),
]
RESULT_PAGE = """
<div class="result result--ad"><a class="result__a" href="//duckduckgo.com/y.js?ad=1">Buy</a></div>
<h2><a rel="nofollow" class="result__a"
 href="//duckduckgo.com/l/?uddg=https%3A%2F%2Foslo.no%2Fb%3Fx%3D1&amp;rut=3"
 >The <b>Oslo</b></a></h2>
<a class="result__snippet" href="#">Rain &amp; <b>fog</b>.</a>
<a class="result__a" href="https://gone.org/">Gone</a>
"""
PAGE = "<title>Oslo</title><script>no()</script><p>Rain</p><p>and <b>fog</b></p><style>x{}</style>"


def call(name: str, **arguments: str) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def run(runner: Runner, text: str, **options: Any) -> Any:
    options = {"web_search_options": WebSearchOptions(), "max_tool_rounds": 1, **options}
    (record,) = runner.send_chat_completion_request(says(text, **options)).agentic_tool_calls
    return json.loads(record.result_content)


@pytest.fixture(scope="module")
def asked() -> list[str]:
    return []


@pytest.fixture(scope="module")
def runner(tiny_llama: Path, asked: list[str]) -> Iterator[Runner]:
    def find(query: str) -> list[dict[str, str]]:
        asked.append(query)
        return RESULTS

    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which, chat_template=TEMPLATE, search_callback=find) as runner:
        yield runner


def fake(url: str) -> Reply:
    """An internet of three addresses."""
    if url == "https://oslo.no/b?x=1":
        return Reply(kind="text/html", text=PAGE)
    if url.startswith("https://html.duckduckgo.com/html/?q="):
        return Reply(kind="text/html", text=RESULT_PAGE if url.endswith("rain+%26+fog") else "")
    if url == "https://oslo.no/map.pdf":
        return Reply(kind="application/pdf", text="%PDF")
    raise OSError("no such host")


def no_embedder() -> AnyHost:
    raise RequestError("offline")


def checked(*arguments: Any) -> Search | None:
    return checked_search(*arguments, embedder=no_embedder, fetch=fake)


def offline(options: WebSearchOptions = WebSearchOptions()) -> Any:  # noqa: B008 (a constant)
    return search_tools(options, checked(True, None, None), len, ROOM)


def test_a_search_asks_the_callback_and_ranks_its_answer(runner: Runner, asked: list[str]) -> None:
    told = run(runner, call(SEARCH, query="rain in Oslo"))
    assert asked[-1] == "rain in Oslo"
    assert told == {"sources": ["oslo.no", "cats.org"], "output": RESULTS[::-1]}


def test_a_search_needs_a_query(runner: Runner) -> None:
    told = run(runner, call(SEARCH, text="x"))
    assert (told["status"], "needs 'query'" in told["error"]) == ("failed", True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]/"])
def test_private_pages_are_not_read(runner: Runner, url: str) -> None:
    told = run(runner, call(EXTRACT, url=url))
    assert told["status"] == "failed"
    assert "private network" in told["error"]


@pytest.mark.parametrize("url", ["file:///etc/hosts", "oslo.no", "ftp://oslo.no/"])
def test_only_web_pages_are_read(url: str) -> None:
    with pytest.raises(ValueError, match="http:// or https://"):
        read_public(url)


def test_without_options_nothing_is_searched(runner: Runner) -> None:
    text = call(SEARCH, query="x")
    whole = runner.send_chat_completion_request(says(text))
    assert (whole.choices[0].message.content, whole.agentic_tool_calls) == (text, None)


def test_options_need_a_runner_that_searches(tiny_llama: Path) -> None:
    with (
        Runner(Which.Plain(model_id=str(tiny_llama)), chat_template=TEMPLATE) as runner,
        pytest.raises(ValueError, match="enable_search=True, or with search_callback="),
    ):
        run(runner, "x")


def test_a_tool_of_the_same_name_is_refused(runner: Runner) -> None:
    request = ChatCompletionRequest(
        model="default",
        messages="x",
        tool_schemas=[{"type": "function", "function": {"name": SEARCH}}],
        web_search_options=WebSearchOptions(),
    )
    with pytest.raises(ValueError, match=f"'{SEARCH}' conflicts"):
        runner.send_chat_completion_request(request)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((False, "zz", None), ValueError, "Unknown search embedding model `zz`. Supported values"),
        ((True, "EmbeddingGemma", None), ValueError, "Supported values: embedding_gemma$"),
        ((False, None, 3), ValueError, "search_callback is 3"),
    ],
)
def test_what_a_runner_cannot_search_with(
    arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        checked(*arguments)


def test_duckduckgo_is_searched_and_its_results_are_read() -> None:
    told = json.loads(offline()[SEARCH](SEARCH, {"query": "rain & fog"}))
    oslo = ("The Oslo", "Rain & fog.", "https://oslo.no/b?x=1", "Rain\nand fog")
    gone = ("Gone", "", "https://gone.org/", "")
    assert [tuple(page[name] for name in NAMES) for page in told["output"]] == [oslo, gone]
    assert json.loads(offline()[SEARCH](SEARCH, {"query": "?"})) == {"sources": [], "output": []}


def test_a_page_is_read_as_text() -> None:
    told = json.loads(offline()[EXTRACT](EXTRACT, {"url": "https://oslo.no/b?x=1"}))
    assert (told["sources"], told["output"][0]["title"]) == (["oslo.no"], "Oslo")
    assert told["output"][0]["content"] == "Rain\nand fog"
    with pytest.raises(ValueError, match=r"application/pdf; only texts"):
        offline()[EXTRACT](EXTRACT, {"url": "https://oslo.no/map.pdf"})


def test_links_that_cannot_be_read_are_no_results() -> None:
    assert results_in('<a class="result__a" href="http://[">x</a>') == []
    assert results_in('<a class="result__a" href="javascript:x">x</a>') == []


def test_options_describe_the_tools() -> None:
    place = ApproximateUserLocation("Oslo", "Norway", "Østlandet", "Europe/Oslo")
    options = WebSearchOptions(
        search_description="Find.",
        extract_description="Read.",
        user_location=WebSearchUserLocation.approximate(place),
    )
    tools: list[OwnTool] = list(offline(options).values())
    says = [tool.schema.description or "" for tool in tools]
    assert says[0].startswith("Find. ")
    assert "Oslo, Østlandet, Norway" in says[0]
    assert "Europe/Oslo" in says[0]
    assert says[1] == "Read."


@pytest.mark.parametrize(("size", "most"), [("low", 4096), (None, 8192), ("high", 16384)])
def test_results_fill_the_budget_and_stay_within(size: str | None, most: int) -> None:
    pages = [{**RESULTS[0], "content": f"{i} oslo words. " * 2000} for i in range(12)]
    search = checked(False, None, lambda query: pages)
    tools = search_tools(WebSearchOptions(size), search, len, ROOM)
    told = tools[SEARCH](SEARCH, {"query": "oslo"})
    assert most - 850 < len(told) <= most
    assert len(json.loads(told)["output"]) == 10


def test_results_leave_half_of_a_small_model_free() -> None:
    pages = [{**RESULTS[0], "content": "word " * 2000}]
    search = checked(False, None, lambda query: pages)
    told = search_tools(WebSearchOptions(), search, len, 4000)[SEARCH](SEARCH, {"query": "x"})
    assert 1000 < len(told) <= 2000


@pytest.mark.parametrize("wrong", [None, "text", [{"title": "x"}], [3]])
def test_a_callback_that_returns_no_results_is_told_so(wrong: Any) -> None:
    search = checked(False, None, lambda query: wrong)
    assert search is not None
    with pytest.raises(ValueError, match="search_callback returned"):
        search.find("x")


def test_rare_words_rank_before_common_ones() -> None:
    scores = bm25("the fjord", ["the the the", "a fjord", "the cat", "the dog", "nothing"])
    assert max(scores) == scores[1]
    assert (scores[4], bm25("x", [])) == (0.0, [])


def test_the_best_chunks_are_kept_in_their_order() -> None:
    text = " ".join(["plain"] * 300 + ["fjord"] * 150 + ["plain"] * 300 + ["fjord"] * 150)

    def cost(pages: Sequence[Found]) -> int:
        return sum(len(page.content) for page in pages)

    (page,) = best_parts(
        "fjord",
        [Found(title="", description="", url="", content=text)],
        most=1,
        budget=2000,
        cost=cost,
    )
    assert page.content.count("fjord") > 150
    assert cost([page]) <= 2000


def test_chunks_lose_no_word() -> None:
    text = "many words\nand lines " * 200 + "x" * 2000
    parts = chunks(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert max(map(len, parts)) <= 801
    assert not parts[0].endswith("lin")
