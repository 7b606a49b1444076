"""How much memory the device has, and what MLX is told about it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import mlx.core as mx

from mistralrs_mlx.cpu.policy import available_memory
from mistralrs_mlx.errors import MistralRsMlxError

__all__ = ["Limits", "abandon", "capacity"]

SPARE_SHARE = 16  # buffers that MLX may keep for reuse: this part of what is wired
LEAST_SPARE, MOST_SPARE = 2**28, 2**31
NO_GPU = (
    "MLX finds no GPU, and on a Mac it computes nothing without one, on the CPU neither. Virtual "
    "machines and sandboxes may hide it: run this on the Mac itself. `mistralrs-mlx doctor` tells "
    "what it sees"
)


def capacity(info: Mapping[str, str | int] | None = None) -> int:
    """Bytes that models may take in all: Metal's working set, or what a CPU's machine has left."""
    if mx.default_device().type == mx.gpu:
        if info is None and not mx.is_available(mx.gpu):  # `mx.metal` says yes on every Mac
            raise MistralRsMlxError(NO_GPU)
        return int((mx.device_info() if info is None else info)["max_recommended_working_set_size"])
    return available_memory() + mx.get_active_memory()


def abandon() -> None:
    """Wait for what is in flight and nobody reads: its error would else meet whoever comes next."""
    with suppress(RuntimeError):
        mx.synchronize()


@dataclass(frozen=True)
class _Before:
    wired: int
    cache: int
    memory: int


class Limits:
    """MLX's limits on Metal, raised while there are models and then put back.

    Weights and caches that are wired stay resident. More than the working set must never be wired:
    macOS may panic over that.
    """

    def __init__(self) -> None:
        self._before: _Before | None = None

    def apply(self, goal: int, working_set: int) -> None:
        """Let models take `goal` bytes; 0 puts back what was there before."""
        if mx.default_device().type != mx.gpu:
            return
        if goal == 0:
            self._restore()
            return
        goal = min(goal, working_set)
        spare = min(max(goal // SPARE_SHARE, LEAST_SPARE), MOST_SPARE)
        before = _Before(
            mx.set_wired_limit(goal), mx.set_cache_limit(spare), mx.set_memory_limit(working_set)
        )
        self._before = self._before or before

    def _restore(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            mx.set_wired_limit(before.wired)
            mx.set_cache_limit(before.cache)
            mx.set_memory_limit(before.memory)
