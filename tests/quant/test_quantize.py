"""A tensor quantized in slabs is the tensor quantized at once, with little beside it in memory."""

import mlx.core as mx
import pytest

from mistralrs_mlx.quant import quantize
from mistralrs_mlx.quant.packed import Packed
from mistralrs_mlx.quant.quantize import quantized
from mistralrs_mlx.quant.spec import Spec

SPECS = [Spec(4), Spec(3, 32), Spec(6, 128), Spec(8, 32, "mxfp8"), Spec(4, 16, "nvfp4")]


@pytest.fixture
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "SLAB", 1000)
    monkeypatch.setattr(quantize, "FLOAT_SLAB", 300)


def at_once(tensor: mx.array, spec: Spec) -> Packed:
    parts = mx.quantize(tensor, spec.group_size, spec.bits, mode=spec.mode)
    return Packed.of(parts, spec)


def same(one: Packed, other: Packed) -> bool:
    pairs = zip(one.arrays(), other.arrays(), strict=True)
    return all(mx.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("shape", [(23, 256), (3, 7, 128), (1, 2048)])
@pytest.mark.usefixtures("small_slabs")
def test_slabs_make_no_difference(spec: Spec, shape: tuple[int, ...]) -> None:
    tensor = mx.random.normal(shape)
    packed = quantized(tensor, spec, mx.float32)
    assert same(packed, at_once(tensor, spec))
    assert packed.shape == shape


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
@pytest.mark.usefixtures("small_slabs")
def test_scales_have_the_dtype_that_was_asked_for(dtype: mx.Dtype) -> None:
    tensor = mx.random.normal((23, 256)).astype(mx.bfloat16)
    assert same(quantized(tensor, Spec(4), dtype), at_once(tensor.astype(dtype), Spec(4)))


@pytest.mark.usefixtures("small_slabs")
def test_a_packed_tensor_is_quantized_anew_from_its_dense_values() -> None:
    packed = at_once(mx.random.normal((23, 256)), Spec(8, 32))
    again = quantized(packed, Spec(4), mx.float32)
    assert same(again, at_once(packed.dense(mx.float32), Spec(4)))


def test_little_more_than_the_result_is_in_memory() -> None:
    tensor = mx.random.normal((8192, 1024)).astype(mx.bfloat16)
    mx.eval(tensor)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    packed = quantized(tensor, Spec(4), mx.float32)
    slab = 4 * quantize.SLAB
    assert mx.get_peak_memory() - before < packed.nbytes + 1.5 * slab


def test_half_precision_scales_do_not_round_a_float32_tensor() -> None:
    packed = at_once(mx.random.normal((4, 64)).astype(mx.float16), Spec(8))
    exact = packed.cast(mx.float32)
    assert mx.array_equal(packed.dense(mx.float32), exact.dense(mx.float32))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_a_number_is_off_by_little_more_than_half_a_step_of_its_group(bits: int) -> None:
    tensor = mx.random.normal((16, 256)) + 3
    off = mx.abs(quantized(tensor, Spec(bits), mx.float32).dense(mx.float32) - tensor)
    groups = tensor.reshape(16, -1, 64)
    step = (groups.max(-1) - groups.min(-1)) / (2**bits - 1)
    assert mx.all(off.reshape(groups.shape).max(-1) < 0.8 * step)  # mx.quantize moves the origin
