"""How long the host takes to build a decode step of 32 layers, compared with mlx-lm.

    python benchmarks/host_build.py

What is timed is Python and MLX making the graph, from the start of a step to its dispatch, which is
the same work whatever the device. Without a GPU each `mx.fast` operation is replaced by a single
primitive. The models are small and random: only the number of their layers matters.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any
from unittest import mock

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map_with_path

from mistralrs_mlx.bench.counts import decoding
from mistralrs_mlx.bench.metal import metal_graphs
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.models.registry import of_config
from mistralrs_mlx.quant.layers import packable, packed_layer
from mistralrs_mlx.quant.quantize import quantized
from mistralrs_mlx.quant.spec import Spec

LAYERS, ROUNDS, STEPS, WARM = 32, 5, 20, 8
COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": LAYERS,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rms_norm_eps": 1e-5,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"architectures": ["LlamaForCausalLM"]},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"]},
    "gemma3_text": {
        "architectures": ["Gemma3ForCausalLM"],
        "query_pre_attn_scalar": 32,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "rope_local_base_freq": 10000.0,
    },
    "qwen3_moe": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
        "decoder_sparse_step": 1,
        "norm_topk_prob": True,
        "mlp_only_layers": [],
    },
}

Step = Callable[[], object]


def ours(config: dict[str, Any], *, compiled: bool) -> Step:
    """Decode steps of the engine, as it serves a request: on a GPU they are compiled."""
    model = of_config(config).load().from_dict(config)
    spec = Spec(4, 32)

    def packed(_: str, layer: nn.Module) -> nn.Module:
        if not packable(layer):
            return layer
        weight = layer.weight.astype(mx.bfloat16)
        return packed_layer(layer, quantized(weight, spec, mx.bfloat16), mx.bfloat16)

    leaves = tree_map_with_path(packed, model.leaf_modules(), is_leaf=nn.Module.is_module)
    model.update_modules(leaves)
    model.set_dtype(mx.bfloat16)
    fuse(model)
    mx.eval(model.parameters())
    limit = COMMON["max_position_embeddings"]
    return decoding(model, model.vocab_size, limit=limit, compiled=compiled).step


def theirs(config: dict[str, Any]) -> Step:
    """Steps of mlx-lm's generator."""
    from mlx_lm.generate import generate_step

    module = import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict(config))
    model.set_dtype(mx.bfloat16)
    nn.quantize(model, group_size=32, bits=4)
    mx.eval(model.parameters())
    steps = generate_step(mx.array([1, 2, 3]), model, max_tokens=-1)
    return lambda: next(steps)


def build_times(step: Step, count: int) -> list[float]:
    """Seconds of this thread from the start of a step until its graph is handed over."""
    real, times, dispatched = mx.async_eval, [], [0.0]

    def handed_over(*arrays: Any) -> None:
        dispatched.append(time.thread_time())
        real(*arrays)
        mx.synchronize()

    with mock.patch.object(mx, "async_eval", handed_over):
        for _ in range(count):
            started = time.thread_time()
            step()
            times.append(dispatched[-1] - started)
    return times


def compared(config: dict[str, Any]) -> dict[str, float]:
    """Microseconds of each and the ratios to mlx-lm: medians of rounds in which they take turns."""
    with metal_graphs():
        sides = {
            "compiled": ours(config, compiled=True),
            "plain": ours(config, compiled=False),
            "mlx-lm": theirs(config),
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        for step in sides.values():
            build_times(step, WARM)
        for _ in range(ROUNDS):
            for side, step in sides.items():
                times[side].append(1e6 * median(build_times(step, STEPS)))
    found = {f"{side}_us": round(median(each)) for side, each in times.items()}
    for side in ("compiled", "plain"):
        ratios = [a / b for a, b in zip(times[side], times["mlx-lm"], strict=True)]
        found[f"{side}_ratio"] = round(median(ratios), 3)
    return found


def main(names: list[str]) -> None:
    for name in names or MODELS:
        result = compared({"model_type": name, **COMMON, **MODELS[name]})
        print(json.dumps({"model": name, "layers": LAYERS, **result}))


if __name__ == "__main__":
    main(sys.argv[1:])
