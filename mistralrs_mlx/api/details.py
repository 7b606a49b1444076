"""What a runner tells of one of its models."""

from typing import Literal

from .values import record

__all__ = ["ModelDetails"]


@record
class ModelDetails:
    """What a model is, as it was loaded last, and the bytes that it holds now.

    Caches are those of running requests, with what is set aside for them; `kept_bytes` those of
    earlier prompts, which are given up when the memory is needed.
    """

    model_id: str
    status: Literal["loaded", "unloaded", "reloading"]
    kind: Literal["text", "multimodal", "embedding"]
    architecture: str
    source: Literal["mistralrs_mlx", "mlx-lm"]
    dtype: str
    quantization: str
    context_length: int
    weights_bytes: int
    caches_bytes: int
    kept_bytes: int
