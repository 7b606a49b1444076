"""What the device has, and what MLX is told about it."""

import mlx.core as mx
import pytest

from mistralrs_mlx.engine.device import Limits, capacity
from mistralrs_mlx.engine.goal import Goal
from mistralrs_mlx.engine.memory import Budget, Ledger
from mistralrs_mlx.errors import MistralRsMlxError


class Gpu:
    """Stands for MLX's limits on a Mac, and remembers them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits = {"wired": 0, "cache": 77, "memory": 88}
        for name in self.limits:
            monkeypatch.setattr(
                mx, f"set_{name}_limit", lambda new, name=name: self._set(name, new)
            )
        monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu))

    def _set(self, name: str, new: int) -> int:
        old, self.limits[name] = self.limits[name], new
        return old


def test_limits_on_metal_stay_within_the_working_set_and_are_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, working_set = Gpu(monkeypatch), 20 * 2**30
    assert capacity({"max_recommended_working_set_size": working_set}) == working_set
    ledger = Ledger(lambda: working_set)
    small, large = Budget(Goal(share=0.5), ledger), Budget(Goal(share=1.0), ledger)
    assert gpu.limits == {"wired": working_set, "cache": 20 * 2**26, "memory": working_set}
    large.close()
    assert gpu.limits["wired"] == working_set // 2
    small.close()
    assert gpu.limits == {"wired": 0, "cache": 77, "memory": 88}


def test_a_mac_whose_gpu_is_hidden_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu))
    monkeypatch.setattr(mx, "is_available", lambda _: False)
    with pytest.raises(MistralRsMlxError, match="MLX finds no GPU"):
        capacity()


def test_the_cpu_backend_gets_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "set_wired_limit", lambda _: pytest.fail("the CPU has no such limit"))
    Limits().apply(2**30, 2**34)
    assert capacity() > 2**28
