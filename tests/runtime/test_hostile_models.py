"""Models from strangers whose files lie: they fail with a reason, and alone."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
    RequestError,
    Runner,
    Which,
)
from mistralrs_mlx.errors import CheckpointError, TokenizerError
from mistralrs_mlx.runtime.sink import ChoiceSink
from tests.tiny_checkpoint import write_tiny_llama


def lying(folder: Path, change: Callable[[dict[str, Any]], None]) -> Runner:
    """A runner of a model whose tokenizer.json was changed."""
    path = write_tiny_llama(folder) / "tokenizer.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))
    return Runner(Which.Plain(model_id=str(folder)))


def far_token(tokenizer: dict[str, Any]) -> None:
    token = {"id": 298, "content": "<far>", "special": True, "normalized": False}
    token |= dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    tokenizer["added_tokens"].append(token)


def panicking(tokenizer: dict[str, Any]) -> None:
    tokenizer["decoder"] = {"type": "Strip", "content": "a", "start": 1, "stop": 1}


def chat(words: str, **more: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest(messages=words, model="default", max_tokens=2, **more)


def test_no_token_reads_beyond_the_models_vocabulary(tmp_path: Path) -> None:
    words = "made the token 298 of this text"
    with lying(tmp_path / "far", far_token) as runner:
        with pytest.raises(RequestError, match=words):
            runner.send_chat_completion_request(chat("<far>"))
        with pytest.raises(RequestError, match=words):
            runner.send_completion_request(CompletionRequest(prompt="<far>", model="default"))
        with pytest.raises(RequestError, match=words):
            runner.send_embedding_request(EmbeddingRequest(input="<far>"))


def test_a_tokenizer_that_panics_takes_no_other_model_with_it(
    tmp_path: Path, tiny_llama: Path
) -> None:
    with (
        Runner(Which.Plain(model_id=str(tiny_llama))) as other,
        lying(tmp_path / "panics", panicking) as runner,
    ):
        (letter,) = runner.tokenize_text("a", False)
        with pytest.raises(TokenizerError, match="cannot be turned into text"):
            runner.send_chat_completion_request(chat("b", logit_bias={letter: 100.0}))
        assert other.send_chat_completion_request(chat("b")).choices


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", "x"), ("top_k", "a"), ("top_p", []), ("suppress_tokens", ["a"]),
     ("suppress_tokens", 7)],
)  # fmt: skip
def test_defaults_of_another_type_are_named(tmp_path: Path, name: str, value: object) -> None:
    folder = write_tiny_llama(tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({name: value}))
    words = f"generation_config.json says {name}="
    with (
        Runner(Which.Plain(model_id=str(folder))) as runner,
        pytest.raises(RequestError, match=words),
    ):
        runner.send_chat_completion_request(chat("b"))


def test_no_code_of_a_repository_is_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    folder = write_tiny_llama(tmp_path / "model", auto_map={"AutoModel": "evil.Evil"})
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(ran)!r})")
    with Runner(Which.Plain(model_id=str(folder))) as runner:
        assert runner.send_chat_completion_request(chat("b")).choices
    (folder / "model.safetensors").unlink()
    pickled = f"cos\nmkdir\n(V{ran}\ntR.".encode()
    pickle.loads(pickled)
    ran.rmdir()  # it does run, where it is opened
    (folder / "pytorch_model.bin").write_bytes(pickled)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        Runner(Which.Plain(model_id=str(folder)))
    assert not ran.exists()


class Panic(BaseException):
    """What no `except Exception` catches, as a panic of Rust code."""


def test_a_panic_in_a_step_ends_its_answer_and_not_the_engine(
    monkeypatch: pytest.MonkeyPatch, tiny_llama: Path
) -> None:
    def panics(*_: object, **more: object) -> bool:
        raise Panic("index out of bounds")

    with Runner(Which.Plain(model_id=str(tiny_llama))) as runner:
        with monkeypatch.context() as patched:
            patched.setattr(ChoiceSink, "push", panics)
            with pytest.raises(ValueError, match="out of bounds"):
                runner.send_chat_completion_request(chat("b"))
        assert runner.send_chat_completion_request(chat("b")).choices
