"""Tiny models as they run on a GPU: in half precision, packed to four bits, layers together."""

import re
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map_with_path

from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.quant.layers import packable, packed_layer
from mistralrs_mlx.quant.quantize import quantized
from mistralrs_mlx.quant.spec import Spec
from tests.models.assemble import tiny
from tests.models.tiny import config

__all__ = ["packed"]

SPEC = Spec(4, 32)


def packed(architecture: str, *, dtype: mx.Dtype = mx.bfloat16, **changes: Any) -> CausalLM:
    """A model of a tiny config.json, ready to decode."""
    model = tiny(config(architecture, **changes), dtype)
    model.update_modules(
        tree_map_with_path(
            lambda path, layer: _packed(model, path, layer, dtype),
            model.leaf_modules(),
            is_leaf=nn.Module.is_module,
        )
    )
    fuse(model)
    mx.eval(model.parameters())
    return model


def _packed(model: CausalLM, path: str, layer: nn.Module, dtype: mx.Dtype) -> nn.Module:
    dense = any(re.search(pattern, path) for pattern in model.dense)
    if dense or not packable(layer) or not SPEC.fits(layer.weight.shape):
        return layer
    return packed_layer(layer, quantized(layer.weight, SPEC, dtype), dtype)
