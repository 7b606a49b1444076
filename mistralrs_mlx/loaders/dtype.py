"""The type in which a model computes and holds what is not quantized."""

import logging
from collections import Counter
from math import prod

import mlx.core as mx

from mistralrs_mlx.api.enums import ModelDType
from mistralrs_mlx.quant.packed import Packed

from .checkpoint import Checkpoint

__all__ = ["resolve_dtype", "scales_dtype"]

log = logging.getLogger(__name__)

WIDE = ("deepseek", "gemma", "glm4", "gpt_oss")  # activations beyond float16's 65504, then NaN
_EXPLICIT = {"bf16": mx.bfloat16, "f16": mx.float16, "f32": mx.float32}


def resolve_dtype(requested: ModelDType, checkpoint: Checkpoint, *, metal: bool) -> mx.Dtype:
    """The type that `ModelDType` means for this checkpoint and backend.

    `Auto` is float32 on the CPU backend, whose quantized kernels are 8 to 60 times slower in half
    precision. On Metal it is float16 for checkpoints that are stored in it or, as GGUF files are,
    packed with finer scales than bfloat16 has; otherwise bfloat16.
    """
    if requested != ModelDType.Auto:
        return _explicit(requested, metal=metal)
    if not metal:
        return mx.float32
    wide = str(checkpoint.config.get("model_type", "")).startswith(WIDE)
    return mx.bfloat16 if wide or not _stored_in_float16(checkpoint) else mx.float16


def scales_dtype(packed: Packed, dtype: mx.Dtype) -> mx.Dtype:
    """The type for the scales of a packed tensor in a model that computes in `dtype`.

    bfloat16 would add a relative error of 4e-3 to scales that came in a finer type (GGUF's are
    exact): those become float32, and their layers cast what they compute back.
    """
    finer = packed.scales.dtype in (mx.float16, mx.float32)
    return mx.float32 if finer and dtype == mx.bfloat16 else dtype


def _explicit(requested: ModelDType, *, metal: bool) -> mx.Dtype:
    if requested != ModelDType.F32 and not metal:
        log.warning(
            "%r: half precision is many times slower than float32 on the CPU backend", requested
        )
    return _EXPLICIT[requested.value]


def _stored_in_float16(checkpoint: Checkpoint) -> bool:
    """Whether that is the type of most weights. Scales of float32 count: they fit it best."""
    weights: Counter[bool] = Counter()
    for tensor in checkpoint.tensors.values():
        half = tensor.dtype == "float16" or (tensor.dtype == "float32" and tensor.spec is not None)
        weights[half] += prod(tensor.shape)
    return weights[True] > weights[False]
