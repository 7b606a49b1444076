"""Placeholders: where media stand in texts, in the prompt, and among its tokens.

A text names a medium by a placeholder such as `<|image_1|>` or `<image>`. Those that are missing
are put in front of their message's text. Before the prompt is tokenized, each becomes what the
model was trained on; afterwards its one token is repeated for every vector of the medium.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mistralrs_mlx.errors import RequestError

from .types import Media

__all__ = ["Expanded", "Item", "Placed", "Placeholder", "Placeholders", "expand", "mark", "place"]


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """How one kind of medium is written."""

    text: str  # in messages; "{}" in it is a number, counted over the conversation from 1
    token: int  # the id that is repeated
    prompt: str | None = None  # what is tokenized, with that token once; None: `text` itself

    @property
    def numbered(self) -> bool:
        return "{}" in self.text

    def numbered_as(self, number: int) -> str:
        return self.text.replace("{}", str(number))

    @property
    def pattern(self) -> str:
        """What finds it in a text; its group is the number, or empty."""
        before, _, after = self.text.partition("{}")
        return re.escape(before) + ("([0-9]{1,9})" if self.numbered else "()") + re.escape(after)


@dataclass(frozen=True, kw_only=True)
class Placeholders:
    """A family's placeholders by kind, in the order in which missing ones are put in front."""

    family: str  # for messages: Phi4MM
    kinds: Mapping[str, Placeholder]


class Item(Protocol):
    """A medium as a message's part names it."""

    @property
    def kind(self) -> str: ...
    @property
    def source(self) -> object: ...
    @property
    def message(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Messages in which every medium has its placeholder."""

    messages: tuple[dict[str, Any], ...]
    order: tuple[int, ...]  # places in the list of items; those of a kind as the prompt has them


@dataclass(frozen=True, kw_only=True)
class Expanded:
    """A prompt's tokens, and where its media are among them."""

    tokens: list[int]
    media: tuple[Media, ...]  # in the order of the prompt
    starts: tuple[int, ...]


def place(
    messages: Sequence[Mapping[str, Any]], items: Sequence[Item], placeholders: Placeholders
) -> Placed:
    """Put missing placeholders in front of the texts of the messages that have the media.

    Where a message's content is a list, its template writes the missing ones, one for each part of
    the medium's kind; parts for placeholders that the text has are taken out.
    Raises `RequestError` for placeholders without a medium, and for a number that comes twice.
    """
    placed = [dict(message) for message in messages]
    texts = [_text(message) for message in messages]
    _refuse_prompt_forms(texts, placeholders)
    order: list[int] = []
    for kind in reversed(list(placeholders.kinds)):
        wanted = _Wanted(
            family=placeholders.family,
            kind=kind,
            placeholder=placeholders.kinds[kind],
            items=tuple(at for at, item in enumerate(items) if item.kind == kind),
            owners=tuple(item.message for item in items if item.kind == kind),
            found=tuple(re.findall(placeholders.kinds[kind].pattern, text) for text in texts),
        )
        for message, absent in wanted.missing().items():
            placed[message]["content"] = _content(placed[message]["content"], wanted, absent)
        order += _ordered(placed, wanted)
    return Placed(messages=tuple(placed), order=tuple(order))


def mark(prompt: str, placeholders: Placeholders) -> str:
    """Write every placeholder of a rendered prompt as it is tokenized.

    >>> kinds = {"image": Placeholder(text="<|image_{}|>", token=9, prompt="<|soft|>")}
    >>> mark("<|image_1|>What?", Placeholders(family="Toy", kinds=kinds))
    '<|soft|>What?'
    """
    for placeholder in placeholders.kinds.values():
        if placeholder.prompt is not None:
            tokenized = placeholder.prompt.replace("\\", r"\\")
            prompt = re.sub(placeholder.pattern, tokenized, prompt)
    return prompt


def expand(tokens: Sequence[int], media: Sequence[Media], placeholders: Placeholders) -> Expanded:
    """Repeat each placeholder's token as often as its medium has vectors.

    Those of one kind are given in the order of the prompt.
    """
    waiting = {kind: [one for one in media if one.kind == kind] for kind in placeholders.kinds}
    kind_of = {placeholder.token: kind for kind, placeholder in placeholders.kinds.items()}
    for kind, placeholder in placeholders.kinds.items():
        there = list(tokens).count(placeholder.token)
        if there != len(waiting[kind]):
            raise RequestError(
                _mismatch(placeholders.family, kind, there, len(waiting[kind]))
                + " in its prompt. The chat template should write each message's text once"
            )
    expanded: list[int] = []
    met: list[Media] = []
    starts: list[int] = []
    for token in tokens:
        if token not in kind_of:
            expanded.append(token)
            continue
        met.append(waiting[kind_of[token]].pop(0))
        starts.append(len(expanded))
        expanded += [token] * met[-1].tokens
    return Expanded(tokens=expanded, media=tuple(met), starts=tuple(starts))


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """The media of one kind, and the placeholders that texts have for them."""

    family: str
    kind: str
    placeholder: Placeholder
    items: tuple[int, ...]  # places in the list of items
    owners: tuple[int, ...]  # the messages that have them
    found: tuple[list[str], ...]  # by message: the numbers in its text, or as many empty texts

    def missing(self) -> dict[int, list[int]]:
        """By message that has media: the numbers, from 1, of those that no text places."""
        return self._missing_numbers() if self.placeholder.numbered else self._missing_plain()

    def _missing_numbers(self) -> dict[int, list[int]]:
        written = [int(number) for numbers in self.found for number in numbers]
        numbers = range(1, len(self.owners) + 1)
        absent = [number for number in numbers if number not in written]
        for number, times in Counter(written).items():
            name = self.placeholder.numbered_as(number)
            if times > 1:
                why = f"{name} is written {times} times; write it once"
            elif number not in numbers:
                why = f"no {self.kind} belongs to {name}; they count from 1, over all messages"
            else:
                continue
            there = len(written) + len(absent)
            raise RequestError(f"{self._mismatch(there)}: {why}")
        return {
            message: [number for number in absent if self.owners[number - 1] == message]
            for message in self.owners
        }

    def _missing_plain(self) -> dict[int, list[int]]:
        numbers: dict[int, list[int]] = {message: [] for message in self.owners}
        for number, message in enumerate(self.owners, 1):
            numbers[message].append(number)
        there = [max(len(one), len(numbers.get(at, ()))) for at, one in enumerate(self.found)]
        for message, written in enumerate(self.found):
            own = len(numbers.get(message, ()))
            if len(written) > own:
                raise RequestError(
                    f"{self._mismatch(sum(there))}: message {message} writes "
                    f"{self.placeholder.text} {len(written)} times and has {own}. Write it once "
                    "for each"
                )
        return {at: own[: len(own) - len(self.found[at])] for at, own in numbers.items()}

    def _mismatch(self, there: int) -> str:
        return _mismatch(self.family, self.kind, there, len(self.owners))


def _mismatch(family: str, kind: str, there: int, inputs: int) -> str:
    return f"{family} has {there} {kind} placeholders but {inputs} {kind} inputs"


def _refuse_prompt_forms(texts: Sequence[str], placeholders: Placeholders) -> None:
    """Refuse texts with the very tokens that will stand for media."""
    for placeholder in placeholders.kinds.values():
        if placeholder.prompt in (None, placeholder.text):
            continue
        for at, text in enumerate(texts):
            if placeholder.prompt in text:
                raise RequestError(
                    f"Message {at} has {placeholder.prompt} in its text, which the model reserves "
                    f"for media; write {placeholder.numbered_as(1)} where one should be"
                )


def _ordered(messages: Sequence[Mapping[str, Any]], wanted: _Wanted) -> list[int]:
    """The items as the texts name them; without numbers, as they came."""
    if not wanted.placeholder.numbered:
        return list(wanted.items)
    pattern = wanted.placeholder.pattern
    numbers = [int(n) for message in messages for n in re.findall(pattern, _text(message))]
    return [wanted.items[number - 1] for number in numbers]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(part["text"] for part in content if part["type"] == "text")
    return content if isinstance(content, str) else ""


def _content(
    content: str | list[dict[str, str]], wanted: _Wanted, absent: Sequence[int]
) -> str | list[dict[str, str]]:
    """Add placeholders to a text; from a list, take the parts whose placeholders it has."""
    if not isinstance(content, list):
        return "".join(map(wanted.placeholder.numbered_as, absent)) + content
    parts = [place for place, part in enumerate(content) if part["type"] == wanted.kind]
    dropped = parts[len(absent) :]
    return [part for place, part in enumerate(content) if place not in dropped]
