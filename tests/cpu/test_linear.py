"""The CPU backend's layers compute what MLX's own layers compute."""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import pytest

from mistralrs_mlx.cpu.blas import Blas
from mistralrs_mlx.cpu.linear import (
    SMALL_PRODUCT,
    SPLIT_ROWS,
    DenseEmbedding,
    DenseLinear,
    HybridLinear,
    _piece,
    dense_product,
)
from mistralrs_mlx.cpu.policy import (
    CpuPolicy,
    available_memory,
    choose_policy,
    describe_weights,
)
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.layers.fusing import side_by_side

SMALL = Blas("OpenBLAS", "with kernels for small matrices", optimised=True, by_columns=False)
OPENBLAS = Blas("OpenBLAS", "", optimised=True, by_columns=True)
REFERENCE = Blas("reference", "", optimised=False, by_columns=True)
each_blas = pytest.mark.parametrize("blas", [SMALL, OPENBLAS, REFERENCE])


def difference(a: mx.array, b: mx.array) -> float:
    assert a.shape == b.shape
    return mx.abs(a - b).max().item()


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 3), (4, 2), (1, 9), (3, 5), (3, 7)])
@pytest.mark.parametrize("out_dims", [80, 2048, 2050])
@pytest.mark.parametrize("in_dims", [520, 9000])
def test_a_product_in_pieces_is_the_product(
    shape: tuple[int, int], out_dims: int, in_dims: int
) -> None:
    weight = mx.random.normal((out_dims, in_dims), key=mx.random.key(0)) / in_dims**0.5
    x = mx.random.normal((*shape, in_dims), key=mx.random.key(1))
    assert difference(dense_product(x, weight), x @ weight.T) < 1e-4


def test_no_piece_is_large_enough_to_be_copied() -> None:
    shapes = [
        (rows, outputs, inputs)
        for rows in (1, 2, 8, SPLIT_ROWS)
        for outputs, inputs in ((960, 576), (49152, 576), (4096, 4096), (4096, 14336))
    ]
    pieces = {shape: _piece(*shape) for shape in shapes}
    assert pieces[1, 960, 576] is None  # small as it is
    assert pieces[8, 960, 576] == 64
    for (rows, outputs, inputs), piece in pieces.items():
        if piece is not None:
            assert outputs % piece == 0
            assert rows * piece * inputs <= SMALL_PRODUCT < rows * outputs * inputs


@pytest.mark.parametrize("form", ["dense", "packed"])
@pytest.mark.parametrize("rows", [1, 3, 4, 12, 40])
@pytest.mark.parametrize("bias", [True, False])
@each_blas
def test_an_adapted_layer_does_the_same_work(form: str, rows: int, bias: bool, blas: Blas) -> None:
    layer = nn.QuantizedLinear.from_linear(nn.Linear(128, 96, bias=bias), 64, 4)
    x = mx.random.normal((1, rows, 128), key=mx.random.key(2))
    adapted = CpuPolicy(form, "", blas).adapt(layer)
    assert isinstance(adapted, DenseLinear if form == "dense" else HybridLinear)
    assert difference(adapted(x), layer(x)) < 1e-4


@pytest.mark.parametrize("form", ["dense", "packed"])
@pytest.mark.parametrize("rows", [1, 12, 40])
@each_blas
def test_an_adapted_embedding_looks_up_and_heads_the_same(form: str, rows: int, blas: Blas) -> None:
    layer = nn.QuantizedEmbedding.from_embedding(nn.Embedding(96, 128), 64, 4)
    adapted = CpuPolicy(form, "", blas).adapt(layer)
    tokens, x = mx.array([[3, 95]]), mx.random.normal((1, rows, 128), key=mx.random.key(2))
    assert difference(adapted(tokens), layer(tokens)) < 1e-5
    assert difference(adapted.as_linear(x), layer.as_linear(x)) < 1e-4


def test_other_layers_stay_as_they_are() -> None:
    norm = nn.LayerNorm(8)
    assert CpuPolicy("dense", "", OPENBLAS).adapt(norm) is norm


@each_blas
@pytest.mark.parametrize("bias", [True, False])
def test_layers_put_side_by_side_give_their_outputs_one_after_the_other(
    blas: Blas, bias: bool
) -> None:
    layers = [nn.Linear(64, dims, bias=bias) for dims in (96, 64)]
    joined = side_by_side([CpuPolicy("dense", "", blas).adapt(layer) for layer in layers])
    assert isinstance(joined, DenseLinear)
    assert joined.by_columns == blas.by_columns
    x = mx.random.normal((2, 3, 64), key=mx.random.key(4))
    expected = mx.concatenate([layer(x) for layer in layers], axis=-1)
    assert difference(joined(x), expected) < 1e-5


def test_layers_of_different_forms_are_not_put_together() -> None:
    made = [
        DenseLinear(mx.ones((4, 8)), by_columns=True),
        DenseLinear(mx.ones((4, 8)), by_columns=False),
        DenseLinear(mx.ones((4, 8)), mx.ones((4,)), by_columns=True),
        DenseLinear(mx.ones((4, 9)), by_columns=True),
    ]
    assert all(side_by_side([made[0], other]) is None for other in made[1:])


@pytest.mark.parametrize("layer", [DenseLinear, DenseEmbedding])
def test_a_weight_keeps_its_shape_in_either_order_of_memory(layer: type) -> None:
    weight = mx.arange(12.0).reshape(4, 3)
    for by_columns in (True, False):
        assert layer(weight, by_columns=by_columns).weight.tolist() == weight.tolist()


def test_weights_that_would_not_fit_stay_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISTRALRS_MLX_CPU_WEIGHTS", raising=False)
    assert choose_policy(1_000_000).form == "dense"
    assert choose_policy(10**13).form == "packed"


def test_the_memory_that_counts_is_what_can_be_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "meminfo"
    monkeypatch.setattr("mistralrs_mlx.cpu.policy.MEMINFO", told)
    machine = available_memory()  # all that it has, for want of better
    told.write_text("MemTotal: 9000 kB\nMemFree: 70 kB\nMemAvailable: 420 kB\nBuffers: 5 kB\n")
    assert available_memory() == 420 * 1024
    assert machine > 2**28


def test_the_users_wish_outranks_the_automatic_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRALRS_MLX_CPU_WEIGHTS", "packed")
    assert choose_policy(1).form == "packed"
    monkeypatch.setenv("MISTRALRS_MLX_CPU_WEIGHTS", "sparse")
    with pytest.raises(ConfigError, match="'sparse'; it may be 'dense'"):
        choose_policy(1)


def test_the_form_of_weights_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISTRALRS_MLX_CPU_WEIGHTS", raising=False)
    assert "billion parameters" in describe_weights()
    monkeypatch.setenv("MISTRALRS_MLX_CPU_WEIGHTS", "packed")
    assert describe_weights() == "packed (MISTRALRS_MLX_CPU_WEIGHTS=packed)"
