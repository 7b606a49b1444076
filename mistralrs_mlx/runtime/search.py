"""Web search: the two tools of `web_search_options`, and what they tell the model."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from mistralrs_mlx.api.enums import SearchContextSize
from mistralrs_mlx.api.search import (
    WebSearchOptions,
    WebSearchUserLocation,
    WebSearchUserLocationApproximate,
)
from mistralrs_mlx.api.tools import ToolSchema
from mistralrs_mlx.errors import RequestError

from .pages import Fetch, duckduckgo, page
from .ranking import Found, Rank, best_parts, by_words
from .roster import Use
from .semantic import ByMeaning
from .tools import Callbacks, OwnTool
from .web import read_public

__all__ = ["Search", "checked_search", "search_tools"]

SEARCH, EXTRACT = "mistralrs_search_the_web", "mistralrs_website_content_extractor"
MOST_RESULTS = 10
BUDGETS = {
    SearchContextSize.Low: 4096,
    SearchContextSize.Medium: 8192,
    SearchContextSize.High: 16384,
}
SEARCH_SAYS = (
    "Search the web. Use it for recent events and for facts that you are not sure of. "
    "Returns pages with title, description, URL and the parts of their text that fit the query."
)
EXTRACT_SAYS = "Read one web page: returns the text at a URL that a search or the user gave."
MEMBERS = ("title", "description", "url", "content")


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to search, how to rank what was found, and how to read one page."""

    find: Callable[[str], Sequence[Found]]
    rank: Rank
    fetch: Fetch


def checked_search(
    enabled: bool,
    embedding_model: object,
    callback: object,
    *,
    embedder: Use,
    fetch: Fetch = read_public,
) -> Search | None:
    """How a `Runner` searches, by these arguments of it; None if it does not.

    `embedder` gives EmbeddingGemma; it is called at the first search that ranks by it.
    """
    if embedding_model not in (None, "embedding_gemma"):
        raise RequestError(
            f"Unknown search embedding model `{embedding_model}`. Supported values: embedding_gemma"
        )
    if callback is not None and not callable(callback):
        raise RequestError(f"search_callback is {callback!r}; it must be a function of a query")
    rank = ByMeaning(embedder) if enabled or embedding_model is not None else by_words
    if callback is not None:
        return Search(find=partial(_by_callback, callback), rank=rank, fetch=fetch)
    if not enabled:
        return None
    return Search(find=partial(duckduckgo, fetch=fetch), rank=rank, fetch=fetch)


def search_tools(
    options: WebSearchOptions, search: Search | None, count: Callable[[str], int], room: int
) -> Callbacks:
    """The tools that a request with these options offers.

    `count` gives a text's tokens, `room` how many the model can take; results leave half of it.
    """
    if search is None:
        raise RequestError(
            "web_search_options: this Runner does not search; make it with enable_search=True, "
            "or with search_callback="
        )
    size = options.search_context_size
    budget = min(BUDGETS[SearchContextSize.Medium if size is None else size], room // 2)
    answer = partial(_answer, budget=budget, count=count)
    says = (options.search_description or SEARCH_SAYS) + _place(options.user_location)

    def search_the_web(_: str, arguments: dict[str, Any]) -> str:
        query = _argument(arguments, "query")
        return answer(query, search.find(query), search.rank)

    def extract(_: str, arguments: dict[str, Any]) -> str:
        return answer("", [page(_argument(arguments, "url"), search.fetch)], by_words)

    return {
        SEARCH: OwnTool(_schema(SEARCH, says, "query", "What to search for."), search_the_web),
        EXTRACT: OwnTool(
            _schema(EXTRACT, options.extract_description or EXTRACT_SAYS, "url", "The page's URL."),
            extract,
        ),
    }


def _answer(
    query: str,
    found: Sequence[Found],
    rank: Rank,
    *,
    budget: int,
    count: Callable[[str], int],
) -> str:
    best = best_parts(
        query,
        found,
        rank=rank,
        most=MOST_RESULTS,
        budget=budget,
        cost=lambda pages: count(_written(pages)),
    )
    return _written(best)


def _written(pages: Sequence[Found]) -> str:
    sources = dict.fromkeys(urlsplit(each.url).hostname or each.url for each in pages)
    output = [asdict(each) for each in pages]
    return json.dumps({"sources": list(sources), "output": output}, ensure_ascii=False)


def _by_callback(callback: Callable[[str], object], query: str) -> list[Found]:
    results = callback(query)
    if not isinstance(results, Sequence) or isinstance(results, str | bytes):
        raise RequestError(
            f"search_callback returned {type(results).__name__}; it must return a list of dicts"
        )
    return [_found(result) for result in results]


def _found(result: object) -> Found:
    members = {name: result.get(name) for name in MEMBERS} if isinstance(result, Mapping) else {}
    said = {name: value for name, value in members.items() if isinstance(value, str)}
    if len(said) < len(MEMBERS):
        raise RequestError(
            f"search_callback returned {result!r:.200}; each result must be a dict with the "
            f"strings {', '.join(MEMBERS)}"
        )
    return Found(**said)


def _argument(arguments: Mapping[str, object], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"the call needs {name!r}, a string; it has {dict(arguments)!r:.200}")
    return value


def _place(where: WebSearchUserLocation | None) -> str:
    if not isinstance(where, WebSearchUserLocationApproximate):
        return ""
    place = where.approximate
    named = ", ".join(part for part in (place.city, place.region, place.country) if part)
    return f" The user is near {named} (time zone {place.timezone})."


def _schema(name: str, description: str, argument: str, what: str) -> ToolSchema:
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string", "description": what}},
        "required": [argument],
    }
    return ToolSchema(name=name, description=description, parameters=parameters)
