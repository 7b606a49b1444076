"""Of what a search found, the parts that fit a query best, within a budget of tokens."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

__all__ = ["Found", "Passage", "Rank", "best_parts", "bm25", "by_words", "chunks"]

# At most 800 characters that end where a word does, or 800 without a space between them.
CHUNK = re.compile(r"\S(?:.{0,799}(?!\S)|.{0,799})", re.DOTALL)
SATURATION, LENGTH_WEIGHT = 1.2, 0.75  # BM25's k1 and b, at their usual values


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page that a search found."""

    title: str
    description: str
    url: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A part of a page; of its head, `title` is empty and `text` has it."""

    title: str
    text: str


Rank = Callable[[str, Sequence[Passage]], Sequence[float]]
"""Rates how well each passage fits a query; more is better."""


def by_words(query: str, passages: Sequence[Passage]) -> list[float]:
    """Rate passages by the words that they share with a query."""
    return bm25(query, [passage.text for passage in passages])


def best_parts(
    query: str,
    found: Sequence[Found],
    *,
    rank: Rank = by_words,
    most: int,
    budget: int,
    cost: Callable[[Sequence[Found]], int],
) -> list[Found]:
    """The `most` best pages, best first, each with the best chunks of its content, in order.

    All of it together costs at most `budget`; pages of which not even the title fits are left out.
    """
    pages = _ranked(query, found, rank)[:most]
    while pages and cost([_with_parts(page, set()) for page in pages]) > budget:
        pages.pop()
    parts = [(i, j) for i, page in enumerate(pages) for j in range(len(page.parts))]
    parts.sort(key=lambda part: -pages[part[0]].scores[part[1]])  # stable: equals keep their order
    # Found by doubling and halving: cost counts a whole text, as tokens do not simply add up.
    low, high = 0, 1
    while high <= len(parts) and cost(_chosen(pages, parts[:high])) <= budget:
        low, high = high, 2 * high
    high = min(high, len(parts) + 1)
    while high - low > 1:
        middle = (low + high) // 2
        fits = cost(_chosen(pages, parts[:middle])) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return _chosen(pages, parts[:low])


def bm25(query: str, texts: Sequence[str]) -> list[float]:
    """How well each text fits a query, by Okapi BM25; 0 where no word is common."""
    counts = [Counter(_words(text)) for text in texts]
    average = sum(count.total() for count in counts) / max(1, len(counts)) or 1.0
    scores = [0.0] * len(texts)
    for word in sorted(set(_words(query))):
        having = sum(word in count for count in counts)
        rarity = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for i, count in enumerate(counts):
            length = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * count.total() / average
            weight = count[word] * (SATURATION + 1) / (count[word] + SATURATION * length)
            scores[i] += rarity * weight
    return scores


def chunks(text: str) -> list[str]:
    """Cut a text into parts of some 800 characters, between words where there are spaces."""
    return [part.rstrip() for part in CHUNK.findall(text)]


@dataclass(frozen=True, kw_only=True)
class _Page:
    found: Found
    parts: list[str]
    scores: list[float]
    best: float


def _ranked(query: str, found: Sequence[Found], rank: Rank) -> list[_Page]:
    parts = [chunks(each.content) for each in found]
    passages = [Passage(title="", text=f"{each.title} {each.description}") for each in found]
    for each, page in zip(found, parts, strict=True):
        passages += [Passage(title=each.title, text=part) for part in page]
    scores = iter(rank(query, passages))
    head_scores = [next(scores) for _ in found]
    pages = []
    for each, page, head in zip(found, parts, head_scores, strict=True):
        own = [next(scores) for _ in page]
        pages.append(_Page(found=each, parts=page, scores=own, best=max([head, *own])))
    return sorted(pages, key=lambda page: -page.best)


def _chosen(pages: Sequence[_Page], parts: Sequence[tuple[int, int]]) -> list[Found]:
    kept: list[set[int]] = [set() for _ in pages]
    for i, j in parts:
        kept[i].add(j)
    return [_with_parts(page, own) for page, own in zip(pages, kept, strict=True)]


def _with_parts(page: _Page, kept: set[int]) -> Found:
    return replace(page.found, content="\n".join(page.parts[j] for j in sorted(kept)))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
