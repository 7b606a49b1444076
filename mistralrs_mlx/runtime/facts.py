"""What is known of a model once it has been loaded."""

from dataclasses import dataclass
from typing import Any, Literal

from mistralrs_mlx.loaders.load import LoadedModel

__all__ = ["Facts", "Kind", "facts_of"]

Kind = Literal["text", "multimodal", "embedding"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What became of a checkpoint, in words."""

    kind: Kind
    architecture: str
    source: Literal["mistralrs_mlx", "mlx-lm"]  # whose code runs it
    dtype: str
    quantization: str
    context_length: int


def facts_of(kind: Kind, loaded: LoadedModel[Any], context_length: int) -> Facts:
    """The facts of a model that has just been loaded."""
    return Facts(
        kind=kind,
        architecture=loaded.architecture,
        source=loaded.source,
        dtype=str(loaded.dtype).rpartition(".")[2],
        quantization=loaded.quantization,
        context_length=context_length,
    )
