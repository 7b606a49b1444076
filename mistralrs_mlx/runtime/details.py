"""What can be told of a model from outside."""

from mistralrs_mlx.api.details import ModelDetails

from .entry import Entry

__all__ = ["details_of"]


def details_of(entry: Entry) -> ModelDetails:
    """What a model is, from its last load, and what it holds now."""
    host, facts, status = entry.seen()
    memory = None if host is None else host.memory
    return ModelDetails(
        model_id=entry.name,
        status=status,
        kind=facts.kind,
        architecture=facts.architecture,
        source=facts.source,
        dtype=facts.dtype,
        quantization=facts.quantization,
        context_length=facts.context_length,
        weights_bytes=0 if memory is None else memory.weights,
        caches_bytes=0 if memory is None else memory.arenas,
        kept_bytes=0 if memory is None else memory.kept_lately,
    )
