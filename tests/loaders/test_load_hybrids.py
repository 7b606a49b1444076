"""Models with states, loaded in half precision and quantized."""

import re
from typing import Any

import mlx.core as mx
import pytest

from mistralrs_mlx.api.enums import ModelDType
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.layers.recurrent import ShortConv
from mistralrs_mlx.loaders.load import LoadOptions, load
from tests.loaders.handmade import cosine, logits, made
from tests.models.assemble import checkpoint, parameters

HYBRIDS = ["granitemoehybrid", "lfm2", "lfm2_moe", "qwen3_next", "qwen3_5_moe_text"]
FLOAT32 = re.compile(r"\.(A_log|D|dt_bias|expert_bias|(mamba|linear_attn)\.norm\.weight)$")


@pytest.fixture(scope="module", params=HYBRIDS)
def source(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, mx.array]]:
    return checkpoint(request.param)


def test_what_sums_over_time_stays_float32_in_a_half_precision_model(source: Any) -> None:
    loaded = load(made(*source), LoadOptions(dtype=ModelDType.BF16))
    for name, array in parameters(loaded.model).items():
        exact = FLOAT32.search(name)  # or each token would cast it anew
        assert array.dtype == (mx.float32 if exact else mx.bfloat16), name
    assert cosine(logits(loaded.model), logits(load(made(*source)).model)) > 0.99


def test_a_quantized_model_says_nearly_the_same(source: Any) -> None:
    loaded = load(made(*source), LoadOptions(in_situ_quant="8"))
    apart = logits(loaded.model)
    exact = logits(load(made(*source)).model)
    assert cosine(apart, exact) > 0.98  # a router may choose another expert for a token or two
    fuse(loaded.model)
    assert mx.allclose(logits(loaded.model), apart, atol=1e-4)


def test_convolutions_and_gates_are_never_quantized(source: Any) -> None:
    loaded = load(made(*source), LoadOptions(in_situ_quant="4"))
    for path, module in loaded.model.named_modules():
        if isinstance(module, ShortConv) or path.endswith("shared_expert_gate"):
            assert module.weight.dtype == mx.float32
