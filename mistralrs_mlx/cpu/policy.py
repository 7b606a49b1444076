"""How weights are held on the CPU backend, and the change that it makes to a loaded layer.

Packed products on this backend are scalar loops: 8 times slower than a dense product with an
optimised BLAS. So weights become dense float32 while they fit, and stay packed otherwise.
`MISTRALRS_MLX_CPU_WEIGHTS` = `dense`, `packed` or `auto` overrides that.
"""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.fused import fused
from mistralrs_mlx.errors import ConfigError

from .attention import attention
from .blas import Blas, bind_openblas
from .compiling import apply_wish
from .exponential import sigmoid
from .linear import DenseEmbedding, DenseLinear, HybridEmbedding, HybridLinear, dense_weight
from .norm import LeanRMSNorm
from .rope import rope

__all__ = ["CpuPolicy", "available_memory", "choose_policy", "describe_weights", "prepare"]

log = logging.getLogger(__name__)

Form = Literal["dense", "packed"]
SHARE = 0.6  # of the available memory that dense weights may take
MEMINFO = Path("/proc/meminfo")
BYTES = 4  # of a float32
VARIABLE = "MISTRALRS_MLX_CPU_WEIGHTS"


@dataclass(frozen=True)
class CpuPolicy:
    """The chosen form of the weights and the reason, for logs and `doctor`."""

    form: Form
    reason: str
    blas: Blas

    def adapt(self, layer: nn.Module) -> nn.Module:
        """The layer that does the same work in the chosen form. Others come back unchanged."""
        adapter = _ADAPTERS[self.form].get(type(layer))
        return layer if adapter is None else adapter(layer, self.blas)


def prepare() -> None:
    """Make the backend ready, before the first model of a process."""
    apply_wish()
    blas = bind_openblas()
    if mx.default_device().type == mx.cpu:
        fused.rope, fused.sigmoid = rope, sigmoid
        # Reference BLAS computes a row alike in any company, and so must all else then.
        fused.attention = attention if blas.optimised else partial(attention, many=math.inf)


def choose_policy(parameters: int, room: int | None = None) -> CpuPolicy:
    """Decide for a model of this many parameters, which may take `room` bytes if that is given."""
    wish = _wish()
    policy = _automatic(parameters, room) if wish == "auto" else _asked(wish)
    log.info("weights on the CPU backend: %s float32 (%s)", policy.form, policy.reason)
    return policy


def describe_weights() -> str:
    """What `choose_policy` would do with models of different sizes."""
    wish = _wish()
    if wish != "auto":
        return f"{wish} ({VARIABLE}={wish})"
    available = available_memory()
    limit = SHARE * available / BYTES / 1e9
    return f"dense up to {limit:.1f} billion parameters, packed above ({_gib(available)} available)"


def _wish() -> str:
    wish = os.environ.get(VARIABLE, "auto")
    if wish not in ("auto", "dense", "packed"):
        raise ConfigError(f"{VARIABLE}={wish!r}; it may be 'dense', 'packed' or 'auto'")
    return wish


def _asked(wish: str) -> CpuPolicy:
    form: Form = "dense" if wish == "dense" else "packed"
    return CpuPolicy(form, f"{VARIABLE}={wish}", bind_openblas())


def _automatic(parameters: int, room: int | None) -> CpuPolicy:
    needed, available = BYTES * parameters, available_memory()
    available = available if room is None else min(available, room)
    numbers = f"{_gib(needed)} dense, {_gib(available)} available"
    form: Form = "dense" if needed <= SHARE * available else "packed"
    return CpuPolicy(form, numbers, bind_openblas())


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def available_memory() -> int:
    """Bytes that the machine could hand out without swapping; all it has, where that is secret."""
    lines = MEMINFO.read_text().splitlines() if MEMINFO.exists() else []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _linear(layer: nn.Module, blas: Blas) -> nn.Module:
    bias = layer.bias.astype(mx.float32) if "bias" in layer else None
    weight = dense_weight(layer, by_columns=blas.by_columns)
    return DenseLinear(weight, bias, by_columns=blas.by_columns)


def _embedding(layer: nn.Module, blas: Blas) -> nn.Module:
    weight = dense_weight(layer, by_columns=blas.by_columns)
    return DenseEmbedding(weight, by_columns=blas.by_columns)


def _hybrid_linear(layer: nn.QuantizedLinear, blas: Blas) -> nn.Module:
    return HybridLinear.of(layer, optimised=blas.optimised)


def _hybrid_embedding(layer: nn.QuantizedEmbedding, blas: Blas) -> nn.Module:
    return HybridEmbedding.of(layer, optimised=blas.optimised)


def _norm(layer: nn.RMSNorm, _: Blas) -> nn.Module:
    return LeanRMSNorm(layer) if layer.weight.dtype == mx.float32 else layer


_ADAPTERS: dict[Form, dict[type, Callable[..., nn.Module]]] = {
    "dense": {
        nn.Linear: _linear,
        nn.QuantizedLinear: _linear,
        nn.Embedding: _embedding,
        nn.QuantizedEmbedding: _embedding,
        nn.RMSNorm: _norm,
    },
    "packed": {
        nn.QuantizedLinear: _hybrid_linear,
        nn.QuantizedEmbedding: _hybrid_embedding,
        nn.RMSNorm: _norm,
    },
}
