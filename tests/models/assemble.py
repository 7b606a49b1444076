"""Tiny models with weights made from names, and rows of tokens fed through their caches."""

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Packing
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.models.registry import of_config
from mistralrs_mlx.models.weights import resolve
from tests.models.detweights import tensor, tensors

__all__ = ["Golden", "Rows", "assemble", "checkpoint", "goldens", "parameters", "tiny"]

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True, kw_only=True)
class Golden:
    """What the reference says about one configuration, and our model with the same weights."""

    model: CausalLM
    tokens: list[int]
    positions: list[int]  # whose logits are stored
    argmax: list[int]  # at every position
    norms: list[float]  # of the logits at every position
    greedy: list[int]  # tokens that follow
    logits: np.ndarray  # (positions, V)
    hidden: np.ndarray  # of the last token: embedding, after each layer, after the norm

    @classmethod
    def read(cls, name: str, *, fused: bool = False) -> "Golden":
        stored, meta = np.load(GOLDEN / f"{name}.npz"), _meta(name)
        model = assemble(*checkpoint(name))
        if fused:
            fuse(model)
        kept = ("tokens", "positions", "argmax", "norms", "greedy")
        return cls(
            model=model,
            logits=stored["logits"],
            hidden=stored["hidden"],
            **{key: meta[key] for key in kept},
        )


class Rows:
    """A model and its caches, fed with tokens."""

    def __init__(self, model: CausalLM, *, kv_bits: int | None = None, block: int = 512) -> None:
        self.model = model
        packing = None if kv_bits is None else Packing(bits=kv_bits)
        self.caches = Caches(model.cache_layout(), packing=packing, block=block)

    def feed(self, *rows: Sequence[int], start: int = 0) -> np.ndarray:
        """Logits (rows, L, V) for the next tokens of rows from `start` on, all equally many."""
        step = self.caches.step(start, start + len(rows), len(rows[0]))
        embeddings = self.model.embed(mx.array([list(row) for row in rows]))
        logits = self.model.head(self.model.hidden(embeddings, step))
        return np.array(logits.astype(mx.float32))

    def alone(self, tokens: Sequence[int], *lengths: int) -> np.ndarray:
        """Logits (L, V) of one new row, fed in chunks of these lengths, in one piece or singly."""
        row = self.caches.add(len(tokens))
        ends = np.cumsum(lengths or [len(tokens)])
        chunks = np.split(np.array(tokens), ends[:-1])
        return np.concatenate([self.feed(chunk.tolist(), start=row)[0] for chunk in chunks])


def checkpoint(name: str) -> tuple[dict[str, Any], dict[str, mx.array]]:
    """The config.json and the tensors that a stored reference was made with."""
    meta = _meta(name)
    return meta["config"], {key: mx.array(value) for key, value in tensors(meta["shapes"]).items()}


def goldens() -> list[str]:
    """The names of all stored references."""
    return sorted(path.stem for path in GOLDEN.glob("*.npz"))


def parameters(model: CausalLM) -> dict[str, mx.array]:
    return dict(tree_flatten(model.parameters()))


def assemble(config: Mapping[str, Any], weights: Mapping[str, mx.array]) -> CausalLM:
    """The model of a config.json with a checkpoint's tensors, every one of which must fit."""
    model = of_config(config).load().from_dict(config)
    plan = resolve(weights, model.rules)
    built = {n: r.build(*(weights[source] for source in r.sources)) for n, r in plan.items()}
    model.load_weights(list(built.items()), strict=True)
    mx.eval(model.parameters())
    return model


def tiny(config: Mapping[str, Any], dtype: mx.Dtype = mx.float32) -> CausalLM:
    """The model of a tiny config.json with weights made from its parameters' names."""
    model = of_config(config).load().from_dict(config)
    shapes = {name: value.shape for name, value in parameters(model).items()}
    precise = {name for name in shapes for pattern in model.precise if re.search(pattern, name)}
    made = {
        name: mx.array(tensor(name, shape)).astype(mx.float32 if name in precise else dtype)
        for name, shape in shapes.items()
    }
    model.load_weights(list(made.items()), strict=True)
    mx.eval(model.parameters())
    return model


def _meta(name: str) -> dict[str, Any]:
    stored = np.load(GOLDEN / f"{name}.npz")["meta"]
    meta: dict[str, Any] = json.loads(gzip.decompress(stored.tobytes()))
    return meta
