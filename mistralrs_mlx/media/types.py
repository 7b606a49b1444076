"""What is decoded from a user's media, and what a processor makes of it. Plain NumPy."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["DecodedAudio", "DecodedImage", "Deferred", "Media", "digest"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImage:
    """A picture: upright, without transparency, in RGB."""

    pixels: np.ndarray  # (height, width, 3) uint8


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedAudio:
    """A clip: one channel, at the rate it was recorded."""

    samples: np.ndarray  # (n,) float32; integers of any width are scaled to [-1, 1)
    rate: int  # samples a second


class Deferred(Mapping[str, np.ndarray]):
    """Arrays that are made whenever one is asked for.

    A prompt may have many pictures; only the one being encoded takes the room of its floats.
    """

    def __init__(self, **makers: Callable[[], np.ndarray]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> np.ndarray:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Media:
    """One picture or clip, ready for a model. Those with the same digest are encoded the same."""

    kind: str  # image | audio
    arrays: Mapping[str, np.ndarray]  # what the model's `encode` takes
    tokens: int  # how many tokens of the prompt it stands for
    digest: str  # sha256 in hex, of the decoded content and of how it was processed


def digest(content: np.ndarray, *settings: object) -> str:
    """Name decoded content and the settings it is processed with.

    >>> digest(np.zeros(2), "image", 448) == digest(np.zeros(2), "image", 336)
    False
    """
    hashed = hashlib.sha256(repr((content.shape, content.dtype.str, settings)).encode())
    hashed.update(np.ascontiguousarray(content).data)
    return hashed.hexdigest()
