"""Published checkpoints: their config.json parses and their tensors are exactly our parameters."""

import json
import re
from itertools import product
from pathlib import Path

import pytest

from mistralrs_mlx.cache.layout import Attends
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.models.registry import of_config
from mistralrs_mlx.models.weights import Drop, resolve
from tests.models.assemble import parameters

HERE = Path(__file__).parent
SIZES = {  # checkpoint -> tensors in its files, parameters of the model, context
    "DeepSeek-V2-Lite": (5291, 15_706_484_224, 163840),
    "DeepSeek-V3": (91991, 671_026_419_200, 163840),
    "GLM-4-9B-0414": (523, 9_400_279_040, 32768),
    "GLM-4.5-Air": (18329, 106_852_251_264, 131072),
    "GLM-4.7-Flash": (9703, 29_943_393_920, 202752),
    "Hunyuan-A13B-Instruct": (6530, 80_393_183_232, 32768),
    "Hunyuan-MT-7B": (354, 7_504_932_864, 32768),
    "LFM2-1.2B": (148, 1_170_340_608, 128000),
    "LFM2-8B-A1B": (2302, 8_339_930_560, 128000),
    "Llama-3.1-8B": (291, 8_030_261_248, 131072),
    "Mistral-7B-v0.1": (291, 7_241_732_096, 32768),
    "Mixtral-8x7B-v0.1": (995, 46_702_792_704, 32768),
    "Phi-3-mini-4k-instruct": (195, 3_821_079_552, 4096),
    "Phi-3.5-MoE-instruct": (1957, 41_873_153_344, 131072),
    "Phi-3.5-mini-instruct": (195, 3_821_079_552, 131072),
    "Phi-4-mini-instruct": (194, 3_836_021_760, 131072),
    "Phi-4-multimodal-instruct": (2047, 5_543_980_224, 131072),  # 5_574_460_384 less the unused
    "Qwen2-7B": (339, 7_615_616_512, 131072),
    "Qwen3-0.6B": (311, 596_049_920, 40960),
    "Qwen3-30B-A3B": (18867, 30_532_122_624, 40960),
    "Qwen3-8B": (399, 8_190_735_360, 40960),
    "Qwen3-Next-80B-A3B-Instruct": (75944, 79_674_391_296, 262144),
    "Qwen3.5-35B-A3B": (1045, 34_660_610_688, 262144),
    "Qwen3.5-9B": (775, 8_953_803_264, 262144),
    "SmolLM2-135M": (272, 134_515_008, 8192),
    "SmolLM3-3B": (326, 3_075_098_624, 65536),
    "gemma-2-2b": (288, 2_614_341_888, 8192),
    "gemma-2b": (164, 2_506_172_416, 8192),
    "gemma-3-1b-it": (340, 999_885_952, 32768),
    "gpt-oss-20b": (459, 20_914_757_184, 131072),
    "granite-3.0-1b-a400m-base": (218, 1_334_628_352, 4096),
    "granite-3.1-2b-base": (362, 2_533_525_504, 131072),
    "granite-4.0-h-350m": (370, 340_332_224, 32768),
    "granite-4.0-h-tiny": (586, 6_939_037_248, 131072),
    "phi-2": (453, 2_779_683_840, 2048),
    "starcoder2-3b": (483, 3_030_371_328, 16384),
}


def expanded(line: str) -> list[str]:
    """The names that a line with {0..31} and {a,b} stands for."""
    parts = re.split(r"\{(.*?)\}", line)
    choices = [_choices(part) if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def _choices(braced: str) -> list[str]:
    if ".." in braced:
        first, last = map(int, braced.split(".."))
        return [str(number) for number in range(first, last + 1)]
    return braced.split(",")


def names(checkpoint: str) -> list[str]:
    lines = (HERE / "names" / f"{checkpoint}.txt").read_text().splitlines()
    return [name for line in lines for name in expanded(line)]


def loaded(checkpoint: str) -> list[str]:
    """The same, once scales are part of what they belong to, as the loader makes them."""
    kept = [name for name in names(checkpoint) if not name.endswith(("_scale_inv", "_scales"))]
    return [re.sub("_blocks$", ".weight", name) for name in kept]


def built(checkpoint: str) -> CausalLM:
    """The model in full size; its weights are promises that nothing keeps."""
    config = json.loads((HERE / "configs" / f"{checkpoint}.json").read_text())
    return of_config(config).load().from_dict(config)


def first_window(model: CausalLM) -> int | None:
    """The window of the first layer that has one."""
    windows = [each.window for each in model.cache_layout() if isinstance(each, Attends)]
    return next(filter(None, windows), None)


def test_every_recorded_checkpoint_is_listed_here() -> None:
    for folder in ("names", "configs"):
        assert {path.stem for path in (HERE / folder).iterdir()} == SIZES.keys()


@pytest.mark.parametrize("checkpoint", SIZES)
def test_nothing_is_missing_and_nothing_unused(checkpoint: str) -> None:
    model, stored = built(checkpoint), loaded(checkpoint)
    plan = resolve(stored, model.rules)
    assert plan.keys() == parameters(model).keys()
    used = {source for recipe in plan.values() for source in recipe.sources}
    drops = [rule.pattern for rule in model.rules if isinstance(rule, Drop)]
    dropped = {name for name in stored if any(re.search(pattern, name) for pattern in drops)}
    assert (used | dropped, used & dropped) == (set(stored), set())
    assert len(names(checkpoint)) == SIZES[checkpoint][0]


@pytest.mark.parametrize("checkpoint", SIZES)
def test_the_sizes_are_the_published_ones(checkpoint: str) -> None:
    model, (_, count, context) = built(checkpoint), SIZES[checkpoint]
    assert sum(value.size for value in parameters(model).values()) == count
    assert model.context_length == context


def test_windows_and_borders_are_the_published_ones() -> None:
    facts = {name: (first_window(built(name)), built(name).rope_border) for name in SIZES}
    kept = {name: fact for name, fact in facts.items() if fact != (None, None)}
    assert kept == {
        "Mistral-7B-v0.1": (4096, None),
        "Phi-3-mini-4k-instruct": (2047, None),
        "Phi-3.5-MoE-instruct": (None, 4096),
        "Phi-3.5-mini-instruct": (None, 4096),
        "Phi-4-mini-instruct": (None, 4096),
        "Phi-4-multimodal-instruct": (None, 4096),
        "gemma-2-2b": (4096, None),
        "gemma-3-1b-it": (512, None),
        "gpt-oss-20b": (128, None),
        "starcoder2-3b": (4096, None),
    }
