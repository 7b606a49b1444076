"""Requests to the tiny Phi-4-multimodal whose answers the reference gave."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.models.detweights import prompt
from tests.models.phi4mm_tiny import image, sound

__all__ = ["AUDIO_TOKEN", "CASES", "IMAGE_TOKEN", "Case", "Medium"]

IMAGE_TOKEN, AUDIO_TOKEN = 250, 252
SIZE, SIDE = 112, 8  # of a tile, in pixels and in patches


@dataclass(frozen=True, kw_only=True)
class Medium:
    """A random picture or clip, made from its name."""

    name: str
    kind: str
    tokens: int
    arrays: dict[str, np.ndarray] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A prompt: text, then each medium with a little text behind it."""

    name: str
    media: tuple[Medium, ...] = ()
    length: int = 24  # of the text

    @property
    def adapter(self) -> str | None:
        kinds = {medium.kind for medium in self.media}
        return "vision" if "image" in kinds else "speech" if kinds else None

    @property
    def tokens(self) -> list[int]:
        text = prompt(self.length)
        ids = text[:6]
        for number, medium in enumerate(self.media):
            ids += [IMAGE_TOKEN if medium.kind == "image" else AUDIO_TOKEN] * medium.tokens
            ids += text[6 + number : 8 + number]
        return ids + text[6 + len(self.media) :]

    @property
    def starts(self) -> list[int]:
        """Where each medium begins."""
        starts, at = [], 6
        for medium in self.media:
            starts.append(at)
            at += medium.tokens + 2
        return starts

    @property
    def positions(self) -> list[int]:
        """Whose logits are stored."""
        count = len(self.tokens)
        return [0, count // 3, count // 2, count - 2, count - 1]


def picture(name: str, height: int, width: int, *, rows: int = SIDE, columns: int = SIDE) -> Medium:
    """`height` times `width` tiles; of the last ones only so many rows and columns are there."""
    mask = np.ones((height, width, SIDE, SIDE), np.int64)
    mask[-1, :, rows:] = 0
    mask[:, -1, :, columns:] = 0
    down = (height - 1) * SIDE // 2 + -(-rows // 2)
    across = (width - 1) * SIDE // 2 + -(-columns // 2)
    half = SIDE // 2
    return Medium(
        name=name,
        kind="image",
        tokens=down * (across + 1) + 1 + half * (half + 1),
        arrays=image(name, mask.reshape(-1, SIDE, SIDE), height, width, SIZE),
    )


def clip(name: str, frames: int) -> Medium:
    return Medium(name=name, kind="audio", tokens=-(-frames // 8), arrays=sound(name, frames))


def _cases() -> Sequence[Case]:
    small = picture("small", 1, 1, columns=5)
    tall = picture("tall", 2, 1, rows=3)
    wide = picture("wide", 2, 3, rows=7, columns=1)
    short, other, long = clip("short", 43), clip("other", 43), clip("minutes", 4100)
    return (
        Case(name="text"),
        Case(name="long_text", length=90),
        Case(name="image", media=(small,)),
        Case(name="several_images", media=(small, wide, tall)),
        Case(name="audio", media=(short,)),
        Case(name="several_clips", media=(short, other)),
        Case(name="long_audio", media=(long,)),
        Case(name="image_and_audio", media=(tall, short)),
        Case(name="everything", media=(long, small, wide)),
    )


CASES = _cases()
