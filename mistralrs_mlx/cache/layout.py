"""What each layer of a model must remember. Architectures declare it; `Caches` builds it."""

from dataclasses import dataclass

__all__ = ["Attends", "Compresses", "Memory", "Packing", "Recurs"]


@dataclass(frozen=True)
class Attends:
    """A softmax attention layer that looks `window` tokens back, itself included, or at all."""

    window: int | None = None


@dataclass(frozen=True)
class Compresses(Attends):
    """Attention to everything whose heads share one latent vector for each token (MLA)."""


@dataclass(frozen=True)
class Recurs:
    """A convolution or state-space layer that carries `states` arrays from token to token."""

    states: int


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How keys and values are held as integers: how many bits, how many to a scale."""

    bits: int
    group_size: int = 64


Memory = Attends | Recurs
