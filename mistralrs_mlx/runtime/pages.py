"""What web pages say: DuckDuckGo's results, and the text of any page."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from http.client import HTTPException
from urllib.parse import parse_qs, quote_plus, urljoin, urlsplit

from mistralrs_mlx.errors import RequestError

from .ranking import Found
from .web import Reply

__all__ = ["Fetch", "duckduckgo", "page", "results_in"]

Fetch = Callable[[str], Reply]
"""Reads a URL, on any thread."""

ENGINE = "https://html.duckduckgo.com/html/"
MOST = 10
UNSEEN = {"script", "style", "noscript", "template", "svg"}
BLOCKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article"}


def duckduckgo(query: str, fetch: Fetch) -> list[Found]:
    """Search, and read what was found. A page that cannot be read keeps its description."""
    found = results_in(fetch(f"{ENGINE}?q={quote_plus(query)}").text)[:MOST]
    if not found:
        return []

    def read(one: Found) -> Found:
        try:
            content = page(one.url, fetch).content
        except (OSError, ValueError, HTTPException):
            content = ""
        return Found(title=one.title, description=one.description, url=one.url, content=content)

    with ThreadPoolExecutor(max_workers=len(found)) as readers:
        return list(readers.map(read, found))


def page(url: str, fetch: Fetch) -> Found:
    """Read the title and the text of a page."""
    reply = fetch(url)
    if not (reply.kind.startswith("text/") or reply.kind.endswith(("json", "xml"))):
        raise RequestError(f"{url} is {reply.kind}; only texts can be read")
    if "html" not in reply.kind:
        return Found(title="", description="", url=url, content=reply.text)
    reader = _Page()
    reader.feed(_closed(reply.text))
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.text).splitlines())
    content = "\n".join(line for line in lines if line)
    return Found(title=_flat(reader.title), description="", url=url, content=content)


def results_in(html: str) -> list[Found]:
    """The results on DuckDuckGo's page without scripts, its advertisements left out."""
    reader = _Results()
    reader.feed(_closed(html))
    reader.close()
    return [
        Found(title=_flat(title), description=_flat(text), url=url, content="")
        for url, title, text in reader.results
        if url
    ]


def _closed(html: str) -> str:
    """The page without comments, up to a tag that is not closed.

    Python's parser looks for the end of what has none again and again, for hours on one page.
    """
    unclosed = html.find("<", html.rfind(">") + 1)
    html = html if unclosed < 0 else html[:unclosed]
    pieces, start = [], 0
    while (opening := html.find("<!--", start)) >= 0:
        pieces.append(html[start:opening])
        closing = html.find("-->", opening + 4)
        if closing < 0:
            return "".join(pieces)
        start = closing + 3
    return "".join([*pieces, html[start:]])


class _Page(HTMLParser):
    """Gathers a page's visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.title: list[str] = []
        self.text: list[str] = []
        self._unseen, self._in_title = 0, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in UNSEEN
        self._in_title = tag == "title" and not self._unseen
        self.text.append("\n" if tag in BLOCKS else " " if tag in ("td", "th") else "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text.append("\n" if tag in BLOCKS else "")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in UNSEEN))
        self._in_title = False
        self.text.append("\n" if tag in BLOCKS else "")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            (self.title if self._in_title else self.text).append(data)


class _Results(HTMLParser):
    """Gathers links of class `result__a` and the snippets, `result__snippet`, after them."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[tuple[str, list[str], list[str]]] = []
        self._into: list[str] | None = None
        self._until, self._depth = "", 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        kinds = given.get("class", "").split()
        if "result__a" in kinds:
            self.results.append((_target(given.get("href", "")), [], []))
            self._into, self._until = self.results[-1][1], tag
        elif "result__snippet" in kinds and self.results:
            self._into, self._until = self.results[-1][2], tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._until:
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into.append(data)


def _target(link: str) -> str:
    """Where a result leads; "" for what stays at DuckDuckGo, as advertisements do."""
    try:
        parts = urlsplit(urljoin(ENGINE, link))
        if (parts.hostname or "").endswith("duckduckgo.com"):
            parts = urlsplit(parse_qs(parts.query).get("uddg", [""])[0])
    except ValueError:
        return ""
    host = parts.hostname or ""
    public = parts.scheme in ("http", "https") and host and not host.endswith("duckduckgo.com")
    return parts.geturl() if public else ""


def _flat(pieces: list[str]) -> str:
    return " ".join("".join(pieces).split())
