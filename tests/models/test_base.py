"""Configurations are read strictly, and a model says what engine and loader need to know."""

from dataclasses import dataclass
from typing import Any

import pytest

from mistralrs_mlx.cache.layout import Attends
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.models.base import CausalLM, Config
from mistralrs_mlx.models.llama import LlamaConfig
from mistralrs_mlx.models.registry import of_config
from tests.models.tiny import TINY, config


@dataclass(frozen=True, kw_only=True)
class Inner(Config):
    size: int


@dataclass(frozen=True, kw_only=True)
class Sample(Config):
    size: int
    inner: Inner
    rate: float = 0.5
    name: str | None = "default"
    kinds: list[str] | None = None
    fast: bool = False


GOOD: dict[str, Any] = {"size": 3, "inner": {"size": 4}}


def test_what_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"Sample: config\.json lacks size, inner"):
        Sample.from_dict({"unknown": 1})
    with pytest.raises(ConfigError, match=r"Inner: config\.json lacks size"):
        Sample.from_dict(GOOD | {"inner": {}})


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("size", "3", "int"),
        ("size", True, "int"),
        ("size", 3.5, "int"),
        ("rate", "fast", "float"),
        ("fast", 1, "bool"),
        ("name", 5, "str | None"),
        ("kinds", ["a", 1], r"list\[str\] | None"),
        ("inner", 7, "Inner"),
    ],
)
def test_a_wrong_type_is_named(key: str, value: object, wanted: str) -> None:
    wanted = wanted.replace("|", r"\|")
    with pytest.raises(ConfigError, match=f"Sample: {key} must be {wanted}, not "):
        Sample.from_dict(GOOD | {key: value})


def test_nulls_mean_none_where_that_is_allowed_and_absence_elsewhere() -> None:
    read = Sample.from_dict(GOOD | {"name": None, "rate": None, "kinds": None})
    assert (read.name, read.rate, read.kinds) == (None, 0.5, None)
    with pytest.raises(ConfigError, match="lacks size"):
        Sample.from_dict(GOOD | {"size": None})


def test_whole_numbers_are_floats_too_and_nested_configurations_are_read() -> None:
    read = Sample.from_dict(GOOD | {"rate": 2, "kinds": ["a"], "more": 1})
    assert (read.rate, read.kinds, read.inner.size) == (2, ["a"], 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is not a multiple of .* 3"),
        ({"hidden_size": 66}, "hidden_size 66 is not a multiple of num_attention_heads 4"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be positive, not 0"),
        ({"head_dim": -1}, "head_dim must be positive, not -1"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; at most 4096 is read"),
        ({"hidden_size": 4 * 10**11}, "hidden_size is 400000000000; at most 1048576 is read"),
        ({"rms_norm_eps": 2**63}, "rms_norm_eps is 9223372036854775808; it must lie between"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan; it must lie between 0 and 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"LlamaConfig: {message}"):
        LlamaConfig.from_dict(config("LlamaForCausalLM", **changes))


@pytest.mark.parametrize("theta", [-1.0, 0.0, float("inf"), float("nan")])
@pytest.mark.parametrize("place", ["rope_theta", "rope_scaling"])
def test_positions_need_a_base_that_has_powers(theta: float, place: str) -> None:
    given = theta if place == "rope_theta" else {"rope_type": "default", "rope_theta": theta}
    with pytest.raises(ConfigError, match=f"rope_theta is {theta}; it must be a positive"):
        model("LlamaForCausalLM", **{place: given})


def model(architecture: str, **changes: Any) -> CausalLM:
    raw = config(architecture, **changes)
    return of_config(raw).load().from_dict(raw)


def layout(architecture: str, **changes: Any) -> list[int | None]:
    return [memory.window for memory in model(architecture, **changes).cache_layout()]


def test_mistral_without_the_key_has_the_published_window_and_with_null_has_none() -> None:
    raw = config("MistralForCausalLM", max_position_embeddings=32768)
    del raw["sliding_window"]
    assert of_config(raw).load().from_dict(raw).cache_layout() == [Attends(4096)] * 2
    assert layout("MistralForCausalLM", sliding_window=None) == [None, None]


def test_a_window_as_wide_as_the_context_is_none() -> None:
    assert layout("MistralForCausalLM", sliding_window=4095) == [4095, 4095]
    assert layout("MistralForCausalLM", sliding_window=4096) == [None, None]
    assert layout("Phi3ForCausalLM") == [None, None]


def test_llama_has_no_window_whatever_its_configuration_says() -> None:
    assert layout("LlamaForCausalLM", sliding_window=8) == [None, None]


@pytest.mark.parametrize("architecture", ["Qwen2ForCausalLM", "Qwen3ForCausalLM"])
def test_qwen_windows_are_for_the_upper_layers_and_off_unless_switched_on(
    architecture: str,
) -> None:
    on = {"use_sliding_window": True, "sliding_window": 8, "num_hidden_layers": 3}
    assert layout(architecture, **on, max_window_layers=1) == [None, 8, 8]
    assert layout(architecture, **on, max_window_layers=28) == [None] * 3
    assert (
        layout(architecture, **on | {"use_sliding_window": False}, max_window_layers=0)
        == [None] * 3
    )
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    assert layout(architecture, **on, max_window_layers=3, layer_types=kinds) == [8, None, 8]


@pytest.mark.parametrize("kinds", [["full_attention"], ["full_attention", "chunked_attention"]])
def test_qwen_layer_types_must_be_known_and_one_for_each_layer(kinds: list[str]) -> None:
    with pytest.raises(ConfigError, match="Qwen2Config: layer_types must name full_attention or"):
        layout("Qwen2ForCausalLM", layer_types=kinds)


def test_only_longrope_has_a_border() -> None:
    assert model("Phi3ForCausalLM").rope_border == 64
    assert model("Phi3ForCausalLM", rope_scaling=None).rope_border is None
    assert model("LlamaForCausalLM").rope_border is None


@pytest.mark.parametrize("architecture", TINY)
def test_a_model_says_its_sizes(architecture: str) -> None:
    built, raw = model(architecture), config(architecture)
    assert built.vocab_size == raw["vocab_size"]
    assert built.context_length == raw["max_position_embeddings"]
    assert len(built.cache_layout()) == raw["num_hidden_layers"]
