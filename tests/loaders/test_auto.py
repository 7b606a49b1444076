"""What a folder asks to be loaded with is found out from its files alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import ModelDType, Which, auto_which


def folder(path: Path, config: dict[str, Any], *others: str) -> str:
    (path / "config.json").write_text(json.dumps(config))
    for name in others:
        (path / name).write_text("[]")
    return str(path)


@pytest.mark.parametrize(
    ("config", "selector"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, Which.Plain),
        ({"model_type": "qwen3"}, Which.Plain),
        ({"architectures": ["Phi4MMForCausalLM"]}, Which.MultimodalPlain),
        ({"architectures": ["Phi4MultimodalForCausalLM"]}, Which.MultimodalPlain),
        ({"architectures": ["BertModel"]}, Which.Embedding),
        ({"architectures": ["NobodyKnowsForCausalLM"]}, Which.Plain),
        ({}, Which.Plain),
    ],
)
def test_an_architecture_says_what_its_model_is_for(
    tmp_path: Path, config: dict[str, Any], selector: Any
) -> None:
    which = auto_which(folder(tmp_path, config), dtype=ModelDType.F32)
    assert repr(which) == repr(selector(model_id=str(tmp_path), dtype=ModelDType.F32))


def test_what_sentence_transformers_wrote_makes_vectors(tmp_path: Path) -> None:
    model = folder(tmp_path, {"architectures": ["Qwen3ForCausalLM"]}, "modules.json")
    assert repr(auto_which(model)) == repr(Which.Embedding(model_id=model))


def test_a_folder_that_says_nothing_is_left_to_its_load(tmp_path: Path) -> None:
    assert isinstance(auto_which(str(tmp_path)), Which.Plain)


def test_what_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        auto_which(str(tmp_path / "none"))
