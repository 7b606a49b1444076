"""Experts are stacked, quantized and fused on the way from a checkpoint to a model."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mistralrs_mlx.api.enums import IsqOrganization
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.layers.moe import Picks, QuantizedSwitchLinear, SwitchLinear
from mistralrs_mlx.layers.routers import SoftmaxRouter
from mistralrs_mlx.loaders.assemble import Assembler
from mistralrs_mlx.loaders.checkpoint import LazyTensor, Tensor
from mistralrs_mlx.loaders.load import LoadedModel, LoadOptions, load
from mistralrs_mlx.models.registry import of_config
from mistralrs_mlx.models.weights import EXPERTS, Recipe, Rename, resolve
from mistralrs_mlx.quant.plan import Plan
from mistralrs_mlx.quant.spec import Spec
from tests.loaders.handmade import cosine, lazy, logits, made, packed
from tests.models.assemble import parameters
from tests.models.detweights import tensor
from tests.models.tiny import config

CONFIG = config("MixtralForCausalLM", sliding_window=None, intermediate_size=128)
OUR_NAMES = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """What a checkpoint of Mixtral holds: every expert's matrices by themselves."""
    model = of_config(CONFIG).load().from_dict(CONFIG)
    shapes = {name: value.shape for name, value in parameters(model).items()}
    found: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        array = mx.array(tensor(name, shape))
        if ".experts." not in name:
            found[name.replace(".mlp.", ".block_sparse_moe.")] = array
            continue
        for theirs, ours in OUR_NAMES.items():
            for expert in range(5 if ours in name else 0):
                stem = name.replace(".mlp.", ".block_sparse_moe.").replace(ours, theirs)
                found[stem.replace("experts.", f"experts.{expert}.")] = array[expert]
    return found


def kinds(loaded: LoadedModel) -> dict[str, type[nn.Module]]:
    return {path: type(module) for path, module in loaded.model.named_modules()}


@pytest.mark.parametrize(
    ("name", "least"), [("8", 0.999), ("4", 0.9), ("Q4K", 0.9), ("MXFP4", 0.9), ("FP8", 0.99)]
)
def test_quantized_experts_say_nearly_the_same(
    weights: dict[str, Tensor], name: str, least: float
) -> None:
    loaded = load(made(CONFIG, weights), LoadOptions(in_situ_quant=name))
    assert kinds(loaded)["model.layers.1.mlp.experts.up_proj"] is QuantizedSwitchLinear
    assert kinds(loaded)["model.layers.1.mlp.gate"] is SoftmaxRouter
    assert sum(count for _, count in loaded.layouts) == 2 * 7 + 2
    assert loaded.unfit == ()
    assert cosine(logits(loaded.model), logits(load(made(CONFIG, weights)).model)) > least


def test_fused_quantized_experts_say_exactly_the_same(weights: dict[str, Tensor]) -> None:
    loaded = load(made(CONFIG, weights), LoadOptions(in_situ_quant="4"))
    apart = logits(loaded.model)
    fuse(loaded.model)
    assert "model.layers.0.mlp.experts.gate_up_proj" in kinds(loaded)
    assert mx.allclose(logits(loaded.model), apart, atol=1e-5)


def test_experts_alone_are_quantized_where_that_is_asked_for(weights: dict[str, Tensor]) -> None:
    options = LoadOptions(in_situ_quant="4", organization=IsqOrganization.MoQE)
    loaded = load(made(CONFIG, weights), options)
    assert loaded.layouts == ((str(Spec(4)), 2 * 3),)
    assert kinds(loaded)["model.layers.0.self_attn.q_proj"] is nn.Linear


@pytest.mark.parametrize("spec", [Spec(4), Spec(8, 32), Spec(4, 32, "mxfp4")], ids=str)
def test_packed_experts_are_stacked_as_they_are(weights: dict[str, Tensor], spec: Spec) -> None:
    stored = {n: packed(w, spec) if ".experts." in n else w for n, w in weights.items()}
    loaded = load(made(CONFIG, stored))
    assert loaded.layouts == ((str(spec), 2 * 3),)
    up = dict(loaded.model.named_modules())["model.layers.0.mlp.experts.up_proj"]
    third = stored["model.layers.0.block_sparse_moe.experts.3.w3.weight"]
    assert mx.array_equal(up.weight[3], third.weight)
    dense = {n: w if isinstance(w, mx.array) else w.dense(mx.float32) for n, w in stored.items()}
    expected = logits(load(made(CONFIG, dense)).model)
    assert mx.allclose(logits(loaded.model), expected, atol=1e-3)


def test_a_router_that_comes_packed_becomes_dense(weights: dict[str, Tensor]) -> None:
    name = "model.layers.0.block_sparse_moe.gate.weight"
    stored = weights | {name: packed(weights[name], Spec(8))}
    assert kinds(load(made(CONFIG, stored)))["model.layers.0.mlp.gate"] is SoftmaxRouter


def test_experts_that_are_stacked_already_are_taken_as_mlx_lm_names_them(
    weights: dict[str, Tensor],
) -> None:
    model = load(made(CONFIG, weights)).model
    stacked: dict[str, Any] = {
        name.replace(".mlp.", ".block_sparse_moe.").replace(".experts.", ".switch_mlp."): value
        for name, value in parameters(model).items()
    }
    assert mx.array_equal(logits(load(made(CONFIG, stacked)).model), logits(model))


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_dense_experts_in_half_precision_work_on_every_backend(dtype: mx.Dtype) -> None:
    layer, picks = SwitchLinear(3, 8, 4), np.array([2, 0])
    layer.set_dtype(dtype)
    x = mx.ones((2, 1, 8), dtype)
    y = layer(x, Picks(rows=mx.array([0, 1]), experts=mx.array(picks)))
    assert y.dtype == dtype
    assert mx.allclose(y[0, 0], layer.weight[2].astype(mx.float32).sum(-1), atol=2e-2)


def test_routers_stay_in_float32_where_the_reference_has_them_so() -> None:
    raw = config("DeepseekV3ForCausalLM", q_lora_rank=None)
    model = of_config(raw).load().from_dict(raw)
    recipes = {name: Recipe((name,), lambda tensor: tensor) for name in parameters(model)}
    tensors = {name: lazy(mx.zeros(value.shape)) for name, value in parameters(model).items()}
    Assembler(model, Plan(), mx.bfloat16, precise=model.precise).fill(recipes, tensors)
    precise = {name for name, value in parameters(model).items() if value.dtype == mx.float32}
    assert precise == {
        f"model.layers.{layer}.mlp.gate.{part}"
        for layer in (1, 2)
        for part in ("weight", "e_score_correction_bias")
    }


def test_quantizing_experts_takes_little_more_than_the_packed_ones() -> None:
    model = nn.Sequential(SwitchLinear(32, 256, 512))
    tensors = {f"mlp.experts.{expert}.up": reading(512, 256) for expert in range(32)}
    recipes = resolve(tensors, [*EXPERTS, Rename("mlp.experts.up", "layers.0.weight")])
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    Assembler(model, Plan(Spec(4)), mx.float32).fill(recipes, tensors)
    most, finished = (
        mx.get_peak_memory() - before,
        sum(a.nbytes for a in parameters(model).values()),
    )
    assert finished < 0.2 * 4 * 32 * 512 * 256
    assert most < 2.5 * finished  # a stack that is not packed would be more than six times as much


def reading(*shape: int) -> LazyTensor:
    def read() -> mx.array:
        made = mx.random.normal(shape)
        mx.eval(made)
        return made

    return LazyTensor(shape=shape, dtype="float32", read=read)
