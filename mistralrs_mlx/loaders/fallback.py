"""Architectures that we do not have, as mlx-lm has them. The one place that imports mlx-lm.

What it can lend are decoders whose layers attend to all tokens or through a window. Layers with
other memories (recurrent states, chunks, sparse indices) do not fit our caches and are refused.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import mlx.nn as nn

from mistralrs_mlx.cache.layout import Attends
from mistralrs_mlx.errors import ConfigError, MissingExtra, UnsupportedArchitecture
from mistralrs_mlx.extras import extra
from mistralrs_mlx.models.registry import TABLE
from mistralrs_mlx.models.weights import LEFTOVERS

from .assemble import parameters
from .borrowed import Borrowed
from .checkpoint import Checkpoint
from .sanitize import Sanitize

__all__ = ["borrow"]

log = logging.getLogger(__name__)

INSTALL = "pip install 'mistralrs-mlx[fallback]'"
OWN = {entry.model_type for entry in TABLE}
UNEVEN = {  # take positions from a number, so that rows of different lengths would be wrong
    "afm7": "the shape of the keys",
    "gpt_bigcode": "NumPy",
    "internlm3": "a comparison of lengths",
}
LENGTHS = (  # what configurations call the longest sequence
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_sequence_length",
    "max_seq_len",
    "seq_length",
    "model_max_length",
)
LENGTH = 4096  # where none of them is there


def borrow(checkpoint: Checkpoint, unknown: UnsupportedArchitecture) -> Borrowed:
    """mlx-lm's model for a configuration that is `unknown` here, with random weights.

    Raises `MissingExtra` without mlx-lm, `UnsupportedArchitecture` if it has none that fits.
    """
    config, source = checkpoint.config, checkpoint.source
    wanted = config.get("model_type")
    if not isinstance(wanted, str) or wanted in OWN:
        raise unknown
    parts = _parts(wanted, unknown)
    inner = _built(parts, config, source)
    inner.eval()
    layout = _layout(inner, parts, source)
    named = (config.get("architectures") or [wanted])[0]
    log.warning("%s: there is no %s here; mlx-lm's %s runs it", source, named, _short(parts))
    offered = _offers(inner, "sanitize")
    rules = [Sanitize(inner.sanitize, checkpoint.tensors)] if offered else []
    return Borrowed(
        inner=inner,
        layout=layout,
        context_length=_context_length(config, source),
        rules=(*rules, *LEFTOVERS),
        dense=_dense(inner),
        precise=_precise(inner),
    )


def _parts(wanted: str, unknown: UnsupportedArchitecture) -> ModuleType:
    """The module of mlx-lm that has the classes for a model_type."""
    known = _model_types(unknown)
    name: str = _imported("mlx_lm.utils").MODEL_REMAPPING.get(wanted, wanted)
    module = _imported(f"mlx_lm.models.{name}") if name in known else None
    if module is None or not {"Model", "ModelArgs"} <= vars(module).keys():
        near = get_close_matches(wanted, known, n=3, cutoff=0.4)
        said = f"nearest there: {', '.join(near)}" if near else "and nothing near it"
        raise UnsupportedArchitecture(
            f'{unknown}. Nor has mlx-lm a model_type "{wanted}"; {said}'
        ) from unknown
    if name in UNEVEN:
        raise UnsupportedArchitecture(
            f"{unknown}. mlx-lm's {name} takes positions from {UNEVEN[name]}, which is wrong for "
            "rows of different lengths"
        ) from unknown
    return module


def _model_types(unknown: UnsupportedArchitecture) -> list[str]:
    """The modules of mlx-lm that may be models, without importing any."""
    spec = find_spec("mlx_lm")
    if spec is None or spec.submodule_search_locations is None:
        raise MissingExtra(
            f"{unknown}. mlx-lm may have it, and runs here once it is installed: {INSTALL}"
        ) from unknown
    folders = [f"{place}/models" for place in spec.submodule_search_locations]
    return sorted(module.name for module in iter_modules(folders))


def _imported(name: str) -> ModuleType:
    try:
        with suppress(ModuleNotFoundError):
            extra("regex")  # transformers imports it; an example of mistral.rs is called so
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"mlx-lm is installed and cannot be imported: {error}. Install it anew: {INSTALL}"
        ) from error
    except SystemExit as error:  # how mlx-lm's OLMo says that it lacks a package
        raise MissingExtra(
            f"{name} needs a package that is not installed, and has printed which"
        ) from error


def _built(parts: ModuleType, config: Mapping[str, Any], source: str) -> nn.Module:
    try:
        built: nn.Module = parts.Model(parts.ModelArgs.from_dict(_older(config)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{source}: mlx-lm's {_short(parts)} cannot be built from config.json: {error}"
        ) from error
    return built


def _older(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with its rotation where most models of mlx-lm look for it."""
    rope = config.get("rope_parameters") or {}
    if not isinstance(rope.get("rope_theta"), int | float):
        return dict(config)  # nothing, or settings for each kind of layer
    kind = rope.get("rope_type", "default")
    scaling = {} if kind == "default" else {"rope_scaling": dict(rope)}
    return {"rope_theta": rope["rope_theta"], **scaling, **config}


def _layout(inner: nn.Module, parts: ModuleType, source: str) -> list[Attends]:
    """What each layer remembers, by the caches that the model would make for itself."""
    caches = _imported("mlx_lm.models.cache")
    made = caches.make_prompt_cache(inner)
    layout: list[Attends] = []
    for cache in made:
        if type(cache) is caches.KVCache:
            layout.append(Attends())
        elif type(cache) is caches.RotatingKVCache and not cache.keep:
            layout.append(Attends(cache.max_size))
        else:
            raise UnsupportedArchitecture(
                f"{source}: mlx-lm has {_short(parts)}, but a layer of it remembers by "
                f"{type(cache).__name__}; only layers that attend to all tokens or through a "
                "window can run here"
            )
    return layout


def _dense(inner: nn.Module) -> tuple[str, ...]:
    """Modules that mlx-lm would leave as they are, or give more bits than the others."""
    if not _offers(inner, "quant_predicate"):
        return ()
    wanted: Callable[[str, nn.Module], bool | dict[str, Any]] = inner.quant_predicate
    weighted = [(path, module) for path, module in inner.named_modules() if "weight" in module]
    return _exactly(path for path, module in weighted if wanted(path, module) is not True)


def _precise(inner: nn.Module) -> tuple[str, ...]:
    """Parameters that mlx-lm does not cast to the type of the others."""
    if not _offers(inner, "cast_predicate"):
        return ()
    cast: Callable[[str], bool] = inner.cast_predicate
    return _exactly(name for name in parameters(inner) if not cast(name))


def _context_length(config: Mapping[str, Any], source: str) -> int:
    for terms in (config, config.get("text_config") or {}):
        for name in LENGTHS:
            if isinstance(terms.get(name), int) and terms[name] > 0:
                return int(terms[name])
    log.warning("%s: config.json does not say how long a context may be; taken: %d", source, LENGTH)
    return LENGTH


def _offers(inner: nn.Module, name: str) -> bool:
    """Whether a model's class defines this: only some do."""
    return name in dir(type(inner))


def _exactly(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"^{re.escape(path)}$" for path in paths)


def _short(parts: ModuleType) -> str:
    return parts.__name__.rpartition(".")[2]
