"""Text -> token ids and back, around the `tokenizers` package."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self

import tokenizers

from mistralrs_mlx.errors import TokenizerError

from .assets import TextAssets, named_tokens
from .spelling import Spelling, spelling

__all__ = ["Tokenizer"]

# Tokens that end a turn in one family or another, believed where the template writes them.
_TERMINATORS = ("<|im_end|>", "<end_of_turn>", "<|end_of_text|>", "<|end|>", "<|eot_id|>")
_HARMONY = ("<|start|>", "<|channel|>", "<|message|>")  # there <|end|> ends a message, not a turn
_LARGEST_ID = 2**32 - 1
_PANIC = "PanicException"  # a class that cannot be imported


class Tokenizer:
    """A vocabulary with its rules; any number of threads may use one."""

    def __init__(self, inner: tokenizers.Tokenizer, special_tokens: Mapping[str, str]) -> None:
        """`special_tokens` names tokens by their role, as in `{"bos_token": "<s>"}`."""
        inner.no_padding()
        inner.no_truncation()
        self._inner = inner
        self.special_tokens = dict(special_tokens)
        added = inner.get_added_tokens_decoder()
        self.added = {id: token.content for id, token in added.items()}  # beside the vocabulary
        self.special_ids = frozenset(id for id, token in added.items() if token.special)
        self.vocab_size = max(inner.get_vocab_size(True), 1 + max(added, default=-1))
        self.spelling: Spelling | None = _spelling(inner)

    @classmethod
    def from_assets(cls, assets: TextAssets) -> Self:
        """Compile the tokenizer of a checkpoint."""
        if assets.tokenizer_json is None:
            raise TokenizerError(
                f"{assets.source} has no tokenizer.json. Give the path of one as tokenizer_json=, "
                "such as that of a model with the same tokenizer"
            )
        with _orderly(f"The tokenizer.json of {assets.source} cannot be read"):
            inner = tokenizers.Tokenizer.from_str(assets.tokenizer_json)
        named = named_tokens(assets.special_tokens_map) | named_tokens(assets.tokenizer_config)
        return cls(inner, named)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every entry as it is spelled, with its id; made anew for each call."""
        return self._inner.get_vocab(True)

    @property
    def bos_token(self) -> str | None:
        """The token that begins every text, if the model has one."""
        return self.special_tokens.get("bos_token")

    @property
    def eos_token(self) -> str | None:
        """The token with which the model ends its answer."""
        return self.special_tokens.get("eos_token")

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the ids of a text; special tokens spelled out in it become what they name."""
        try:
            with _orderly("This text cannot be turned into tokens"):
                return self._inner.encode(text, add_special_tokens=add_special_tokens).ids
        except TypeError as error:  # how tokenizers refuses lone surrogates
            raise TokenizerError(
                f"This text is not valid Unicode and has no tokens: {_from_surrogate(text)!a}"
            ) from error

    def encode_prompt(self, rendered: str) -> list[int]:
        """Return the ids of a rendered chat template, beginning with at most one BOS."""
        begun = any(token and rendered.startswith(token) for token in self._openings)
        return self.encode(rendered, add_special_tokens=not begun)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Return the text of ids; those outside the vocabulary stand for nothing."""
        hidden = self.special_ids if skip_special_tokens else frozenset()
        found = ((id, self.token(id)) for id in ids if id not in hidden)
        known = [(id, token) for id, token in found if token is not None]
        if self.spelling is None:
            with _orderly("The model's tokens cannot be turned into text"):
                return self._inner.decode([id for id, _ in known], skip_special_tokens=False)
        return self.spelling.text([token for _, token in known])

    def token(self, id: int) -> str | None:
        """Return the vocabulary's entry for an id, as the vocabulary spells it."""
        return self._inner.id_to_token(id) if 0 <= id <= _LARGEST_ID else None

    def id(self, token: str) -> int | None:
        """Return the id of a vocabulary entry."""
        return self._inner.token_to_id(token)

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes one token adds to a text; none for ids outside the vocabulary."""
        token = self.token(id)
        if token is None:
            return b""
        if self.spelling is None or id in self.special_ids:
            return token.encode()
        return self.spelling.raw(token)

    def stop_token(self, text: str) -> int | None:
        """Return the id that is exactly this stop string, unless a longer token begins with it.

        Such a stop string can be watched for by its id alone.
        """
        ids = self.encode(text, add_special_tokens=False)
        if len(ids) != 1 or self.token_bytes(ids[0]) != text.encode():
            return None
        entry = self.token(ids[0]) or ""
        after = bisect_right(self._entries, entry)
        longer = any(other.startswith(entry) for other in self._entries[after : after + 1])
        return None if longer else ids[0]

    def eos_ids(
        self,
        template: str | None,
        generation_config: Mapping[str, Any],
        *,
        config_eos: int | list[int] | None = None,
        eos_token: str | None = None,
    ) -> frozenset[int]:
        """Return the ids that end an answer.

        `template` is the text of the chat template, `config_eos` the `eos_token_id` of config.json,
        `eos_token` the one a user's own template file names.
        """
        tokens = {self.eos_token, eos_token, *_terminators(template or "")} - {None, ""}
        ids = {self.id(token) for token in tokens if token}
        ids |= _ids(generation_config.get("eos_token_id"), "generation_config.json")
        ids |= _ids(config_eos, "config.json")
        return frozenset(id for id in ids if id is not None and self.token(id) is not None)

    @cached_property
    def _openings(self) -> list[str | None]:
        """What a text that needs no BOS begins with: its name, or what encoding would prepend."""
        plain, full = (self.encode("a", special)[:1] for special in (False, True))
        return [self.bos_token, *(self.token(id) for id in full if full != plain)]

    @cached_property
    def _entries(self) -> list[str]:
        """The whole vocabulary, sorted: entries that begin alike stand together."""
        return sorted(self._inner.get_vocab())


@contextmanager
def _orderly(problem: str) -> Iterator[None]:
    """Raise `TokenizerError` for what tokenizers raises: any error, or a panic of its Rust code.

    A panic is no `Exception`: it would end the engine's thread.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != _PANIC:
            raise
        raise TokenizerError(
            f"{problem}: {error}. Download the tokenizer.json again, or give another one as "
            "tokenizer_json="
        ) from error


def _from_surrogate(text: str) -> str:
    """What stands where a text stops being Unicode."""
    return next((text[at:][:20] for at, one in enumerate(text) if "\ud800" <= one <= "\udfff"), "")


def _spelling(inner: tokenizers.Tokenizer) -> Spelling | None:
    # Its JSON is what pickling uses; parsing the whole tokenizer again would take a second.
    return None if inner.decoder is None else spelling(inner.decoder.__getstate__().decode())


def _terminators(template: str) -> set[str]:
    present = {token for token in _TERMINATORS if token in template}
    return present - {"<|end|>"} if all(mark in template for mark in _HARMONY) else present


def _ids(value: object, file: str) -> set[int]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(id) is int for id in ids):
        raise TokenizerError(f"eos_token_id of {file} is {value!r}; it should be an int or ints")
    return set(ids)
