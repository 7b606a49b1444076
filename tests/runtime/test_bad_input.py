"""Whatever is wrong with a model or a request ends in a `ValueError` that says so."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import ChatCompletionRequest, CompletionRequest, Runner, Which
from mistralrs_mlx.models.base import CausalLM

from .asking import chat


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def refused(which: Any, **options: Any) -> str:
    """The message with which a `Runner` refuses to be."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        Runner(which=which, **options)
    return str(caught.value)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_path_that_is_not_there() -> None:
    assert "not a folder" in refused(Which.Plain(model_id="/no/such/folder"))
    assert "HF_HUB_OFFLINE" in refused(Which.Plain(model_id="nobody/no-such-model"))


def test_a_file_that_is_not_in_the_folder(folder: Path) -> None:
    message = refused(Which.GGUF(str(folder), "nope.gguf"))
    assert "File `nope.gguf` was not found in local model directory" in message


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_weights_that_are_cut_off(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "model.safetensors" in refused(Which.Plain(model_id=str(folder)))


def test_an_architecture_that_nobody_has(folder: Path) -> None:
    edit(folder / "config.json", architectures=["LlamaForPoetry"], model_type="llama_poetry")
    assert "LlamaForCausalLM" in refused(Which.Plain(model_id=str(folder)))


def test_a_config_that_lacks_a_size(folder: Path) -> None:
    edit(folder / "config.json", hidden_size=None)
    assert "hidden_size" in refused(Which.Plain(model_id=str(folder)))


def test_a_config_that_does_not_fit_the_weights(folder: Path) -> None:
    edit(folder / "config.json", intermediate_size=256)
    assert "mlp.gate_proj.weight" in refused(Which.Plain(model_id=str(folder)))


def test_no_tokenizer_or_a_broken_one(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    assert "tokenizer.json" in refused(Which.Plain(model_id=str(folder)))
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused(Which.Plain(model_id=str(folder)))


@pytest.mark.parametrize("name", ["Q4_K", "auto", "7", "", "AFQ9"])
def test_a_quantization_that_does_not_exist(tiny_llama: Path, name: str) -> None:
    message = refused(Which.Plain(model_id=str(tiny_llama)), in_situ_quant=name)
    assert "unknown, choose one of" in message


def test_settings_that_cannot_be(tiny_llama: Path) -> None:
    which = Which.Plain(model_id=str(tiny_llama))
    assert "max_seqs" in refused(which, max_seqs=0)
    assert "Invalid token source" in refused(which, token_source="somewhere")
    assert "chat_template" in refused(which, chat_template="/no/such.jinja")
    with pytest.raises(NotImplementedError, match="mtp_model"):
        Runner(which=which, mtp_model="x")
    with pytest.raises(TypeError, match="which must be a Which"):
        Runner(which="gpt2")


def test_a_kind_of_model_that_is_not_built_is_named_as_it_is_written() -> None:
    with pytest.raises(NotImplementedError, match=r"^Which\.Speech: "):
        Runner(which=Which.Speech("m", "dia"))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("max_seqs", "8"),
        ("no_kv_cache", "yes"),
        ("prefix_cache_n", 1.5),
        ("token_source", None),
        ("chat_template", 3),
        ("seed", "x"),
        ("enable_search", 2),
        ("prompt_lookup", "2"),
    ],
)
def test_a_setting_of_another_type_is_named(tiny_llama: Path, argument: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"argument '{argument}' must be"):
        Runner(which=Which.Plain(model_id=str(tiny_llama)), **{argument: value})


@pytest.mark.parametrize("argument", ["max_seqs", "prefix_cache_n", "seed", "prompt_lookup"])
def test_a_setting_below_its_range_is_named(tiny_llama: Path, argument: str) -> None:
    assert argument in refused(Which.Plain(model_id=str(tiny_llama)), **{argument: -1})


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("temperature", math.nan, "temperature"),
        ("temperature", math.inf, "temperature"),
        ("max_tokens", 0, "at least 1"),
        ("max_tokens", -5, "max_tokens"),
        ("top_k", -1, "top_k"),
        ("top_p", math.nan, "top_p"),
        ("repetition_penalty", 0.0, "repetition_penalty"),
        ("n_choices", 0, "greater than 0"),
        ("messages", [], "messages is empty"),
        ("messages", [{"role": "user"}], "content"),
        ("messages", [{"content": "x"}], "role"),
        ("grammar", "a+", "Grammar text is specified but not grammar type"),
        ("grammar_type", "regex", "Grammar type is specified but not grammar text"),
        ("reasoning_effort", "minimal", "invalid reasoning effort"),
        ("tool_schemas", ["{}"], "missing field `function`"),
    ],
)
def test_a_request_that_cannot_be_harms_nobody(
    tiny_llama: Path, argument: str, value: Any, words: str
) -> None:
    with Runner(which=Which.Plain(model_id=str(tiny_llama))) as runner:
        options = {"messages": "Hi", "max_tokens": 2, argument: value}
        with pytest.raises(ValueError, match=words):
            runner.send_chat_completion_request(ChatCompletionRequest(model="default", **options))
        request = CompletionRequest(model="default", prompt="Hi", max_tokens=2)
        assert runner.send_completion_request(request).usage.completion_tokens > 0


def test_an_image_for_a_model_that_reads_text(tiny_llama: Path) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "cat.png"}},
        {"type": "text", "text": "What is this?"},
    ]
    with Runner(which=Which.Plain(model_id=str(tiny_llama))) as runner:
        request = ChatCompletionRequest(
            model="default", messages=[{"role": "user", "content": parts}]
        )
        with pytest.raises(ValueError, match="reads only text"):
            runner.send_chat_completion_request(request)


def test_a_request_of_another_kind_is_a_type_error(tiny_llama: Path) -> None:
    chat = ChatCompletionRequest(messages="x", model="default")
    with Runner(Which.Plain(model_id=str(tiny_llama))) as runner:
        for send, wrong in (
            (runner.send_chat_completion_request, "x"),
            (runner.send_chat_completion_request, CompletionRequest(prompt="x", model="default")),
            (runner.send_completion_request, chat),
            (runner.send_embedding_request, chat),
        ):
            with pytest.raises(TypeError, match=r"argument 'request' must be an? [CE]"):
                send(wrong)  # type: ignore[operator]


def test_a_defect_of_the_model_is_told_where_the_answer_is_read(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runner(which=Which.Plain(model_id=str(tiny_llama))) as runner:
        with monkeypatch.context() as patch:
            patch.setattr(CausalLM, "embed", lambda *_: 1 / 0)
            with pytest.raises(ValueError, match=r"failed while answering: ZeroDivis.*by zero$"):
                chat(runner)
        assert chat(runner).choices[0].finish_reason is not None
