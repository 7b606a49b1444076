"""Rotary position embeddings: what turns queries and keys by their positions.

`make_rope` picks by the kind that a config.json names. Rows of one pass may stand at different
positions and on different sides of a scaling border; each is turned as if it were alone.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import mlx.core as mx

from mistralrs_mlx.cache.fused import fused
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.errors import ConfigError

from .frequencies import (
    dynamic_periods,
    llama3_periods,
    longrope_scale,
    periods,
    proportional_periods,
    yarn_periods,
    yarn_scale,
)
from .scaling import RopeSpec

__all__ = ["DynamicRoPE", "LongRoPE", "RoPE", "Rope", "make_rope"]


class Rope(Protocol):
    """Turns queries or keys (B, heads, L, head_dim) by the positions of a step."""

    def __call__(self, x: mx.array, step: Step) -> mx.array: ...


class RoPE:
    """Turns with fixed periods, one for each pair of the leading dimensions of a head."""

    def __init__(
        self, table: Sequence[float], *, scale: float = 1.0, traditional: bool = False
    ) -> None:
        self.dims, self.scale, self.traditional = 2 * len(table), scale, traditional
        self._periods = mx.array(list(table), mx.float32)
        self._factors: mx.array | None = None

    def __call__(self, x: mx.array, step: Step) -> mx.array:
        return self.turn(x, step.offset)

    def turn(self, x: mx.array, offset: int | mx.array) -> mx.array:
        """Turn (B, heads, L, head_dim) whose first tokens stand at `offset`, one or one a row."""
        return fused.rope(
            self._enlarged(x),
            self.dims,
            traditional=self.traditional,
            base=None,
            scale=1.0,
            offset=offset,
            freqs=self._periods,
        )

    def _enlarged(self, x: mx.array) -> mx.array:
        """The rotated dimensions times `scale`, multiplied in float32: bfloat16 would bend it."""
        if self.scale == 1:
            return x
        if self._factors is None:
            rest = x.shape[-1] - self.dims
            self._factors = mx.array([self.scale] * self.dims + [1.0] * rest, mx.float32)
        return _times(x, self._factors)


class LongRoPE:
    """Phi-3's: one set of periods up to the trained length, another for rows that exceed it.

    A row is long when its prompt, or all of it so far, is; so its chunks all agree.
    """

    def __init__(self, short: RoPE, long: RoPE, *, trained: int) -> None:
        self.trained = trained
        self._short, self._long = short, long

    def __call__(self, x: mx.array, step: Step) -> mx.array:
        beyond = [end > self.trained for end in step.ends]
        if not any(beyond):
            return self._short(x, step)
        if all(beyond):
            return self._long(x, step)
        rows = mx.array(beyond)[:, None, None, None]
        return mx.where(rows, self._long(x, step), self._short(x, step))


class DynamicRoPE:
    """Dynamic NTK: rows longer than `maximum` turn the slower the longer they are."""

    def __init__(
        self, dims: int, theta: float, *, factor: float, maximum: int, traditional: bool = False
    ) -> None:
        self.dims, self.theta, self.factor, self.maximum = dims, theta, factor, maximum
        self.traditional = traditional
        self._plain = self._grown(maximum)
        self._ropes: dict[int, RoPE] = {}  # by length, of the latest pass

    def __call__(self, x: mx.array, step: Step) -> mx.array:
        if max(step.ends) <= self.maximum:
            return self._plain(x, step)
        self._ropes = {end: self._ropes.get(end) or self._grown(end) for end in step.ends}
        if len(self._ropes) == 1:
            return self._ropes[step.ends[0]](x, step)
        places = enumerate(zip(step.ends, step.offsets, strict=True))
        return mx.concatenate(
            [self._ropes[end].turn(x[row : row + 1], offset) for row, (end, offset) in places]
        )

    def _grown(self, length: int) -> RoPE:
        table = dynamic_periods(
            self.dims, self.theta, factor=self.factor, length=length, maximum=self.maximum
        )
        return RoPE(table, traditional=self.traditional)


def make_rope(spec: RopeSpec) -> Rope:
    """The rotary embedding that a configuration asks for."""
    if spec.kind not in _MAKERS:
        known = ", ".join(sorted(_MAKERS))
        raise ConfigError(f"rope_scaling: the kind {spec.kind!r} is not known; known are {known}")
    return _MAKERS[spec.kind](spec)


@partial(mx.compile, shapeless=True)
def _times(x: mx.array, factors: mx.array) -> mx.array:
    return (x * factors).astype(x.dtype)


def _default(spec: RopeSpec) -> Rope:
    return RoPE(periods(spec.dims, spec.theta), traditional=spec.traditional)


def _linear(spec: RopeSpec) -> Rope:
    factor = spec.number("factor")
    table = [factor * period for period in periods(spec.dims, spec.theta)]
    return RoPE(table, traditional=spec.traditional)


def _dynamic(spec: RopeSpec) -> Rope:
    return DynamicRoPE(
        spec.dims,
        spec.theta,
        factor=spec.number("factor"),
        maximum=spec.maximum,
        traditional=spec.traditional,
    )


def _llama3(spec: RopeSpec) -> Rope:
    table = llama3_periods(
        periods(spec.dims, spec.theta),
        factor=spec.number("factor"),
        low=spec.number("low_freq_factor"),
        high=spec.number("high_freq_factor"),
        trained=spec.trained or spec.maximum,
    )
    return RoPE(table, traditional=spec.traditional)


def _yarn(spec: RopeSpec) -> Rope:
    trained = spec.trained or spec.maximum
    factor = spec.number("factor", spec.maximum / trained)
    table = yarn_periods(
        spec.dims,
        spec.theta,
        factor=factor,
        trained=trained,
        fast=spec.optional("beta_fast") or 32.0,
        slow=spec.optional("beta_slow") or 1.0,
        truncate=spec.scaling.get("truncate", True),
    )
    scale = spec.optional("attention_factor")
    if scale is None:
        scale = yarn_scale(factor, spec.optional("mscale"), spec.optional("mscale_all_dim"))
    return RoPE(table, scale=scale, traditional=spec.traditional)


def _longrope(spec: RopeSpec) -> Rope:
    if spec.trained is None:
        raise ConfigError("LongRoPE needs original_max_position_embeddings, which is not there")
    factor = spec.number("factor", spec.maximum / spec.trained)
    scale = spec.number("attention_factor", longrope_scale(factor, spec.trained))
    plain = periods(spec.dims, spec.theta)
    short, long = (
        RoPE(
            [stretch * period for stretch, period in zip(spec.numbers(key), plain, strict=True)],
            scale=scale,
            traditional=spec.traditional,
        )
        for key in ("short_factor", "long_factor")
    )
    return LongRoPE(short, long, trained=spec.trained)


def _proportional(spec: RopeSpec) -> Rope:
    table = proportional_periods(
        spec.head_dim,
        spec.theta,
        turning=spec.dims // 2,
        factor=spec.number("factor", 1.0),
    )
    return RoPE(table, traditional=spec.traditional)


_MAKERS: dict[str, Callable[[RopeSpec], Rope]] = {
    "default": _default,
    "dynamic": _dynamic,
    "linear": _linear,
    "llama3": _llama3,
    "longrope": _longrope,
    "proportional": _proportional,
    "yarn": _yarn,
}
