"""Nothing that we ask of MLX is what Metal cannot do, and half precision stays half precision."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Packing, Recurs
from mistralrs_mlx.engine.params import DryParams, SamplingParams
from mistralrs_mlx.engine.sampling import Sampler, SamplerRow
from mistralrs_mlx.layers.latent import HeadLinear
from mistralrs_mlx.layers.moe import Experts, SwitchLinear, gated
from mistralrs_mlx.layers.pooling import POOLINGS, Pooling, unit
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.quant.isq import TYPES
from mistralrs_mlx.quant.layers import packed_layer
from mistralrs_mlx.quant.quantize import quantized
from mistralrs_mlx.quant.spec import FLOAT_LAYOUTS, Spec
from tests.bench.metal_limits import PACKED, PRODUCTS, complaint
from tests.bench.packing import packed
from tests.bench.traced import Node, Trace, traced
from tests.embedding.test_encoders import made
from tests.embedding.tiny import ENCODERS, encoder_config
from tests.models.assemble import tiny
from tests.models.phi4mm_tiny import image, sound
from tests.models.tiny import TINY, config

HALVES = [mx.bfloat16, mx.float16]
PASSES = {  # tokens that rows have, and how many each of them gets
    "prefill": ((0,), 70),
    "chunk": ((70,), 5),
    "token": ((9,), 1),
    "ragged": ((9, 4, 17), 1),
    "draft": ((9, 4, 17), 4),
}
VOCAB = 300
SPECS = sorted(
    {spec for each in TYPES.values() for spec in (each.spec, each.promoted)}
    | {Spec(bits, group, mode) for mode, (bits, group) in FLOAT_LAYOUTS.items()},
    key=str,
)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_pass_is_what_metal_can_do_and_stays_half_precision(name: str, dtype: mx.Dtype) -> None:
    model = packed(name, dtype=dtype)
    for lengths, new in PASSES.values():
        trace = passed(model, lengths, new)
        assert complaints(trace) == []
        assert widened(trace, model) == []
        assert trace.results == [dtype]


@pytest.mark.parametrize("name", TINY)
def test_so_is_a_pass_over_packed_columns(name: str) -> None:
    changes = {"rope_scaling": None} if name.startswith("Phi") else {}  # those of another head_dim
    model = tiny(config(name, head_dim=64, kv_lora_rank=64, **changes), mx.bfloat16)
    for lengths, new in PASSES.values():
        trace = passed(model, lengths, new, Packing(bits=8))
        assert complaints(trace) == []
        assert widened(trace, model) == []


@pytest.mark.parametrize("name", ["Gemma2ForCausalLM", "Qwen3NextForCausalLM"])
def test_so_is_what_caches_do_between_passes(name: str) -> None:
    model, caches = packed(name), []

    def work(token: mx.array) -> list[mx.array]:
        made = filled(model, token, (12, 5, 9))
        segment, states = made.take(0, 0, 12, end=12), made.states(0)
        made.copy(1)
        made.remove(0)
        made.put(made.add(12), [segment], states)
        caches.append(made)
        return made.arrays()

    assert complaints(traced(work, mx.array([[1]]))) == []
    assert len(caches[0]) == 4


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("scales", [mx.bfloat16, mx.float32], ids=str)
def test_packed_layers_give_back_the_type_they_are_given(spec: Spec, scales: mx.Dtype) -> None:
    linear, table = nn.Linear(128, 64, bias=False), nn.Embedding(64, 128)
    heads = HeadLinear(2, 128, 64)
    experts = Experts(4, 128, 128, gated(nn.silu))

    def packed_up(layer: nn.Module) -> nn.Module:
        weight = quantized(layer.weight, spec, mx.bfloat16)
        return packed_layer(layer, weight.cast(scales), mx.bfloat16)

    linear, table, heads = map(packed_up, (linear, table, heads))
    for key, part in list(experts.items()):
        if isinstance(part, SwitchLinear):
            experts[key] = packed_up(part)

    def work(x: mx.array, tokens: mx.array) -> list[mx.array]:
        weights, chosen = mx.ones((40, 2)), mx.zeros((40, 2), mx.uint32)
        few, many = (experts(x[:n, None], weights[:n], chosen[:n]) for n in (3, 40))
        by_head = heads(x[None, None])
        return [linear(x), table(tokens), table.as_linear(x), few, many, by_head]

    trace = traced(work, mx.ones((40, 128), mx.bfloat16), mx.array([[1, 2]]))
    assert complaints(trace) == []
    assert trace.results == [mx.bfloat16] * 6


@pytest.mark.parametrize("params", [
    SamplingParams(temperature=0.0),
    SamplingParams(temperature=0.7, seed=1),
    SamplingParams(temperature=0.7, top_k=20, top_p=0.9, min_p=0.05, top_logprobs=5),
    SamplingParams(presence_penalty=0.5, frequency_penalty=0.1, repetition_penalty=1.2),
    SamplingParams(logit_bias={3: 1.0}, suppress_tokens=(4,), dry=DryParams(multiplier=1.0)),
])  # fmt: skip
def test_every_way_to_choose_is_what_metal_can_do(params: SamplingParams) -> None:
    rows = [SamplerRow(params, [1, 2, 3, 1, 2], VOCAB), SamplerRow(SamplingParams(), [0], VOCAB)]
    masks = [None, mx.zeros(10, mx.int32) - 1], [mx.ones(VOCAB, mx.bool_), None], None

    def work(logits: mx.array, token: mx.array) -> list[Any]:
        if not rows[0].needs_host_token:
            rows[0].accept(token)
        sampler = Sampler()
        chosen = [sampler(logits, rows, each).arrays for each in masks]
        return [*chosen, sampler.candidates(logits, rows)]

    for dtype in HALVES:
        assert complaints(traced(work, mx.zeros((2, VOCAB), dtype), mx.array(7))) == []


@pytest.mark.parametrize("kind", ["image", "audio"])
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_so_is_what_sees_and_hears(kind: str, dtype: mx.Dtype) -> None:
    model = tiny(config("Phi4MMForCausalLM"), dtype)
    size = model.image.size
    mask = np.ones((2, size // 14, size // 14), np.int64)
    mask[1, :, 2:] = 0
    given = image("p", mask, 2, 1, size) if kind == "image" else sound("s", 8 * 520)
    arrays = {key: mx.array(value) for key, value in given.items()}
    main = "pixels" if kind == "image" else "features"

    def work(x: mx.array) -> mx.array:
        return model.encode(kind, {**arrays, main: x}, "vision")

    trace = traced(work, arrays[main])
    assert complaints(trace) == []
    assert widened(trace, model) == []
    assert trace.results == [dtype]


@pytest.mark.parametrize("name", ENCODERS)
def test_so_is_what_makes_vectors(name: str) -> None:
    model, lengths = made(encoder_config(name), mx.bfloat16), [7, 20]
    pooling = Pooling(list(POOLINGS))

    def work(tokens: mx.array) -> mx.array:
        return unit(pooling(model.states(tokens, lengths), lengths))

    trace = traced(work, mx.zeros((2, 20), mx.int32))
    assert complaints(trace) == []
    assert widened(trace, model) == []
    assert trace.results == [mx.float32]


def test_what_metal_cannot_do_is_noticed() -> None:
    def work(x: mx.array) -> list[mx.array]:
        with mx.stream(mx.cpu):
            wide = x.astype(mx.float64)
        counts = mx.zeros(3, mx.int64).at[mx.array([1])].add(1)
        return [mx.linalg.inv(x, stream=mx.cpu), wide, counts]

    found = {name for name, _ in complaints(traced(work, mx.eye(3)))}
    assert found == {"AsType", "Inverse", "Scatter"}


def test_a_norm_that_widens_is_noticed() -> None:
    model = packed("LlamaForCausalLM")
    norm = model.model.layers[1].input_layernorm
    norm.weight = norm.weight.astype(mx.float32)
    assert widened(passed(model, (9,), 1), model) != []


def filled(
    model: CausalLM, token: mx.array, lengths: tuple[int, ...], packing: Packing | None = None
) -> Caches:
    """Caches of rows that have this token (1, 1) so many times."""
    caches = Caches(model.cache_layout(), packing=packing)
    for row, length in enumerate(lengths):
        caches.add(length)
        if length:
            step = caches.step(row, row + 1, length)
            model.hidden(model.embed(mx.broadcast_to(token, (1, length))), step)
    return caches


def passed(
    model: CausalLM, lengths: tuple[int, ...], new: int, packing: Packing | None = None
) -> Trace:
    """All that runs until rows of these lengths have the logits of their next tokens."""

    def work(tokens: mx.array) -> mx.array:
        caches = filled(model, tokens[:1, :1], lengths, packing)
        step = caches.step(0, len(lengths), new)
        return model.head(model.hidden(model.embed(tokens), step))

    return traced(work, mx.zeros((len(lengths), new), mx.int32))


def complaints(trace: Trace) -> list[tuple[str, str]]:
    return [(node.name, told) for node in trace.nodes if (told := complaint(node))]


def widened(trace: Trace, model: nn.Module) -> list[Node]:
    """Products and fused functions in float32: routers and what recurs may have them, none else."""
    layout = model.cache_layout() if isinstance(model, CausalLM) else []
    if any(isinstance(memory, Recurs) for memory in layout):
        return [node for node in wide(trace) if node.name in PACKED]
    arrays = dict(tree_flatten(model.parameters())).values()
    experts = {len(array) for array in arrays if array.ndim == 2 and array.dtype == mx.float32}
    return [
        node
        for node in wide(trace)
        if not (node.name == "Matmul" and node.outputs[0][0][-1] in experts)
    ]


def wide(trace: Trace) -> list[Node]:
    names = {*PRODUCTS, "Depends"}
    return [n for n in trace.nodes if n.name in names and n.outputs[0][1] == mx.float32]
