"""The counter says of mlx-lm what is known of it."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from mistralrs_mlx.bench.counts import StepCounts, watched

# mlx-lm imports transformers, whose warnings are not ours.
pytestmark = [
    pytest.mark.skipif(find_spec("mlx_lm") is None, reason="mlx-lm is not installed"),
    pytest.mark.filterwarnings("ignore"),
]

COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rms_norm_eps": 1e-5,
    "vocab_size": 128,
    "max_position_embeddings": 512,
    "rope_theta": 1e4,
    "tie_word_embeddings": True,
}
GEMMA3 = {
    "sliding_window": 64,
    "sliding_window_pattern": 1,
    "query_pre_attn_scalar": 32,
    "rope_local_base_freq": 1e4,
}
QWEN3_MOE = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "decoder_sparse_step": 1,
    "norm_topk_prob": True,
    "mlp_only_layers": [],
}
KNOWN = {  # of mlx-lm 0.32.2: dispatches as slope and rest, nodes of a layer
    "llama": ({}, 17, 9, 27),
    "qwen3": ({}, 19, 9, 29),
    "gemma3_text": (GEMMA3, 29, 12, 45),
    "qwen3_moe": (QWEN3_MOE, 30, 9, 54),
}


def counted(name: str, facts: dict[str, Any], layers: int) -> StepCounts:
    module = import_module(f"mlx_lm.models.{name}")
    config = {"model_type": name, "num_hidden_layers": layers, **COMMON, **facts}
    model = module.Model(module.ModelArgs.from_dict(config))
    nn.quantize(model, group_size=32, bits=4)
    mx.eval(model.parameters())
    generate = import_module("mlx_lm.generate").generate_step
    steps = generate(mx.array([1, 2, 3, 4]), model, max_tokens=9)
    for _ in range(3):
        next(steps)
    return watched(lambda: next(steps))


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_the_counter_knows_the_steps_of_mlx_lm(name: str) -> None:
    facts, slope, rest, nodes = KNOWN[name]
    two, four = (counted(name, facts, layers) for layers in (2, 4))
    assert (two.dispatches, four.dispatches) == (2 * slope + rest, 4 * slope + rest)
    assert four.primitives - two.primitives == 2 * nodes
    assert two.vocabulary == 3  # the logarithm of a sum, a difference, the largest
    assert two.waits == 1
