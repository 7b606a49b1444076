"""How many bytes a weight is going to take, before it is read."""

from collections.abc import Iterator, Mapping
from math import prod

import mlx.core as mx

from mistralrs_mlx.models.weights import Recipe
from mistralrs_mlx.quant.packed import Packed, Tensor
from mistralrs_mlx.quant.spec import Spec

from .checkpoint import LazyTensor
from .dtype import scales_dtype
from .matching import stand_in

__all__ = ["stand_ins", "weight"]


def stand_ins(
    recipes: Mapping[str, Recipe], tensors: Mapping[str, LazyTensor]
) -> Iterator[tuple[str, Tensor]]:
    """Each parameter's name, and a tensor of its form that takes no memory."""
    for name, recipe in recipes.items():
        made = recipe.build(*(stand_in(tensors[each]) for each in recipe.sources))
        assert isinstance(made, Tensor)
        yield name, made


def weight(tensor: Tensor, form: Spec | mx.Dtype, dtype: mx.Dtype) -> int:
    """Bytes of a tensor that becomes dense or packed in a model that computes in `dtype`."""
    size = prod(tensor.shape)
    if isinstance(form, mx.Dtype):
        return size * form.size
    factor = dtype
    if isinstance(tensor, Packed) and tensor.spec == form:
        factor = scales_dtype(tensor, dtype)
    factors = 2 * factor.size if form.mode == "affine" else 1
    return size * form.bits // 8 + size // form.group_size * factors
