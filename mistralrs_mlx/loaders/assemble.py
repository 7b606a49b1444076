"""A model out of a checkpoint's tensors, one parameter after the other.

Beside the finished part of the model there is never more in memory than the tensors of one
parameter and a slab of rows: each is read, put together, quantized, computed and dropped.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import groupby
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from mistralrs_mlx.models.weights import Recipe
from mistralrs_mlx.quant.layers import packable, packed_layer
from mistralrs_mlx.quant.packed import Packed, Tensor
from mistralrs_mlx.quant.plan import Plan
from mistralrs_mlx.quant.quantize import quantized, quantized_stack
from mistralrs_mlx.quant.spec import Spec

from .checkpoint import LazyTensor
from .dtype import scales_dtype
from .matching import stored_bytes
from .weighing import stand_ins, weight

__all__ = ["Adapt", "Assembler", "Progress", "parameters"]

Adapt = Callable[[nn.Module], nn.Module]
"""What a backend does with a finished layer: gives one that does the same work better."""
Progress = Callable[[int, int, str], None]
"""`progress(done, total, path)`: bytes read, and the module that was finished last."""
TRAINED = "mxfp4"  # weights of this mode were trained in it (GPT-OSS): ISQ leaves them as they are
SPARE = 2**26  # bytes of freed buffers that MLX may keep while a model loads


def parameters(model: nn.Module) -> dict[str, mx.array]:
    """A model's parameters by path, in the order in which they are loaded."""
    return dict(cast(list[tuple[str, mx.array]], tree_flatten(model.parameters())))


class Assembler:
    """Fills a model with what a plan makes of a checkpoint's tensors."""

    def __init__(
        self, model: nn.Module, plan: Plan, dtype: mx.Dtype, *, precise: Sequence[str] = ()
    ) -> None:
        self.layouts: Counter[Spec] = Counter()  # how many layers became which
        self.unfit: list[str] = []  # modules that the plan would quantize, but for their width
        self._model, self._plan, self._dtype = model, plan, dtype
        self._precise = precise  # patterns of parameters that stay in float32

    def weigh(self, recipes: Mapping[str, Recipe], tensors: Mapping[str, LazyTensor]) -> int:
        """Bytes that all parameters are going to take, told without reading any."""
        made = stand_ins(recipes, tensors)
        return sum(weight(each, self._form(name, each), self._dtype) for name, each in made)

    def fill(
        self,
        recipes: Mapping[str, Recipe],
        tensors: Mapping[str, LazyTensor],
        *,
        adapt: Adapt | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Replace every parameter of the model by what its recipe makes, evaluated."""
        reader = _Reader(tensors, recipes)
        for path, names in groupby(parameters(self._model), key=lambda name: _split(name)[0]):
            for name in names:
                self._set(name, reader)
            if adapt is not None:
                self._adapt(path, adapt)
            if mx.get_cache_memory() > SPARE:
                mx.clear_cache()
            if progress is not None:
                progress(reader.done, reader.total, path)
        mx.clear_cache()

    def _set(self, name: str, reader: "_Reader") -> None:
        path, _ = _split(name)
        planned = self._may_be_packed(name)
        made = self._planned(path, reader) if planned else self._dense(name, reader.build(name))
        if isinstance(made, Packed):
            self.layouts[made.spec] += 1
            _put(self._model, path, packed_layer(_at(self._model, path), made, self._dtype))
        else:
            _put(self._model, name, made)

    def _planned(self, path: str, reader: "_Reader") -> Tensor:
        """A weight as the plan wants it: packed or dense."""
        name = f"{path}.weight"
        spec = self._wanted(path, _at(self._model, name).shape)
        if spec is None and self._plan.spec(path) is not None:
            self.unfit.append(path)
        if spec is not None and reader.stacks(name):
            return quantized_stack(reader.slices(name), spec, self._dtype)
        tensor = reader.build(name)
        if isinstance(tensor, Packed) and _stays(tensor, spec):
            return tensor.cast(scales_dtype(tensor, self._dtype)).evaluated()
        return self._dense(name, tensor) if spec is None else quantized(tensor, spec, self._dtype)

    def _form(self, name: str, tensor: Tensor) -> Spec | mx.Dtype:
        """What `_set` is going to make of a parameter that is made of such a tensor."""
        if self._may_be_packed(name):
            spec = self._wanted(_split(name)[0], tensor.shape)
            if isinstance(tensor, Packed) and _stays(tensor, spec):
                return tensor.spec
            if spec is not None:
                return spec
        if isinstance(tensor, Packed) or mx.issubdtype(tensor.dtype, mx.floating):
            return self._dense_dtype(name)
        return tensor.dtype

    def _may_be_packed(self, name: str) -> bool:
        path, leaf = _split(name)
        layer = _at(self._model, path)
        return leaf == "weight" and isinstance(layer, nn.Module) and packable(layer)

    def _wanted(self, path: str, shape: tuple[int, ...]) -> Spec | None:
        """How the plan has a weight packed, if it is wide enough for that."""
        spec = self._plan.spec(path)
        return spec if spec is not None and spec.fits(shape) else None

    def _dense_dtype(self, name: str) -> mx.Dtype:
        precise = any(re.search(pattern, name) for pattern in self._precise)
        return mx.float32 if precise else self._dtype

    def _dense(self, name: str, tensor: Tensor) -> mx.array:
        dtype = self._dense_dtype(name)
        if isinstance(tensor, Packed):
            tensor = tensor.dense(dtype)
        elif mx.issubdtype(tensor.dtype, mx.floating):
            tensor = tensor.astype(dtype)
        mx.eval(tensor)
        return tensor

    def _adapt(self, path: str, adapt: Adapt) -> None:
        layer = _at(self._model, path)
        if path and isinstance(layer, nn.Module):
            adapted = adapt(layer)
            mx.eval(adapted.parameters())
            _put(self._model, path, adapted)


class _Reader:
    """Reads tensors once, however many parameters are cut out of them, and drops them at once."""

    def __init__(self, tensors: Mapping[str, LazyTensor], recipes: Mapping[str, Recipe]) -> None:
        self._tensors, self._recipes = tensors, recipes
        self._uses = Counter(source for recipe in recipes.values() for source in recipe.sources)
        self._kept: dict[str, Tensor] = {}
        self.done, self.total = 0, sum(stored_bytes(tensors[source]) for source in self._uses)

    def build(self, name: str) -> Tensor:
        """The parameter of this name, in most formats not computed yet."""
        return self._made(self._recipes[name])

    def stacks(self, name: str) -> bool:
        """Whether this parameter is stacked out of dense tensors."""
        recipe = self._recipes[name]
        return bool(recipe.slices) and all(self._tensors[s].spec is None for s in recipe.sources)

    def slices(self, name: str) -> Iterator[Tensor]:
        """What is stacked, one after the other: no other slice is in memory."""
        return map(self._made, self._recipes[name].slices)

    def _made(self, recipe: Recipe) -> Tensor:
        return cast(Tensor, recipe.build(*(self._source(source) for source in recipe.sources)))

    def _source(self, source: str) -> Tensor:
        tensor = self._kept.pop(source, None)
        if tensor is None:
            tensor = self._tensors[source]()
            self.done += tensor.nbytes
        self._uses[source] -= 1
        if self._uses[source]:
            self._kept[source] = tensor
        return tensor


def _stays(tensor: Packed, wanted: Spec | None) -> bool:
    """Whether a weight keeps the packing that it is stored in."""
    return wanted in (None, tensor.spec) or tensor.mode == TRAINED


def _split(path: str) -> tuple[str, str]:
    """What holds the thing at this path, and its name in there."""
    parent, _, name = path.rpartition(".")
    return parent, name


def _at(model: nn.Module, path: str) -> Any:
    """The module, or the list of modules, at this path."""
    return reduce(_child, path.split(".") if path else [], model)


def _child(node: Any, key: str) -> Any:
    return node[int(key)] if isinstance(node, list) else node[key]


def _put(model: nn.Module, path: str, value: nn.Module | mx.array) -> None:
    parent, name = _split(path)
    holder = _at(model, parent)
    holder[int(name) if isinstance(holder, list) else name] = value
