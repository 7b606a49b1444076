"""A Phi-4-multimodal at work: requests with media, encoded, spliced and fed through the caches."""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.models.phi4mm.model import Phi4MM
from tests.models.assemble import assemble
from tests.models.detweights import tensors
from tests.models.phi4mm_cases import CASES, Case
from tests.models.phi4mm_tiny import weights
from tests.models.splicing import Encoded, splice
from tests.models.tiny import config

__all__ = [
    "Request",
    "answer",
    "built",
    "encoded",
    "errors",
    "read",
    "request",
    "step",
    "tiny_phi4mm",
]

GOLDEN = Path(__file__).parent / "golden" / "phi4mm"
Request = tuple[list[int], list[Encoded], int]  # tokens, media, slot


def read(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is stored beside the arrays, and the arrays."""
    with np.load(GOLDEN / f"{name}.npz") as stored:
        meta = json.loads(gzip.decompress(stored["meta"].tobytes()))
        return meta, {key: stored[key] for key in stored.files if key != "meta"}


def built(meta: dict[str, Any]) -> Phi4MM:
    """The model of a stored configuration and its tensors' shapes."""
    made = {name: mx.array(value) for name, value in tensors(meta["shapes"]).items()}
    model = assemble(meta["config"], made)
    assert isinstance(model, Phi4MM)
    return model


def tiny_phi4mm(**changes: Any) -> Phi4MM:
    """The tiny model with weights made from the published names."""
    raw = config("Phi4MMForCausalLM", **changes)
    model = assemble(raw, {name: mx.array(value) for name, value in weights(raw).items()})
    assert isinstance(model, Phi4MM)
    return model


def errors() -> Iterator[float]:
    """The largest difference of the stored logits of each request."""
    model, (_, stored) = tiny_phi4mm(), read("converted")
    for case in CASES:
        logits = answer(model, request(model, case))[case.positions]
        yield float(np.abs(logits - stored[case.name]).max())


def encoded(
    model: Phi4MM, kind: str, start: int, tokens: int, arrays: dict[str, Any], kinds: set[str]
) -> Encoded:
    rows = model.encode(
        kind, {name: mx.array(array) for name, array in arrays.items()}, model.adapter_for(kinds)
    )
    return Encoded(kind=kind, start=start, tokens=tokens, rows=rows)


def request(model: Phi4MM, case: Case) -> Request:
    kinds = {medium.kind for medium in case.media}
    media = [
        encoded(model, medium.kind, start, medium.tokens, medium.arrays, kinds)
        for start, medium in zip(case.starts, case.media, strict=True)
    ]
    return case.tokens, media, model.slot_for(kinds)


def answer(
    model: Phi4MM, asked: Request, *lengths: int, caches: Caches | None = None
) -> np.ndarray:
    """Logits (L, V) of one new row, fed in chunks of these lengths or in one piece."""
    tokens, media, slot = asked
    caches = Caches(model.cache_layout()) if caches is None else caches
    row, at, parts = caches.add(len(tokens)), 0, []
    for length in lengths or [len(tokens)]:
        embeddings = model.embed(mx.array([tokens[at : at + length]]))
        parts.append(step(model, caches, splice(embeddings, media, at), [slot], row)[0])
        at += length
    return np.concatenate(parts)


def step(
    model: Phi4MM, caches: Caches, embeddings: mx.array, slots: Sequence[int], start: int = 0
) -> np.ndarray:
    """Logits (rows, L, V) of the rows from `start` on."""
    planned = caches.step(start, start + len(embeddings), embeddings.shape[1])
    model.adapt(slots)
    logits = model.head(model.hidden(embeddings, planned))
    model.adapt(None)
    return np.array(logits.astype(mx.float32))
