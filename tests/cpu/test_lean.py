"""The CPU backend's own functions compute what MLX's fused ones compute."""

import threading

import mlx.core as mx
import mlx.nn as nn
import pytest

from mistralrs_mlx.cpu.attention import BLOCK, attention
from mistralrs_mlx.cpu.exponential import exponential, sigmoid
from mistralrs_mlx.cpu.linear import DenseLinear
from mistralrs_mlx.cpu.norm import LeanRMSNorm
from mistralrs_mlx.cpu.policy import CpuPolicy
from mistralrs_mlx.cpu.rope import rope
from tests.cpu.test_linear import OPENBLAS, difference


def normal(*shape: int, seed: int = 0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed))


def rope_arguments(dims: int, offset: int | mx.array, traditional: bool = False) -> dict:
    periods = mx.array([10_000 ** (2 * i / dims) for i in range(dims // 2)])
    return {
        "traditional": traditional,
        "base": None,
        "scale": 1.0,
        "offset": offset,
        "freqs": periods,
    }


@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize(("dims", "head_dim"), [(64, 64), (32, 64), (16, 80)])
@pytest.mark.parametrize("length", [1, 2, 37])
@pytest.mark.parametrize("offset", [0, 5000, mx.array([7, 0, 900])])
def test_rope_is_mlx_rope(
    traditional: bool, dims: int, head_dim: int, length: int, offset: int | mx.array
) -> None:
    arguments = rope_arguments(dims, offset, traditional)
    for heads in (1, 4):
        x = normal(3, length, heads, head_dim).swapaxes(1, 2)
        assert difference(rope(x, dims, **arguments), mx.fast.rope(x, dims, **arguments)) < 2e-6


@pytest.mark.parametrize("length", [1, 5])
def test_rope_turns_a_row_as_if_it_were_alone(length: int) -> None:
    x, offsets = normal(3, 4, length, 32), [7, 0, 900]
    together = rope(x, 32, **rope_arguments(32, mx.array(offsets)))
    same = rope(x, 32, **rope_arguments(32, 7))
    for row, offset in enumerate(offsets):
        alone = rope(x[row : row + 1], 32, **rope_arguments(32, offset))
        assert mx.array_equal(together[row : row + 1], alone)
    assert mx.array_equal(same[:1], together[:1])


def test_rope_forgets_no_position_and_mixes_up_no_periods() -> None:
    x = normal(1, 2, 1, 32)
    for theta in (10_000, 100, 10):
        for offset in (*range(20), 3):
            arguments = rope_arguments(32, offset)
            arguments["freqs"] = mx.array([float(theta) ** (i / 16) for i in range(16)])
            assert difference(rope(x, 32, **arguments), mx.fast.rope(x, 32, **arguments)) < 2e-6


def test_rope_may_be_used_by_any_thread_after_another() -> None:
    x, arguments = normal(1, 2, 1, 32), rope_arguments(32, 3)
    mx.eval(x, arguments["freqs"])
    built = rope(x, 32, **arguments)  # not computed
    found: list[float] = []

    def elsewhere() -> None:
        found.append(rope(x, 32, **arguments).sum().item())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [built.sum().item()]


def test_rope_leaves_other_kinds_to_mlx() -> None:
    x = normal(1, 2, 3, 32).astype(mx.bfloat16)
    arguments = rope_arguments(32, 3)
    assert mx.array_equal(rope(x, 32, **arguments), mx.fast.rope(x, 32, **arguments))


MASKS = {
    "array": lambda length, columns: mx.arange(columns) <= mx.arange(length)[:, None] + 3,
    "rows": lambda length, columns: (
        mx.arange(columns) <= mx.array([2, columns - 1])[:, None, None, None]
    ),
    "heads": lambda length, columns: (
        mx.arange(columns) <= mx.arange(6)[:, None, None] + mx.array([0, 1])[:, None, None, None]
    ),
    "added": lambda length, columns: mx.arange(columns) / columns,
}


@pytest.mark.parametrize("mask", ["causal", None, *MASKS])
@pytest.mark.parametrize("sinks", [True, False])
@pytest.mark.parametrize(
    ("length", "columns"), [(1, 9), (BLOCK, BLOCK), (BLOCK + 1, BLOCK + 1), (200, 333)]
)
def test_attention_is_mlx_attention(
    mask: str | None, sinks: bool, length: int, columns: int
) -> None:
    q, k, v = normal(2, 6, length, 32), normal(2, 2, columns, 32), normal(2, 2, columns, 48, seed=1)
    given = {
        "scale": 0.2,
        "mask": MASKS[mask](length, columns) if mask in MASKS else mask,
        "sinks": normal(6) if sinks else None,
    }
    expected = mx.fast.scaled_dot_product_attention(q, k, v, **given)
    assert difference(attention(q, k, v, many=0, **given), expected) < 2e-6
    assert difference(attention(q, k, v, **given), expected) < 2e-6


def test_attention_bears_scores_beyond_what_an_exponential_can() -> None:
    q, k = 300 * normal(1, 2, 5, 32), 300 * normal(1, 2, 5, 32, seed=1)
    given = {"scale": 1.0, "mask": "causal"}
    expected = mx.fast.scaled_dot_product_attention(q, k, k, **given)
    assert difference(attention(q, k, k, **given) / 300, expected / 300) < 2e-6


def test_an_exponential_is_mlx_exponential() -> None:
    x = mx.linspace(-80, 80, 20_001)
    assert mx.max(mx.abs(exponential(x) / mx.exp(x) - 1)).item() < 1e-5


def test_a_sigmoid_is_mlx_sigmoid_up_to_infinity() -> None:
    x = mx.concatenate([mx.linspace(-120, 120, 20_001), mx.array([-mx.inf, mx.inf, 0])])
    assert difference(sigmoid(x), mx.sigmoid(x)) < 3e-7
    assert sigmoid(mx.array([-mx.inf, 0, mx.inf])).tolist() == [0, 0.5, 1]
    assert mx.isnan(sigmoid(mx.array(mx.nan)))
    half = normal(64).astype(mx.bfloat16)
    assert mx.array_equal(sigmoid(half), mx.sigmoid(half))


@pytest.mark.parametrize("shape", [(1, 1, 80), (2, 7, 80), (2, 4, 3, 80)])
def test_the_norm_is_mlx_norm(shape: tuple[int, ...]) -> None:
    norm = nn.RMSNorm(80, eps=1e-3)
    norm.weight = normal(80, seed=3)
    lean = CpuPolicy("packed", "", OPENBLAS).adapt(norm)
    assert isinstance(lean, LeanRMSNorm)
    assert list(lean.parameters()) == ["weight"]
    for x in (normal(*shape), normal(*shape) * 1e-3):
        assert difference(lean(x), norm(x)) < 2e-6


def test_norms_of_other_kinds_stay_as_they_are() -> None:
    class Shifted(nn.RMSNorm):
        def __call__(self, x: mx.array) -> mx.array:
            return mx.fast.rms_norm(x, 1 + self.weight, self.eps)

    half = nn.RMSNorm(8)
    half.weight = half.weight.astype(mx.bfloat16)
    for norm in (Shifted(8), half):
        assert CpuPolicy("dense", "", OPENBLAS).adapt(norm) is norm


def test_a_norm_before_a_dense_layer_keeps_half_precision_to_itself() -> None:
    norm = LeanRMSNorm(nn.RMSNorm(8))
    assert (
        norm(normal(1, 8).astype(mx.bfloat16)).dtype
        == mx.fast.rms_norm(normal(1, 8).astype(mx.bfloat16), norm.weight, norm.eps).dtype
    )
    assert DenseLinear(mx.ones((4, 8)))(norm(normal(1, 8))).dtype == mx.float32
