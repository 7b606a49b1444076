"""Experts by one gathered product are experts one by one, in any order and any type."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.layers.activations import activation
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.layers.moe import SORT_FROM, Experts, MoE, Picks, SwitchLinear, gated
from mistralrs_mlx.layers.routers import SigmoidRouter, SoftmaxRouter, best, in_best_groups
from mistralrs_mlx.quant.layers import packed_layer
from mistralrs_mlx.quant.quantize import quantized
from mistralrs_mlx.quant.spec import Spec

MODES = [Spec(4, 32), Spec(8, 32), Spec(4, 32, "mxfp4"), Spec(8, 32, "mxfp8"), Spec(4, 16, "nvfp4")]
SILU = activation("silu")


def experts(bias: bool = False) -> Experts:
    made = Experts(5, 32, 64, gated(SILU), bias=bias)
    for layer in (made.gate_proj, made.up_proj, made.down_proj) if bias else ():
        layer.bias = mx.random.normal(layer.bias.shape)
    return made


def linear(layer: SwitchLinear, expert: int, x: mx.array) -> mx.array:
    y = layer.weight[expert] @ x
    return y + layer.bias[expert] if "bias" in layer else y


def routed(layer: Experts, x: mx.array, weights: mx.array, chosen: mx.array) -> mx.array:
    """Rows (R, D), weights and experts (R, chosen) -> (R, D)"""
    return layer(x[:, None], weights, chosen)[:, 0]


def one_by_one(layer: Experts, x: mx.array, weights: mx.array, chosen: mx.array) -> mx.array:
    """The same by plain products."""

    def expert(e: int, row: mx.array) -> mx.array:
        up = linear(layer.up_proj, e, row)
        return linear(layer.down_proj, e, SILU(linear(layer.gate_proj, e, row)) * up)

    rows = zip(x, weights, chosen.tolist(), strict=True)
    return mx.stack(
        [sum(w * expert(e, r) for w, e in zip(ws, es, strict=True)) for r, ws, es in rows]
    )


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("count", [1, 4, SORT_FROM // 2 - 1, SORT_FROM // 2, 100])
def test_a_gathered_product_is_the_experts_one_by_one(count: int, bias: bool, fused: bool) -> None:
    layer, x = experts(bias), mx.random.normal((count, 32))
    chosen, weights = mx.random.randint(0, 5, (count, 2)), mx.random.uniform(shape=(count, 2))
    expected = one_by_one(layer, x, weights, chosen)
    if fused:
        fuse(layer)
        assert "gate_up_proj" in layer
    assert mx.allclose(routed(layer, x, weights, chosen), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
@pytest.mark.parametrize("count", [3, 100])
def test_experts_in_half_precision_stay_in_it(count: int, dtype: mx.Dtype) -> None:
    layer, x = experts(bias=True), mx.random.normal((count, 32)).astype(dtype)
    layer.set_dtype(dtype)
    chosen, weights = mx.random.randint(0, 5, (count, 2)), mx.random.uniform(shape=(count, 2))
    y = routed(layer, x, weights, chosen)
    layer.set_dtype(mx.float32)
    assert y.dtype == dtype
    assert mx.allclose(y, routed(layer, x.astype(mx.float32), weights, chosen), atol=0.06)


@pytest.mark.parametrize("spec", MODES, ids=str)
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_packed_experts_multiply_in_the_type_of_their_input(spec: Spec, dtype: mx.Dtype) -> None:
    dense = SwitchLinear(5, 64, 32, bias=True)
    dense.bias = mx.random.normal((5, 32))
    packed = quantized(dense.weight, spec, mx.float32)
    layer = packed_layer(dense, packed, dtype)
    layer.bias = layer.bias.astype(dtype)
    dense.weight = packed.dense(mx.float32)
    picks = Picks(rows=mx.array([0, 1, 1]), experts=mx.array([4, 0, 2]))
    x = mx.random.normal((2, 1, 64)).astype(dtype)
    y = layer(x, picks)
    assert y.dtype == dtype
    assert mx.allclose(
        y, dense(x.astype(mx.float32), picks), atol=1e-4 if dtype == mx.float32 else 0.1
    )


def test_shared_experts_are_added_for_every_token() -> None:
    routed = MoE(SoftmaxRouter(32, 5, 2, normalize=True), experts())
    shared = nn.Linear(32, 32)
    both = MoE(routed.gate, routed.experts, shared)
    x = mx.random.normal((2, 3, 32))
    assert mx.allclose(both(x), routed(x) + shared(x), atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_softmax_router_takes_the_best(normalize: bool) -> None:
    router = SoftmaxRouter(8, 6, 3, normalize=normalize, bias=True)
    router.weight, router.bias = mx.random.normal((6, 8)), mx.random.normal((6,))
    x = mx.random.normal((20, 8))
    weights, chosen = map(np.array, router(x))
    shares = np.array(mx.softmax(x @ router.weight.T + router.bias, axis=-1))
    expected = np.sort(shares)[:, :2:-1]
    if normalize:
        expected /= expected.sum(-1, keepdims=True)
    order = np.argsort(-weights, axis=-1)
    assert np.array_equal(np.take_along_axis(chosen, order, -1), np.argsort(-shares)[:, :3])
    assert np.allclose(np.take_along_axis(weights, order, -1), expected, atol=1e-6)


def test_a_learned_bias_decides_who_is_chosen_but_not_how_much_it_counts() -> None:
    router = SigmoidRouter(4, 6, 2, groups=1, kept=1, normalize=False, scale=2.0)
    router.e_score_correction_bias = mx.array([0.0, 0, 0, 9, 0, 8])
    weights, chosen = router(mx.random.normal((1, 4)))
    assert sorted(chosen[0].tolist()) == [3, 5]
    assert weights.tolist() == [[1.0, 1.0]]  # twice the sigmoid of zero


def test_experts_outside_the_best_groups_are_not_chosen() -> None:
    scores = mx.array([[0.9, 0.1, 0.5, 0.6, 0.8, 0.0]])
    worth = scores.reshape(1, 3, 2).sum(-1)  # the last group has the least of it
    kept = in_best_groups(scores, worth, 2, otherwise=-mx.inf)
    assert sorted(best(kept, 3)[0].tolist()) == [0, 2, 3]
    assert sorted(best(scores, 3)[0].tolist()) == [0, 3, 4]


@pytest.mark.parametrize(("chosen", "groups", "kept"), [(0, 1, 1), (7, 1, 1), (2, 4, 2), (2, 3, 4)])
def test_choices_that_cannot_be_are_refused(chosen: int, groups: int, kept: int) -> None:
    with pytest.raises(ConfigError, match="6 experts cannot"):
        SigmoidRouter(4, 6, chosen, groups=groups, kept=kept, normalize=True, scale=1.0)
