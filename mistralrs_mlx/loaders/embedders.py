"""A checkpoint that makes vectors becomes an embedder that is ready to run.

Only the thread that is to run it may call this.
"""

from dataclasses import dataclass, field

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.layers.pooling import Head, Pooling
from mistralrs_mlx.models import registry
from mistralrs_mlx.models.embedder import Embedder, Encoder, encoder
from mistralrs_mlx.models.weights import resolve
from mistralrs_mlx.quant.plan import Plan

from .assemble import Assembler, Progress, parameters
from .load import LoadedModel, LoadOptions, Policy, Room, filled, forget
from .matching import check_names, check_shapes
from .sentence_transformers import HeadPart, SentenceCheckpoint

__all__ = ["LoadedEmbedder", "load_embedder"]


@dataclass(frozen=True, kw_only=True)
class LoadedEmbedder:
    """An embedder that is ready to run, and what became of its encoder's checkpoint."""

    embedder: Embedder = field(repr=False)
    encoder: LoadedModel[Encoder] = field(repr=False)
    max_tokens: int  # of one text


def load_embedder(
    checkpoint: SentenceCheckpoint,
    options: LoadOptions | None = None,
    *,
    policy: Policy | None = None,
    progress: Progress | None = None,
    room: Room | None = None,
) -> LoadedEmbedder:
    """Build the embedder of a checkpoint, its encoder quantized as asked for.

    Heads stay in float32: they are small, and every number of a vector passes through them. Errors
    are those of `load`.
    """
    try:
        return _load(checkpoint, options or LoadOptions(), policy, progress, room)
    except BaseException as error:
        forget(error)
        raise


def _load(
    checkpoint: SentenceCheckpoint,
    options: LoadOptions,
    policy: Policy | None,
    progress: Progress | None,
    room: Room | None,
) -> LoadedEmbedder:
    inner = checkpoint.encoder
    entry = (
        registry.embedder_of(inner.config)
        if options.arch is None
        else registry.by_member(repr(options.arch))
    )
    model = encoder(entry.load_encoder(), inner.config)
    loaded = filled(model, entry.name, inner, options, policy=policy, progress=progress, room=room)
    heads = tuple(_head(part) for part in checkpoint.heads)
    limits = (checkpoint.max_tokens, model.context_length)
    return LoadedEmbedder(
        embedder=Embedder(model, Pooling(checkpoint.pooling), heads),
        encoder=loaded,
        max_tokens=min(limit for limit in limits if limit is not None),
    )


def _head(part: HeadPart) -> Head:
    head = part.build()
    if isinstance(head, nn.Module):
        shapes = {name: array.shape for name, array in parameters(head).items()}
        recipes = resolve(part.tensors, ())
        check_names(recipes, shapes, source=part.source)
        check_shapes(recipes, part.tensors, shapes, source=part.source)
        Assembler(head, Plan(), mx.float32).fill(recipes, part.tensors)
    return head
