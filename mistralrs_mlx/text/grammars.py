"""Grammars that answers are held to, compiled and followed token by token by llguidance.

A vocabulary is handed over as the bytes that each token adds to the text, so that what a grammar
lets through is what the reader gets. Added tokens of the form `<...>` count as special, as they do
in mistral.rs: grammars name them, and no text is spelled with them.
"""

import json
import logging
import re
import threading
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from mistralrs_mlx.api.validation import Grammar
from mistralrs_mlx.errors import MissingExtra, RequestError
from mistralrs_mlx.extras import extra

from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

__all__ = ["GrammarConstraint", "Grammars"]

log = logging.getLogger(__name__)

ANCHOR = "\x02"  # a character that no vocabulary joins to the one after it
NOT_JSON = re.compile(r"at line \d+ column \d+$")  # how the JSON parser ends its complaints
PARSED = {"json_schema": "schema", "llguidance": "llguidance object"}


class Grammars:
    """Compiles grammars for one model's vocabulary. Any number of threads may use one.

    The first grammar waits until the vocabulary is sorted: a third of a second for 50,000 tokens.
    """

    def __init__(self, tokenizer: Tokenizer, eos: Iterable[int]) -> None:
        """`eos` are the tokens that end an answer.

        Raises `MissingExtra` without llguidance, `RequestError` for tokenizers such as WordPiece.
        """
        try:
            library = extra("llguidance")
        except ModuleNotFoundError as error:
            raise MissingExtra(
                "Answers that follow a grammar need the package llguidance, which is not "
                "installed. Install it with: pip install 'mistralrs-mlx[grammar]'"
            ) from error
        if tokenizer.spelling is None:
            raise RequestError(
                "This model's tokens do not stand for the same bytes wherever they are, which "
                "grammars need. Ask for the same without a grammar, or use another model"
            )
        self._library = library
        self._limits = library.LLParserLimits(verbose_errors=False)
        self._tokenizer = tokenizer
        self._eos = sorted(id for id in eos if 0 <= id < tokenizer.vocab_size)
        self._preparing = threading.Lock()

    def token_id(self, text: str) -> int | None:
        """Return the id of a text that grammars know as one special token."""
        id = self._tokenizer.id(text)
        return id if id in _special(self._tokenizer) else None

    def compile(self, grammar: Grammar, *, ignore_eos: bool = False) -> "GrammarConstraint":
        """Return what holds one answer to a grammar, at its start; it takes milliseconds.

        With `ignore_eos` the answer ends only where the grammar lets nothing else follow. Raises
        `RequestError` for what is no grammar.
        """
        with self._preparing:
            vocabulary = self._vocabulary
        matcher = self._library.LLMatcher(
            vocabulary, self._described(grammar), log_level=0, limits=self._limits
        )
        if matcher.is_error():
            raise _refusal(grammar, matcher.get_error())
        for warning in matcher.get_grammar_warnings():
            log.warning("grammar: %s", warning)
        goes_on = ignore_eos or not self._eos
        return GrammarConstraint(matcher, vocabulary.eos_tokens if goes_on else [])

    @cached_property
    def _vocabulary(self) -> "LLTokenizer":
        wrapped = self._library.TokenizerWrapper(_Vocabulary(self._tokenizer, self._eos))
        vocabulary: LLTokenizer = self._library.LLTokenizer(wrapped, eos_token=self._eos or None)
        return vocabulary

    def _described(self, grammar: Grammar) -> str:
        """The grammar in the form that all kinds have inside llguidance."""
        text = grammar.text
        match grammar.kind:
            case "regex":
                return str(self._library.LLMatcher.grammar_from_regex(text))
            case "lark":  # a bare text that begins with a brace would be taken for JSON
                return json.dumps({"grammars": [{"lark_grammar": text}]})
            case "json_schema":
                return f'{{"grammars": [{{"json_schema": {text}}}]}}'
            case "llguidance":
                return text


class GrammarConstraint:
    """How far one answer has come in its grammar, as `engine.constraints.Constraint` wants it."""

    def __init__(self, matcher: "LLMatcher", unwanted: Iterable[int]) -> None:
        """`unwanted` tokens would end the answer, and must not while something else may follow."""
        self._matcher, self._unwanted = matcher, tuple(unwanted)
        self._exhausted = False

    @property
    def finished(self) -> bool:
        """Whether the text is complete and nothing may follow."""
        return self._exhausted or (self._matcher.is_stopped() and not self._matcher.is_error())

    def mask(self) -> bytes:
        """Return one bit for each token, set if it may come next."""
        bits = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise RequestError(_dead_end(self._matcher.get_error()))
        if self._unwanted and self._matcher.is_accepting():
            bits = _without(bits, self._unwanted)
            self._exhausted = not any(bits)
        return bits

    def accept(self, token: int) -> None:
        """Go on by one token; one that may not come makes the next `mask` raise."""
        self._matcher.consume_token(token)

    def copy(self) -> "GrammarConstraint":
        """Return a twin that goes on by itself."""
        return GrammarConstraint(self._matcher.deep_copy(), self._unwanted)


class _Vocabulary:
    """A tokenizer in the shape that llguidance asks for: every token's bytes, and how to encode."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, eos: list[int]) -> None:
        self.tokens = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
        self.eos_token_id = eos[0] if eos else None  # without one, a token is made up for it
        self.special_token_ids = sorted(_special(tokenizer))
        self._special = frozenset(self.special_token_ids)
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        """Return tokens whose bytes are this text's: the model's own choice if that can be had."""
        raw = text.encode()
        for lead in ("", ANCHOR):  # some tokenizers put a space before what they take for a start
            ids = self._after(lead.encode(), self._tokenizer.encode(lead + text, False))
            if self._special.isdisjoint(ids) and self._bytes(ids) == raw:
                return ids
        return self._longest(raw)

    def _bytes(self, ids: list[int]) -> bytes:
        return b"".join(self.tokens[id] for id in ids)

    def _after(self, lead: bytes, ids: list[int]) -> list[int]:
        """The tokens behind the lead and the space that may be before it."""
        for count in range(len(ids) if lead else 0):
            if self._bytes(ids[:count]).lstrip(b" ") == lead:
                return ids[count:]
        return ids

    def _longest(self, raw: bytes) -> list[int]:
        """Always the longest token that fits; bytes that no token begins with are left out."""
        ids, start = [], 0
        while start < len(raw):
            stops = range(min(len(raw), start + self._width), start, -1)
            stop = next((end for end in stops if raw[start:end] in self._spelled), None)
            if stop is not None:
                ids.append(self._spelled[raw[start:stop]])
            start = stop or start + 1
        return ids

    @cached_property
    def _spelled(self) -> dict[bytes, int]:
        ordinary = set(range(len(self.tokens))) - self._special
        return {self.tokens[id]: id for id in ordinary if self.tokens[id]}

    @cached_property
    def _width(self) -> int:
        return max(map(len, self._spelled), default=1)


def _special(tokenizer: Tokenizer) -> frozenset[int]:
    """Tokens that a grammar names as such: those marked special, and others like `<tool_call>`."""
    named = (id for id, text in tokenizer.added.items() if text[:1] == "<" and text[-1:] == ">")
    return tokenizer.special_ids.union(named)


def _refusal(grammar: Grammar, error: str) -> RequestError:
    """What to say of a grammar that llguidance does not take."""
    error = error.strip()
    if grammar.kind in PARSED and NOT_JSON.search(error):
        return RequestError(f"Failed to parse JSON {PARSED[grammar.kind]}: {error}")
    return RequestError(f"Invalid grammar. {error}")


def _dead_end(error: str) -> str:
    reason = error.removesuffix("<non-verbose/>").strip()
    if reason.startswith("NoExtension"):
        reason = "none of the model's tokens can come next"
    return (
        f"The answer cannot go on in its grammar: {reason}. Simplify the grammar, and see that no "
        "logit_bias forbids what it needs"
    )


def _without(bits: bytes, tokens: Iterable[int]) -> bytes:
    rest = bytearray(bits)
    for token in tokens:
        rest[token // 8] &= ~(1 << token % 8) & 0xFF
    return bytes(rest)
