"""What every source of weights becomes: a configuration, named tensors, texts.

Making one reads headers only. Each tensor is read when it is called, so that a loader can read,
build, quantize and drop one after the other; only that part touches MLX.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mistralrs_mlx.quant.packed import Packed, Tensor
from mistralrs_mlx.quant.spec import Spec
from mistralrs_mlx.text.assets import TextAssets

__all__ = ["Checkpoint", "LazyTensor", "Packed", "Tensor"]


@dataclass(frozen=True, kw_only=True)
class LazyTensor:
    """One tensor of a checkpoint, read anew each time it is called, on the thread that owns MLX.

    `shape` counts weights, however they are packed. `dtype` is MLX's name for what a dense tensor
    or the scales of a packed one are read as.
    """

    shape: tuple[int, ...]
    dtype: str
    spec: Spec | None = None  # how it is packed; None: dense
    read: Callable[[], Tensor]

    def __call__(self) -> Tensor:
        return self.read()


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights and all that is needed to use them, whatever files they came in."""

    source: str  # what the user named, for messages
    config: dict[str, Any]  # in the terms of Hugging Face's config.json
    tensors: Mapping[str, LazyTensor]  # by Hugging Face's names; a packed one as `X.weight`
    text: TextAssets
    preprocessor_config: dict[str, Any] = field(default_factory=dict)  # how media are processed
