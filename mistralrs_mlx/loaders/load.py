"""A checkpoint becomes a model: the one place where all of it meets.

`load` builds the architecture without computing anything, checks every name, and streams the
tensors into it. Only the thread that is to run the model may call it.
"""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.api.enums import IsqOrganization, ModelDType
from mistralrs_mlx.api.wire import WireEnum
from mistralrs_mlx.errors import UnsupportedArchitecture
from mistralrs_mlx.models import registry
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.models.embedder import Encoder
from mistralrs_mlx.models.weights import Recipe, resolve
from mistralrs_mlx.quant.isq import isq
from mistralrs_mlx.quant.plan import Plan, plan_for
from mistralrs_mlx.quant.topology import load_topology

from .assemble import Adapt, Assembler, Progress, parameters
from .borrowed import Borrowed
from .checkpoint import Checkpoint
from .dtype import resolve_dtype
from .fallback import borrow
from .matching import check_names, check_shapes

__all__ = ["LoadOptions", "LoadedModel", "Policy", "Room", "entry_of", "filled", "forget", "load"]

log = logging.getLogger(__name__)

Model = TypeVar("Model", CausalLM, Borrowed, Encoder)
Policy = Callable[[int], Adapt]
"""Given the number of parameters, what a backend does with each finished layer."""
Room = Callable[[int], None]
"""Raises if weights of so many bytes do not fit; called before any is read."""
LISTED = 5  # modules that a warning names


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What a user may ask of a load."""

    arch: WireEnum | None = None  # outranks what config.json says
    in_situ_quant: str | int | None = None
    topology: str | Path | None = None  # a YAML file
    organization: IsqOrganization | None = None
    dtype: ModelDType = ModelDType.Auto


@dataclass(frozen=True, kw_only=True)
class LoadedModel(Generic[Model]):
    """A model that is ready to run, and what became of its checkpoint."""

    model: Model = field(repr=False)
    architecture: str  # as in the `architectures` of a config.json
    dtype: mx.Dtype  # of activations and of what is not quantized
    parameters: int  # weights, counted as if none were packed
    nbytes: int  # that the weights take
    layouts: tuple[tuple[str, int], ...]  # of quantized layers, and how many of them; most first
    source: Literal["mistralrs_mlx", "mlx-lm"]  # whose code runs it
    unfit: tuple[str, ...]  # modules that no quantization reached: their width has no whole groups

    @property
    def context_length(self) -> int:
        return self.model.context_length

    @property
    def quantization(self) -> str:
        """One line about the quantized layers."""
        return ", ".join(f"{count} x {layout}" for layout, count in self.layouts) or "none"


def load(
    checkpoint: Checkpoint,
    options: LoadOptions | None = None,
    *,
    policy: Policy | None = None,
    progress: Progress | None = None,
    room: Room | None = None,
) -> LoadedModel[CausalLM] | LoadedModel[Borrowed]:
    """Build the model of a checkpoint, quantized as asked for, with every weight evaluated.

    Raises `ValueError` for whatever does not fit together. Nothing of a model that could not be
    finished stays in memory.
    """
    try:
        return _load(checkpoint, options or LoadOptions(), policy, progress, room)
    except BaseException as error:
        forget(error)
        raise


def filled(
    model: Model,
    architecture: str,
    checkpoint: Checkpoint,
    options: LoadOptions,
    *,
    policy: Policy | None,
    progress: Progress | None,
    room: Room | None,
) -> LoadedModel[Model]:
    """Replace the random weights of a model by those of a checkpoint."""
    dtype = resolve_dtype(options.dtype, checkpoint, metal=_on_metal())
    held = _held(model)
    recipes = _recipes(checkpoint, model)
    assembler = Assembler(held, _plan(options, model), dtype, precise=model.precise)
    count = sum(array.size for array in parameters(held).values())
    adapt = None if policy is None else policy(count)
    if room is not None:
        room(assembler.weigh(recipes, checkpoint.tensors))
    assembler.fill(recipes, checkpoint.tensors, adapt=adapt, progress=progress)
    _tell(assembler)
    return LoadedModel(
        model=model,
        architecture=architecture,
        dtype=dtype,
        parameters=count,
        nbytes=sum(array.nbytes for array in parameters(held).values()),
        layouts=tuple((str(spec), count) for spec, count in assembler.layouts.most_common()),
        source="mlx-lm" if isinstance(model, Borrowed) else "mistralrs_mlx",
        unfit=tuple(assembler.unfit),
    )


def forget(error: BaseException | None) -> None:
    """Let go of the local variables of a failed load, which its error would keep alive."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    mx.clear_cache()


def _load(
    checkpoint: Checkpoint,
    options: LoadOptions,
    policy: Policy | None,
    progress: Progress | None,
    room: Room | None,
) -> LoadedModel[CausalLM] | LoadedModel[Borrowed]:
    try:
        entry = entry_of(checkpoint, options.arch)
    except UnsupportedArchitecture as error:
        if options.arch is not None:
            raise
        return _borrowed(checkpoint, error, options, policy, progress, room)
    if entry.kind == registry.EMBEDDING:
        raise UnsupportedArchitecture(
            f"{checkpoint.source} is a {entry.name}, which makes vectors of texts and answers "
            "nothing. Open it with Which.Embedding"
        )
    model = entry.load().from_dict(checkpoint.config)
    return filled(
        model, entry.name, checkpoint, options, policy=policy, progress=progress, room=room
    )


def _borrowed(
    checkpoint: Checkpoint,
    unknown: UnsupportedArchitecture,
    options: LoadOptions,
    policy: Policy | None,
    progress: Progress | None,
    room: Room | None,
) -> LoadedModel[Borrowed]:
    model = borrow(checkpoint, unknown)
    name = (checkpoint.config.get("architectures") or [checkpoint.config["model_type"]])[0]
    loaded = filled(model, name, checkpoint, options, policy=policy, progress=progress, room=room)
    model.find_head()
    return loaded


def _held(model: CausalLM | Borrowed | Encoder) -> nn.Module:
    """The module that holds the parameters."""
    return model.inner if isinstance(model, Borrowed) else model


def entry_of(checkpoint: Checkpoint, arch: WireEnum | None) -> registry.Entry:
    """The architecture of a checkpoint, or the one that outranks what its config.json says."""
    if arch is None:
        return registry.of_config(checkpoint.config)
    entry = registry.by_member(repr(arch))
    names = checkpoint.config.get("architectures") or [entry.name]
    if not {entry.name, *entry.older} & set(names):
        said = "%s is read as arch=%r, but config.json says %s"
        log.warning(said, checkpoint.source, arch, names[0])
    return entry


def _recipes(checkpoint: Checkpoint, model: CausalLM | Borrowed | Encoder) -> dict[str, Recipe]:
    """How every parameter is made, once it is certain that all of them can be."""
    shapes = {name: array.shape for name, array in parameters(_held(model)).items()}
    recipes = resolve(checkpoint.tensors, model.rules)
    check_names(recipes, shapes, source=checkpoint.source)
    check_shapes(recipes, checkpoint.tensors, shapes, source=checkpoint.source)
    return recipes


def _plan(options: LoadOptions, model: CausalLM | Borrowed | Encoder) -> Plan:
    return plan_for(
        isq=None if options.in_situ_quant is None else isq(options.in_situ_quant),
        organization=options.organization or IsqOrganization.Default,
        topology=None if options.topology is None else load_topology(options.topology),
        dense=model.dense,
    )


def _on_metal() -> bool:
    return mx.default_device().type == mx.gpu


def _tell(assembler: Assembler) -> None:
    if assembler.unfit:
        named = ", ".join(assembler.unfit[:LISTED])
        log.warning(
            "not quantized, since their width is not a multiple of the group size: "
            "%d modules, such as %s",
            len(assembler.unfit),
            named,
        )
