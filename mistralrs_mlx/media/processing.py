"""From a conversation's media to what a model encodes."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mistralrs_mlx.errors import RequestError

from .audio import open_audio
from .images import open_image, shrunk
from .limits import Limits
from .placeholders import Item, Placeholders, place
from .sources import read_source
from .types import DecodedAudio, DecodedImage, Media

__all__ = ["Prepared", "Processor", "prepare"]

# A file of 300 KB may need a gigabyte while it is decoded: one does at a time, whoever asks.
_decoding = threading.Lock()


class Processor:
    """How one family of models sees and hears. It overrides what it can."""

    placeholders: Placeholders
    template_places = False  # whether the chat template writes placeholders; else the text has them

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], token_id: Callable[[str], int | None]
    ) -> "Processor":
        """Read preprocessor_config.json, and ask a tokenizer for the ids of its special tokens."""
        raise NotImplementedError

    def image(self, image: DecodedImage) -> Media:
        """Make arrays of a picture. Raises `RequestError` if the model cannot see this one."""
        raise RequestError(f"{self.placeholders.family} sees no images")

    def audio(self, clip: DecodedAudio) -> Media:
        """Make arrays of a clip. Raises `RequestError` if the model cannot hear this one."""
        raise RequestError(f"{self.placeholders.family} hears no audio")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Messages for the chat template, and their media, as the prompt will name them."""

    messages: tuple[dict[str, Any], ...]
    media: tuple[Media, ...]


def prepare(
    messages: Sequence[Mapping[str, Any]],
    items: Sequence[Item],
    processor: Processor,
    *,
    limits: Limits | None = None,
    max_edge: int | None = None,
    room: int | None = None,
) -> Prepared:
    """Place, read, decode and process all media of a conversation.

    Longer edges of pictures are first scaled down to `max_edge`. Those that come when more than
    `room` tokens are there already are not read any more. Every refusal is a `RequestError`
    that names the medium, as in "image 2 of message 1": messages count from 0, as they do in lists.
    """
    _refuse_kinds(items, processor.placeholders)
    placed = place(messages, items, processor.placeholders)
    names = _names(items)
    bounds = limits or Limits()
    media: list[Media] = []
    for at in placed.order:
        if room is not None and (tokens := sum(each.tokens for each in media)) > room:
            raise RequestError(
                f"{names[at]}: the media before it have {tokens} tokens, and the model's context "
                f"is {room}. Send fewer or smaller ones"
            )
        try:
            media.append(_processed(items[at], processor, bounds, max_edge))
        except RequestError as error:
            raise RequestError(f"{names[at]}: {error}") from error
    return Prepared(messages=placed.messages, media=tuple(media))


def _processed(item: Item, processor: Processor, limits: Limits, max_edge: int | None) -> Media:
    source = item.source
    if isinstance(source, str | os.PathLike):  # before the others have to wait for it
        source = read_source(source, limits)
    with _decoding:
        if item.kind == "audio":
            return processor.audio(open_audio(source, limits))
        image = open_image(source, limits)
        return processor.image(image if max_edge is None else shrunk(image, max_edge))


def _refuse_kinds(items: Sequence[Item], placeholders: Placeholders) -> None:
    for item, name in zip(items, _names(items), strict=True):
        if item.kind not in placeholders.kinds:
            taken = " and ".join(placeholders.kinds)
            raise RequestError(f"{name}: {placeholders.family} takes {taken}, but no {item.kind}")


def _names(items: Sequence[Item]) -> list[str]:
    """Name each medium by its kind, its place among those of its message, and the message."""
    seen: dict[tuple[int, str], int] = {}
    names = []
    for item in items:
        key = (item.message, item.kind)
        seen[key] = seen.get(key, 0) + 1
        names.append(f"{item.kind} {seen[key]} of message {item.message}")
    return names
