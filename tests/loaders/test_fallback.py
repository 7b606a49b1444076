"""What is not in the table runs through mlx-lm, and answers as it does there."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from tokenizers import Tokenizer

from mistralrs_mlx import CompletionRequest, Runner, Which
from mistralrs_mlx.api.enums import IsqOrganization, ModelDType
from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Attends, Packing
from mistralrs_mlx.errors import (
    ConfigError,
    MissingExtra,
    UnsupportedArchitecture,
    WeightMismatch,
)
from mistralrs_mlx.loaders.assemble import parameters
from mistralrs_mlx.loaders.borrowed import Seat
from mistralrs_mlx.loaders.checkpoint import Packed, Tensor
from mistralrs_mlx.loaders.load import LoadedModel, LoadOptions, load
from mistralrs_mlx.quant.spec import Spec
from tests.loaders.handmade import cosine, logits, made, packed
from tests.tiny_checkpoint import write_tiny_llama

# mlx-lm imports transformers, whose warnings are not ours.
pytestmark = [
    pytest.mark.skipif(find_spec("mlx_lm") is None, reason="mlx-lm is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

COMMON = {
    "torch_dtype": "float32",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "eos_token_id": 2,
}
OLMO2 = COMMON | {
    "architectures": ["Olmo2ForCausalLM"],
    "model_type": "olmo2",
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    "tie_word_embeddings": False,
}
COHERE2 = COMMON | {
    "architectures": ["Cohere2ForCausalLM"],
    "model_type": "cohere2",
    "num_hidden_layers": 4,
    "head_dim": 16,
    "sliding_window": 8,
    "sliding_window_pattern": 4,
    "logit_scale": 0.25,
}
OLMOE = COMMON | {
    "architectures": ["OlmoeForCausalLM"],
    "model_type": "olmoe",
    "num_hidden_layers": 1,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
AFMOE = OLMOE | {
    "architectures": ["AfmoeForCausalLM"],
    "model_type": "afmoe",
    "num_hidden_layers": 2,
    "head_dim": 16,
    "num_shared_experts": 1,
    "moe_intermediate_size": 64,
    "num_dense_layers": 1,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}
BOTH = pytest.mark.parametrize("config", [OLMO2, COHERE2], ids=["olmo2", "cohere2"])
EOS = 2
PROMPT = [3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26, 43, 38, 32, 79, 50, 28, 84, 19]


def theirs(config: dict[str, Any]) -> nn.Module:
    """mlx-lm's model with seeded weights, which owes nothing to our loader."""
    parts = import_module(f"mlx_lm.models.{config['model_type']}")
    rope = config.get("rope_parameters", {})
    model: nn.Module = parts.Model(parts.ModelArgs.from_dict(config | rope))
    random = np.random.default_rng(5)
    shapes = {name: array.shape for name, array in parameters(model).items()}
    drawn = {
        name: mx.array(("norm" in name) + 0.1 * random.standard_normal(shape, np.float32))
        for name, shape in shapes.items()
    }
    model.load_weights(list(drawn.items()))
    return model


def ours(config: dict[str, Any], **options: Any) -> LoadedModel[Any]:
    return load(made(config, dict(parameters(theirs(config)))), LoadOptions(**options))


def their_answer(model: nn.Module, prompt: list[int], count: int) -> list[int]:
    """Greedy tokens by mlx-lm's own caches."""
    cache = import_module("mlx_lm.models.cache").make_prompt_cache(model)
    tokens, answer = prompt, []
    for _ in range(count):
        answer.append(int(mx.argmax(model(mx.array([tokens]), cache=cache)[0, -1]).item()))
        tokens = answer[-1:]
    return answer


def forward(model: Any, caches: Caches, start: int, stop: int, tokens: list[list[int]]) -> mx.array:
    step = caches.step(start, stop, len(tokens[0]))
    return model.head(model.hidden(model.embed(mx.array(tokens)), step))


def prefilled(model: Any, prompts: list[list[int]]) -> Caches:
    caches = Caches(model.cache_layout())
    for prompt in prompts:
        row = caches.add(len(prompt))
        forward(model, caches, row, row + 1, [prompt])
    return caches


@BOTH
def test_logits_are_those_of_mlx_lm(config: dict[str, Any]) -> None:
    expected = theirs(config)(mx.array([PROMPT]))
    loaded = ours(config)
    assert mx.allclose(logits(loaded.model, mx.array([PROMPT])), expected, atol=1e-4)
    assert (loaded.source, loaded.architecture) == ("mlx-lm", config["architectures"][0])
    assert (loaded.context_length, loaded.model.vocab_size) == (512, 320)
    assert not any(each.training for each in loaded.model.inner.modules())


def test_layers_with_a_window_remember_no_more() -> None:
    assert ours(OLMO2).model.cache_layout() == [Attends()] * 2
    assert ours(COHERE2).model.cache_layout() == [*[Attends(8)] * 3, Attends()]


@BOTH
def test_the_head_is_found_and_left_out_of_a_prompt(config: dict[str, Any]) -> None:
    model = ours(config).model
    caches = Caches(model.cache_layout())
    caches.add(4)
    assert model.decoder == "model"
    assert model.hidden(mx.array([PROMPT[:4]]), caches.step(0, 1, 4)).shape == (1, 4, 64)


@BOTH
def test_a_model_whose_head_is_not_apart_gives_the_same(config: dict[str, Any]) -> None:
    model = ours(config).model
    apart = logits(model, mx.array([PROMPT]))
    model.decoder = None
    assert mx.array_equal(logits(model, mx.array([PROMPT])), apart)


@BOTH
def test_chunks_of_a_prompt_give_what_the_whole_gives(config: dict[str, Any]) -> None:
    model = ours(config).model
    caches = Caches(model.cache_layout())
    caches.add(len(PROMPT))
    parts = [forward(model, caches, 0, 1, [PROMPT[i : i + 7]]) for i in range(0, 20, 7)]
    whole = logits(model, mx.array([PROMPT]))
    assert mx.allclose(mx.concatenate(parts, axis=1), whole, atol=1e-4)


@BOTH
@pytest.mark.parametrize("length", [1, 3])
def test_a_row_among_others_is_as_alone(config: dict[str, Any], length: int) -> None:
    model = ours(config).model
    prompts = [PROMPT[:5], PROMPT[:13], PROMPT]  # one within the window of 8, two beyond
    news = [[7, 8, 9][:length], [1, 2, 3][:length], [4, 5, 6][:length]]
    crowd = forward(model, prefilled(model, prompts), 0, 3, news)
    for row, prompt in enumerate(prompts):
        alone = forward(model, prefilled(model, [prompt]), 0, 1, [news[row]])
        assert mx.allclose(crowd[row], alone[0], atol=1e-4)


@BOTH
def test_packed_keys_and_values_come_close(config: dict[str, Any]) -> None:
    wide = config | {"head_dim": 64, "hidden_size": 256}
    model = ours(wide).model
    caches = Caches(model.cache_layout(), packing=Packing(bits=8))
    caches.add(len(PROMPT))
    packed = forward(model, caches, 0, 1, [PROMPT])
    assert cosine(packed, logits(model, mx.array([PROMPT]))) > 0.999


@BOTH
def test_a_load_in_4_bits_quantizes_every_layer(config: dict[str, Any]) -> None:
    loaded = ours(config, in_situ_quant="4")
    model = theirs(config)
    expected = model(mx.array([PROMPT]))
    linear = sum(isinstance(each, nn.Linear | nn.Embedding) for each in model.modules())
    assert sum(count for _, count in loaded.layouts) == linear
    assert cosine(logits(loaded.model, mx.array([PROMPT])), expected) > 0.95


def experts_apart(weights: dict[str, mx.array]) -> dict[str, mx.array]:
    """As published: a matrix for each expert, where mlx-lm has stacks."""
    stacks = {name for name in weights if ".switch_mlp." in name}
    kept: dict[str, mx.array] = {name: weights[name] for name in weights.keys() - stacks}
    for name in stacks:
        for expert, matrix in enumerate(weights[name]):
            kept[name.replace("switch_mlp", f"experts.{expert}")] = matrix
    return kept


def joined(stored: dict[str, mx.array]) -> dict[str, Tensor]:
    """Packed weights with their scales and biases, as our readers give them."""
    tensors: dict[str, Tensor] = dict(stored)
    for name in stored:
        if name.endswith(".scales"):
            stem = name.removesuffix("scales")
            arrays = [tensors.pop(stem + leaf) for leaf in ("weight", "scales", "biases")]
            tensors[f"{stem}weight"] = Packed.of(arrays, Spec(4, 32))
    return tensors


@pytest.mark.parametrize("bits", [None, 8])
def test_mlx_lms_own_code_puts_tensors_together(bits: int | None) -> None:
    model = theirs(OLMOE)
    published = made(OLMOE, dict(experts_apart(parameters(model))))
    loaded = load(published, LoadOptions(in_situ_quant=bits))
    close = cosine(logits(loaded.model, mx.array([PROMPT])), model(mx.array([PROMPT])))
    assert close > (0.99999 if bits is None else 0.998)
    kind = type(loaded.model.inner.model.layers[0].mlp.switch_mlp.up_proj).__name__
    assert kind == ("SwitchLinear" if bits is None else "QuantizedSwitchLinear")


def test_only_experts_are_quantized_if_that_is_asked_for() -> None:
    model = ours(OLMOE, in_situ_quant="4", organization=IsqOrganization.MoQE)
    packed = [name for name in parameters(model.model.inner) if name.endswith(".scales")]
    assert len(packed) == 3
    assert all(".switch_mlp." in name for name in packed)


def test_what_mlx_lm_keeps_precise_stays_so() -> None:
    held = parameters(ours(AFMOE, in_situ_quant="4", dtype=ModelDType.BF16).model.inner)
    assert held["model.layers.1.mlp.expert_bias"].dtype == mx.float32
    assert "model.layers.1.mlp.router.gate.scales" not in held
    assert "model.layers.1.mlp.experts.up_proj.scales" in held
    assert held["model.norm.weight"].dtype == mx.bfloat16


def test_packed_tensors_stay_packed() -> None:
    model = theirs(OLMOE)
    nn.quantize(model, 32, 4)
    stored = parameters(model)
    loaded = load(made(OLMOE, joined(stored)))
    held = parameters(loaded.model.inner)
    assert loaded.layouts == (("affine of 4 bits in groups of 32", 10),)
    assert held.keys() == stored.keys()
    assert all(mx.array_equal(held[name], stored[name]) for name in held)


def test_packed_experts_that_are_not_stacked_are_refused() -> None:
    apart = experts_apart(parameters(theirs(OLMOE)))
    packs = {name: packed(array, Spec(4)) for name, array in apart.items() if ".experts." in name}
    with pytest.raises(UnsupportedArchitecture, match=r"up_proj\.\w+ out of quantized tensors"):
        load(made(OLMOE, {**apart, **packs}))


def test_it_is_said_once_that_mlx_lm_runs_a_model(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ours(OLMO2)
    said = "somewhere: there is no Olmo2ForCausalLM here; mlx-lm's olmo2 runs it"
    assert [record.message for record in caplog.records] == [said]


def test_a_missing_tensor_is_named() -> None:
    weights = dict(parameters(theirs(OLMO2)))
    del weights["model.norm.weight"]
    with pytest.raises(WeightMismatch, match=r"1 tensor missing: model\.norm\.weight"):
        load(made(OLMO2, weights))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["OlmoForCausalLM"], "model_type": "olmo22"},
            r'"OlmoForCausalLM"; nearest: "\w+".* has mlx-lm a model_type "olmo22"; .*: olmo2',
        ),
        ({"model_type": "base"}, 'Nor has mlx-lm a model_type "base"'),
        ({"model_type": "gpt_bigcode"}, "wrong for rows of different lengths"),
        (
            {"model_type": "llama"},
            r'architecture "Olmo2ForCausalLM"; nearest: .*models\.md$',
        ),
    ],
)
def test_what_nobody_has_is_refused_with_the_nearest(changes: dict, message: str) -> None:
    with pytest.raises(UnsupportedArchitecture, match=message):
        load(made(OLMO2 | changes, {}))


def test_memories_that_our_caches_do_not_have_are_named() -> None:
    mamba = {
        "architectures": ["MambaForCausalLM"], "model_type": "mamba", "vocab_size": 320,
        "hidden_size": 64, "intermediate_size": 128, "state_size": 16, "num_hidden_layers": 1,
        "conv_kernel": 4, "use_bias": False, "use_conv_bias": True, "time_step_rank": 4,
    }  # fmt: skip
    with pytest.raises(UnsupportedArchitecture, match=r"mamba, but .* remembers by ArraysCache"):
        load(made(mamba, {}))


def test_a_configuration_that_mlx_lm_does_not_take_is_an_error() -> None:
    lacking = {name: value for name, value in OLMO2.items() if name != "rms_norm_eps"}
    with pytest.raises(ConfigError, match=r"mlx-lm's olmo2 cannot be built .* 'rms_norm_eps'"):
        load(made(lacking, {}))


def test_a_module_of_mlx_lm_that_ends_the_process_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "hf_olmo", None)
    olmo = OLMO2 | {"architectures": ["OLMoForCausalLM"], "model_type": "olmo"}
    with pytest.raises(MissingExtra, match=r"mlx_lm\.models\.olmo needs a package"):
        load(made(olmo, {}))


def test_without_mlx_lm_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mistralrs_mlx.loaders.fallback.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"nearest: .*pip install 'mistralrs-mlx\[fallback\]'"):
        load(made(OLMO2, {}))


def test_mlx_lm_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, mistralrs_mlx.loaders.load; sys.exit('mlx_lm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_window_that_only_the_mask_knows_hides_what_is_beyond() -> None:
    caches = Caches([Attends()])
    caches.add()
    caches.step(0, 1, 5)
    step = caches.step(0, 1, 2)
    seat = Seat(caches.layers[0], step)
    assert seat.make_mask(2) == "causal"
    mask = seat.make_mask(2, window_size=3)
    assert mask.tolist() == [[[[0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1]]]]
    assert seat.make_mask(2, window_size=7) == "causal"
    assert seat.make_mask(2, return_array=True).tolist() == [[[[1] * 6 + [0], [1] * 7]]]


@pytest.fixture(params=[OLMO2, COHERE2], ids=["olmo2", "cohere2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint as the hub lays one out."""
    folder = write_tiny_llama(tmp_path / "borrowed")
    weights = parameters(theirs(request.param))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(request.param), encoding="utf-8")
    return folder


@pytest.fixture
def runner(folder: Path) -> Iterator[Runner]:
    with Runner(which=Which.Plain(model_id=str(folder)), max_seqs=4) as runner:
        yield runner


def test_a_runner_answers_as_mlx_lm_does(runner: Runner, folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = theirs(json.loads((folder / "config.json").read_text()))
    for prompt in ("Hello", "Why is the sky blue? " * 3):
        answer = their_answer(model, tokenizer.encode(prompt).ids, 24)
        expected = tokenizer.decode(answer[: [*answer, EOS].index(EOS)])
        request = CompletionRequest(prompt, "default", max_tokens=24, temperature=0.0)
        assert runner.send_completion_request(request).choices[0].text == expected


def test_whose_code_runs_a_model_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Runner(which=Which.Plain(model_id=str(folder))):
        assert "ForCausalLM of mlx-lm in mlx.core.float32, quantized layers: none" in caplog.text


def test_rows_of_a_crowd_answer_as_alone(runner: Runner) -> None:
    prompts = ["Hello", "Why is the sky blue? " * 3, "It", "The sky scatters light"]
    requests = [CompletionRequest(p, "default", max_tokens=16, temperature=0.0) for p in prompts]
    alone = [runner.send_completion_request(each).choices[0].text for each in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        crowd = list(pool.map(runner.send_completion_request, requests))
    assert [each.choices[0].text for each in crowd] == alone
