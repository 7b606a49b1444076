"""Routers: which experts work on a token, and how much each of them counts.

To the loader a router is no linear layer, so nothing ever quantizes it.
"""

from functools import partial, reduce
from operator import add
from typing import Protocol

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.errors import ConfigError

__all__ = ["Router", "Routing", "SigmoidRouter", "SoftmaxRouter", "best", "in_best_groups"]

Routing = tuple[mx.array, mx.array]
"""(rows, chosen) weights in float32, and (rows, chosen) numbers of the experts."""


class Router(Protocol):
    """Chooses experts for rows (R, D)."""

    def __call__(self, rows: mx.array, /) -> Routing: ...


class SoftmaxRouter(nn.Module):
    """The experts with the largest logits, weighted by their softmax.

    It is taken over all experts, or with `normalize` over the chosen ones, so that their weights
    sum to one. The product is made in the type of the router's weight.
    """

    def __init__(
        self, dims: int, experts: int, chosen: int, *, normalize: bool, bias: bool = False
    ) -> None:
        super().__init__()
        _check(experts, chosen)
        self.weight = mx.zeros((experts, dims))
        if bias:
            self.bias = mx.zeros((experts,))
        self.chosen, self.normalize = chosen, normalize

    def __call__(self, rows: mx.array) -> Routing:
        weight = self["weight"]
        product = rows.astype(weight.dtype) @ weight.T
        logits = _logits(product, [self["bias"]] if "bias" in self else [])
        experts = best(logits, self.chosen)
        if self.normalize:
            return mx.softmax(mx.take_along_axis(logits, experts, axis=-1), axis=-1), experts
        return mx.take_along_axis(mx.softmax(logits, axis=-1), experts, axis=-1), experts


class SigmoidRouter(nn.Module):
    """DeepSeek-V3's: a learned bias takes part in the choice of experts, but not in their weights.

    Experts stand in groups, of which the `kept` best are looked at; a group is as good as its two
    best experts. All of it is float32.
    """

    def __init__(
        self,
        dims: int,
        experts: int,
        chosen: int,
        *,
        groups: int,
        kept: int,
        normalize: bool,
        scale: float,
    ) -> None:
        super().__init__()
        _check(experts, chosen, groups, kept)
        self.weight = mx.zeros((experts, dims))
        self.e_score_correction_bias = mx.zeros((experts,))
        self.chosen, self.groups, self.kept = chosen, groups, kept
        self.normalize, self.scale = normalize, scale
        self._factor = mx.array(scale)

    def __call__(self, rows: mx.array) -> Routing:
        product = rows.astype(mx.float32) @ self.weight.astype(mx.float32).T
        scores, biased = _scores(product, self.e_score_correction_bias)
        if self.kept < self.groups:
            grouped = biased.reshape(len(rows), self.groups, -1)
            worth = mx.topk(grouped, 2, axis=-1).sum(-1)
            biased = in_best_groups(biased, worth, self.kept, otherwise=-mx.inf)
        experts = best(biased, self.chosen)
        weights = mx.take_along_axis(scores, experts, axis=-1)
        if self.normalize:
            return _shares(weights, weights.sum(-1, keepdims=True), self._factor), experts
        return weights * self.scale, experts


def best(scores: mx.array, count: int) -> mx.array:
    """The places of the `count` largest numbers along the last axis, in no certain order."""
    if count == scores.shape[-1]:
        return mx.broadcast_to(mx.arange(count), scores.shape)
    return mx.argpartition(scores, kth=-count, axis=-1)[..., -count:]


def in_best_groups(scores: mx.array, worth: mx.array, kept: int, *, otherwise: float) -> mx.array:
    """Scores (R, E) of the experts in the `kept` groups of most worth (R, G), others replaced."""
    rows, groups = worth.shape
    chosen = best(worth, kept)[..., None] == mx.arange(groups)  # (R, kept, G)
    grouped = scores.reshape(rows, groups, -1)
    return mx.where(chosen.any(1)[..., None], grouped, otherwise).reshape(rows, -1)


@partial(mx.compile, shapeless=True)
def _logits(product: mx.array, bias: list[mx.array]) -> mx.array:
    """What a softmax router multiplied, in float32 and with its bias."""
    return reduce(add, bias, product.astype(mx.float32))


@partial(mx.compile, shapeless=True)
def _scores(product: mx.array, bias: mx.array) -> tuple[mx.array, mx.array]:
    """How much experts count, and by what they are chosen."""
    scores = mx.sigmoid(product)
    return scores, scores + bias


@partial(mx.compile, shapeless=True)
def _shares(weights: mx.array, total: mx.array, scale: mx.array) -> mx.array:
    return weights / (total + 1e-20) * scale


def _check(experts: int, chosen: int, groups: int = 1, kept: int = 1) -> None:
    if not 0 < chosen <= experts:
        raise ConfigError(f"{chosen} of {experts} experts cannot be chosen for each token")
    if not 0 < kept <= groups or experts % groups:
        raise ConfigError(f"{experts} experts cannot stand in {groups} groups with {kept} kept")
