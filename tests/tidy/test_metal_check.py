"""What Mac owners run to check Metal works itself: tried on the CPU."""

import sys

import mlx.core as mx
import pytest

from mistralrs_mlx.cache.kv import KVCache
from scripts import check_metal, metal_kernels
from scripts.check_metal import Check


@pytest.mark.skipif(sys.platform != "linux", reason="a Mac has Metal")
def test_without_metal_it_says_whom_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_metal.main([]) == 2
    assert "This is for Macs" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="it would leave a Mac's tests on its CPU")
@pytest.mark.usefixtures("demo_gguf")
def test_its_checks_pass_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metal_kernels, "DTYPES", {mx.float32: 1e-4})
    assert check_metal.main(["--device", "cpu", "--quick"]) == 0
    said = capsys.readouterr().out
    assert "are well" in said
    assert "| ok | quantized_matmul |" in said


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metal_kernels, "DTYPES", {mx.float32: 1e-4})
    right = mx.fast.rope
    monkeypatch.setattr(
        mx.fast, "rope", lambda *args, offset, **more: right(*args, offset=offset + 1, **more)
    )
    found = {check.name: check.passed for check in check_metal.kernel_checks(mx.Device(mx.cpu))}
    assert [name for name, passed in found.items() if not passed] == ["rope"]


def test_every_width_of_quantization_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metal_kernels, "DTYPES", {mx.float32: 1e-4})
    names = [name for name, _, _ in metal_kernels.kernels(mx.Device(mx.cpu))]
    for bits in (2, 3, 4, 5, 6, 8):
        for kernel in ("quantized_matmul", "gather_qmm"):
            assert [name for name in names if name.startswith(f"{kernel} affine {bits} bits")]


def test_a_failure_is_counted_in_the_report() -> None:
    checks = [Check(name="a", passed=True, found=""), Check(name="b", passed=False, found="why")]
    assert "1 of 2 failed" in check_metal.report(checks)
    assert "| **FAILED** | b | why |" in check_metal.report(checks)


def test_parts_of_models_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metal_kernels, "DTYPES", {mx.float16: 4e-3})
    monkeypatch.setattr(metal_kernels, "_quantized", lambda *_: iter(()))
    monkeypatch.setattr(metal_kernels, "_gathered", lambda *_: iter(()))
    right = KVCache.store
    monkeypatch.setattr(
        KVCache, "store", lambda cache, k, v, step: right(cache, k, _dropped(v), step)
    )
    found = {check.name: check.passed for check in check_metal.kernel_checks(mx.Device(mx.cpu))}
    assert [name for name, passed in found.items() if not passed] == ["arena"]


def _dropped(values: mx.array) -> mx.array:
    """Zeros in half precision."""
    return values if values.dtype == mx.float32 else mx.zeros_like(values)


@pytest.mark.parametrize(
    ("architecture", "wish", "rounds"),
    [("applegpu_g16s", "1", False), ("applegpu_g17s", "1", True), ("applegpu_g17s", "0", False)],
)
def test_float32_is_compared_as_the_gpu_multiplies_it(
    architecture: str, wish: str, rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_ENABLE_TF32", wish)
    monkeypatch.setattr(mx, "device_info", lambda _: {"architecture": architecture})
    assert metal_kernels._rounds_products(mx.Device(mx.gpu)) is rounds
