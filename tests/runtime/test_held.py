"""What a notebook holds for long, outputs or its last traceback, holds no weights once closed."""

import gc
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mistralrs_mlx import EmbeddingRequest, Runner, VisionArchitecture, Which
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import MistralRsMlxError
from tests.embedding.folders import tiny_embedder
from tests.embedding.tiny import encoder_config
from tests.models.phi4mm_tiny import write_tiny_phi4mm
from tests.runtime.asking import chat, content

CRUMBS = 50_000  # bytes of what passes leave behind for a while; the smallest model has 448,768


def active() -> int:
    gc.collect()
    return worker().call(mx.get_active_memory)


def refused(runner: Runner, **options: Any) -> ValueError:
    """An error whose traceback holds every frame that led to it."""
    with pytest.raises(MistralRsMlxError) as held:
        chat(runner, **options)
    return held.value


def seeing(folder: Path) -> Runner:
    model = write_tiny_phi4mm(folder / "seeing", intermediate_size=64)
    which = Which.VisionPlain(model_id=str(model), arch=VisionArchitecture.Phi4MM)
    return Runner(which)


def test_close_frees_a_model_whose_runner_an_output_holds(tiny_llama: Path) -> None:
    before, outputs = active(), []
    outputs.append(Runner(Which.Plain(model_id=str(tiny_llama))))
    assert content(chat(outputs[0]))
    outputs[0].close()
    assert active() - before < CRUMBS


def test_close_frees_a_model_that_a_traceback_leads_to(tiny_llama: Path) -> None:
    before = active()
    runner = Runner(Which.Plain(model_id=str(tiny_llama)))
    errors = [refused(runner, messages=[]), refused(runner, grammar="(", grammar_type="regex")]
    runner.close()
    assert all(error.__traceback__ for error in errors)
    assert active() - before < CRUMBS


def test_close_frees_a_model_that_sees_and_was_shown_nonsense(tmp_path: Path) -> None:
    before = active()
    runner = seeing(tmp_path)
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,bm8="}}
    error = refused(runner, messages=[{"role": "user", "content": [part]}])
    runner.close()
    assert error.__traceback__
    assert active() - before < CRUMBS


def test_close_frees_an_embedder_that_a_traceback_leads_to(tmp_path: Path) -> None:
    folder = tiny_embedder(tmp_path / "embedder", encoder_config("BertModel"))
    before = active()
    runner = Runner(Which.Embedding(model_id=str(folder)))
    with pytest.raises(MistralRsMlxError) as held:
        runner.send_embedding_request(EmbeddingRequest(input=[[10**9]]))
    runner.close()
    assert held.value.__traceback__
    assert active() - before < CRUMBS


def test_making_a_runner_again_frees_the_one_before(tiny_llama: Path) -> None:
    before = active()
    for _ in range(3):
        runner = Runner(Which.Plain(model_id=str(tiny_llama)))
        chat(runner)
    runner.close()
    assert active() - before < CRUMBS


def test_whoever_still_asks_a_closed_model_is_told(tiny_llama: Path) -> None:
    runner = Runner(Which.Plain(model_id=str(tiny_llama)))
    host, _ = runner._find(None)
    runner.close()
    with pytest.raises(ValueError, match="was closed"):
        worker().call(lambda: host.engine.logits([1]))


def test_a_runner_tells_its_models_and_what_they_hold(tiny_llama: Path) -> None:
    with Runner(Which.Plain(model_id=str(tiny_llama))) as runner:
        assert repr(runner) == f"Runner({str(tiny_llama)!r}: loaded, 0.4 MB)"
        runner.unload_model(str(tiny_llama))
        assert repr(runner) == f"Runner({str(tiny_llama)!r}: unloaded, 0.0 MB)"
        assert "<td>unloaded</td>" in runner._repr_html_()
