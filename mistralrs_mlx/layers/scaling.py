"""What a config.json says about positions, its old and new spellings resolved."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mistralrs_mlx.errors import ConfigError

__all__ = ["RopeSpec"]

_ALIASES = {"su": "longrope"}


@dataclass(frozen=True, kw_only=True)
class RopeSpec:
    """The rotary embedding that a checkpoint was trained with; `make_rope` builds it."""

    kind: str
    head_dim: int
    dims: int  # how many dimensions of each head are rotated
    theta: float
    maximum: int  # max_position_embeddings
    trained: int | None  # original_max_position_embeddings
    traditional: bool = False  # neighbouring dimensions form a pair, as in GLM and GPT-J
    scaling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.theta < math.inf:
            raise ConfigError(f"rope_theta is {self.theta}; it must be a positive, finite number")

    @classmethod
    def read(
        cls,
        head_dim: int,
        scaling: Mapping[str, Any] | None = None,
        *,
        theta: float,
        maximum: int,
        trained: int | None = None,
        partial: float = 1.0,
        traditional: bool = False,
    ) -> Self:
        """Read `rope_scaling` (or the newer `rope_parameters`); what it says outranks the rest.

        Only `original_max_position_embeddings` counts for more beside the dict than in it, as
        the Phi-3 configurations have it.
        """
        scaling = scaling or {}
        kind = scaling.get("rope_type") or scaling.get("type") or "default"
        share = _number(scaling, "partial_rotary_factor", partial)
        inner = scaling.get("original_max_position_embeddings")
        return cls(
            kind=_ALIASES.get(kind, kind),
            head_dim=head_dim,
            dims=int(head_dim * share),
            theta=_number(scaling, "rope_theta", theta),
            maximum=maximum,
            trained=inner if trained is None else trained,
            traditional=traditional,
            scaling=scaling,
        )

    @property
    def reach(self) -> int:
        """The longest context, in tokens, that these positions are good for.

        Some checkpoints keep the trained length in `max_position_embeddings` and leave the
        extension to YaRN's or dynamic NTK's factor; the other kinds have it included.
        """
        factor = self.number("factor", 1.0)
        if self.kind == "yarn" and self.trained is not None:
            return max(self.maximum, int(self.trained * factor))
        return int(self.maximum * factor) if self.kind == "dynamic" else self.maximum

    @property
    def border(self) -> int | None:
        """The length beyond which LongRoPE turns keys differently; None for all other kinds."""
        return self.trained if self.kind == "longrope" else None

    @property
    def steady(self) -> int | None:
        """The length from which each further token turns keys differently; None: there is none."""
        return self.maximum if self.kind == "dynamic" else None

    def number(self, key: str, default: float | None = None) -> float:
        """A number from the dict. Without a default the key must be there."""
        return _number(self.scaling, key, default)

    def optional(self, key: str) -> float | None:
        """A number from the dict, or None where it is absent or null."""
        return None if self.scaling.get(key) is None else self.number(key)

    def numbers(self, key: str) -> list[float]:
        """A list with one number for each rotated pair."""
        found, pairs = self.scaling.get(key), -(-self.dims // 2)
        if not isinstance(found, list) or not all(map(_is_number, found)):
            raise ConfigError(f"rope_scaling: {key} must be a list of numbers, not {found!r}")
        if len(found) != pairs:
            raise ConfigError(
                f"rope_scaling: {key} has {len(found)} numbers, but {self.dims} of {self.head_dim} "
                f"dimensions are rotated, which makes {pairs} pairs"
            )
        return [float(number) for number in found]


def _number(scaling: Mapping[str, Any], key: str, default: float | None) -> float:
    found = default if scaling.get(key) is None else scaling[key]
    if found is None:
        raise ConfigError(f"rope_scaling {dict(scaling)!r} lacks {key}")
    if not _is_number(found):
        raise ConfigError(f"rope_scaling: {key} must be a number, not {found!r}")
    return float(found)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
