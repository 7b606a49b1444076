"""A checkpoint becomes the model that config.json describes, in the type that is asked for."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from mistralrs_mlx.api.enums import Architecture, ModelDType
from mistralrs_mlx.cpu.blas import Blas
from mistralrs_mlx.cpu.linear import DenseEmbedding, DenseLinear
from mistralrs_mlx.cpu.policy import CpuPolicy
from mistralrs_mlx.errors import UnsupportedArchitecture, WeightMismatch
from mistralrs_mlx.loaders.assemble import Assembler, parameters
from mistralrs_mlx.loaders.checkpoint import Checkpoint, LazyTensor, Tensor
from mistralrs_mlx.loaders.dtype import resolve_dtype
from mistralrs_mlx.loaders.load import LoadOptions, load
from mistralrs_mlx.models.weights import Split, resolve
from mistralrs_mlx.quant.plan import Plan
from mistralrs_mlx.quant.spec import Spec
from tests.loaders.handmade import folder_contents, logits, made, packed

Config = dict[str, Any]
Weights = dict[str, Tensor]
Q = "model.layers.0.self_attn.q_proj.weight"
ALIEN = "model.layers.0.self_attn.q_projection.weight"
NORM = "model.norm.weight"


@pytest.fixture
def config(tiny_llama: Path) -> Config:
    return folder_contents(tiny_llama)[0]


@pytest.fixture
def weights(tiny_llama: Path) -> Weights:
    return dict(folder_contents(tiny_llama)[1])


def unreadable(checkpoint: Checkpoint) -> Checkpoint:
    """The same, but reading any of its tensors fails."""

    def read() -> Tensor:
        raise AssertionError("a tensor was read")

    tensors = {name: replace(tensor, read=read) for name, tensor in checkpoint.tensors.items()}
    return replace(checkpoint, tensors=tensors)


def test_a_plain_load_holds_the_checkpoints_weights(config: Config, weights: Weights) -> None:
    loaded = load(made(config, weights))
    held = parameters(loaded.model)
    assert held.keys() == weights.keys()
    assert all(mx.array_equal(held[name], weights[name]) for name in held)
    assert loaded.nbytes == 4 * loaded.parameters == sum(w.nbytes for w in weights.values())
    assert (loaded.architecture, loaded.context_length) == ("LlamaForCausalLM", 512)
    assert loaded.quantization == "none"


def test_a_missing_tensor_is_named_before_anything_is_read(
    config: Config, weights: Weights
) -> None:
    del weights[NORM]
    with pytest.raises(WeightMismatch, match=rf"^somewhere: 1 tensor missing: {NORM}\. Do "):
        load(unreadable(made(config, weights)))


def test_an_unused_tensor_is_an_error_too(config: Config, weights: Weights) -> None:
    weights |= {f"alien.{number}": weights[NORM] for number in range(7)}
    with pytest.raises(WeightMismatch, match=r"7 tensors unused: alien.0, .*, alien.4 and 2 more"):
        load(unreadable(made(config, weights)))


def test_a_name_that_is_nearly_right_is_pointed_out(config: Config, weights: Weights) -> None:
    weights[ALIEN] = weights.pop(Q)
    with pytest.raises(WeightMismatch) as caught:
        load(unreadable(made(config, weights)))
    assert f"1 tensor missing: {Q} (nearest: {ALIEN})" in str(caught.value)
    assert f"1 tensor unused: {ALIEN} (did you mean {Q}?)" in str(caught.value)


@pytest.mark.parametrize("spec", [None, Spec(4)])
def test_a_wrong_shape_is_named_before_anything_is_read(
    config: Config, weights: Weights, spec: Spec | None
) -> None:
    wrong = mx.zeros((64, 128))
    weights[Q] = wrong if spec is None else packed(wrong, spec)
    message = rf"shape mismatch for {Q}, expected: \[64, 64\], got: \[64, 128\]"
    with pytest.raises(WeightMismatch, match=message):
        load(unreadable(made(config, weights)))


def test_an_unknown_architecture_is_refused_with_the_nearest(weights: Weights) -> None:
    checkpoint = made({"architectures": ["LlamaForCausualLM"]}, weights)
    with pytest.raises(UnsupportedArchitecture, match='nearest: "LlamaForCausalLM"'):
        load(checkpoint)


def test_the_users_architecture_outranks_the_configs(
    config: Config, weights: Weights, caplog: pytest.LogCaptureFixture
) -> None:
    options = LoadOptions(arch=Architecture.Llama)
    load(made(config, weights), options)
    assert not caplog.records
    checkpoint = made(config | {"architectures": ["MyForCausalLM"]}, weights)
    assert load(checkpoint, options).architecture == "LlamaForCausalLM"
    assert "arch=Architecture.Llama, but config.json says MyForCausalLM" in caplog.text


def test_progress_counts_the_bytes_that_are_read(config: Config, weights: Weights) -> None:
    seen: list[tuple[int, int, str]] = []
    load(made(config, weights), progress=lambda *news: seen.append(news))
    total = sum(tensor.nbytes for tensor in weights.values())
    counts = [done for done, _, _ in seen]
    assert counts == sorted(counts)
    assert seen[0] == (4 * 298 * 64, total, "model.embed_tokens")
    assert seen[-1] == (total, total, "lm_head")
    assert {all_ for _, all_, _ in seen} == {total}


def test_a_backends_policy_sees_each_finished_layer(config: Config, weights: Weights) -> None:
    counts: list[int] = []

    blas = Blas("none", "", optimised=False, by_columns=False)

    def policy(parameters: int) -> Any:
        counts.append(parameters)
        return CpuPolicy("dense", "", blas).adapt

    plain = load(made(config, weights), LoadOptions(in_situ_quant="4"))
    loaded = load(made(config, weights), LoadOptions(in_situ_quant="4"), policy=policy)
    assert counts == [plain.parameters]
    assert isinstance(loaded.model.model.embed_tokens, DenseEmbedding)
    assert isinstance(loaded.model.model.layers[1].mlp.down_proj, DenseLinear)
    assert mx.allclose(logits(loaded.model), logits(plain.model), atol=1e-4)


def test_biases_are_loaded_whatever_becomes_of_their_weights(
    config: Config, weights: Weights
) -> None:
    names = [name for name in weights if "proj" in name]
    widths = {name: weights[name].shape[0] for name in names}
    biases = {n.replace("weight", "bias"): mx.random.normal((widths[n],)) for n in names}
    biased = made(config | {"attention_bias": True, "mlp_bias": True}, weights | biases)
    for options in (LoadOptions(), LoadOptions(in_situ_quant="4")):
        held = parameters(load(biased, options).model)
        assert all(mx.array_equal(held[name], biases[name]) for name in biases)


def test_a_tensor_that_is_cut_into_several_is_read_once() -> None:
    reads: list[int] = []

    def read() -> mx.array:
        reads.append(1)
        return mx.arange(4 * 64).reshape(4, 64).astype(mx.float32)

    recipes = resolve(["0.weight"], [Split("0", ("layers.0", "layers.1"), (1, 3))])
    model = nn.Sequential(nn.Linear(64, 1, bias=False), nn.Linear(64, 3, bias=False))
    fused = LazyTensor(shape=(4, 64), dtype="float32", read=read)
    Assembler(model, Plan(), mx.float32).fill(recipes, {"0.weight": fused})
    assert mx.array_equal(mx.concatenate([m.weight for m in model.layers]), read())
    assert len(reads) == 2  # the other one is this test's


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("Auto", mx.float32), ("F32", mx.float32), ("F16", mx.float16), ("BF16", mx.bfloat16)],
)
def test_everything_has_the_dtype_that_is_asked_for(
    config: Config, weights: Weights, kind: str, dtype: mx.Dtype
) -> None:
    loaded = load(made(config, weights), LoadOptions(dtype=getattr(ModelDType, kind)))
    assert loaded.dtype == dtype
    assert {array.dtype for array in parameters(loaded.model).values()} == {dtype}
    assert logits(loaded.model).dtype == dtype


def test_half_precision_on_the_cpu_is_granted_with_a_warning(
    config: Config, weights: Weights, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        resolve_dtype(ModelDType.F16, made(config, weights), metal=True)
        assert not caplog.text
        resolve_dtype(ModelDType.F16, made(config, weights), metal=False)
    assert "ModelDType.F16: half precision is many times slower" in caplog.text


@pytest.mark.parametrize(
    ("stored", "spec", "family", "expected"),
    [
        (mx.bfloat16, None, "llama", mx.bfloat16),
        (mx.float32, None, "llama", mx.bfloat16),
        (mx.float16, None, "llama", mx.float16),
        (mx.float16, None, "gemma3_text", mx.bfloat16),
        (mx.float16, Spec(4, 32), "deepseek_v3", mx.bfloat16),
        (mx.float32, Spec(4, 32), "glm4_moe", mx.bfloat16),
        (mx.float16, Spec(4, 32), "gpt_oss", mx.bfloat16),
        (mx.bfloat16, Spec(4), "llama", mx.bfloat16),
        (mx.float16, Spec(4, 32), "llama", mx.float16),
        (mx.float32, Spec(4, 32), "llama", mx.float16),
    ],
)
def test_auto_on_metal_is_the_half_precision_that_fits_what_is_stored(
    stored: mx.Dtype, spec: Spec | None, family: str, expected: mx.Dtype
) -> None:
    weight = mx.ones((64, 64), stored)
    tensors: Weights = {
        "norm": mx.ones((64,)),
        "w": weight if spec is None else packed(weight, spec),
    }
    checkpoint = made({"model_type": family}, tensors)
    assert resolve_dtype(ModelDType.Auto, checkpoint, metal=True) == expected
    assert resolve_dtype(ModelDType.Auto, checkpoint, metal=False) == mx.float32
