"""Loading, unloading and removing models while they answer, and what a runner tells of them."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mistralrs_mlx import (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
    ModelUnloaded,
    Runner,
    UnknownModel,
    Which,
)
from mistralrs_mlx.engine.worker import worker
from tests.embedding.folders import tiny_embedder
from tests.embedding.tiny import encoder_config
from tests.loaders.gguf_files import CHAT, write
from tests.runtime.managed import WEIGHTS, ask, pair, plain, said
from tests.tiny_checkpoint import write_tiny_llama

LONG = {"max_tokens": 450, "ignore_eos": True}
GONE = "model `a` was unloaded while it answered"


@pytest.fixture
def runner(tiny_llama: Path) -> Iterator[Runner]:
    with pair(tiny_llama, max_seqs=2) as runner:
        yield runner


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A checkpoint that a test may break."""
    return write_tiny_llama(tmp_path / "own")


def active() -> int:
    gc.collect()
    worker().call(mx.synchronize)  # a pass under way holds what it reads
    return worker().call(mx.get_active_memory)


def streamed(runner: Runner) -> Any:
    stream = ask(runner, "a", stream=True, **LONG)
    next(stream)
    return lambda: list(stream)


def with_choices(runner: Runner) -> Any:
    stream = ask(runner, "a", stream=True, n_choices=2, **LONG)
    next(stream)
    return lambda: list(stream)


def queued(runner: Runner) -> Any:
    streams = [ask(runner, "a", stream=True, messages=f"{i}", **LONG) for i in range(4)]
    next(streams[0])
    return lambda: list(streams[-1])


def completed(runner: Runner) -> Any:
    request = CompletionRequest("Once", "default", max_tokens=450, ignore_eos=True)
    stream = runner.stream_completion_request(request, "a")
    return lambda: list(stream)


def awaited(runner: Runner) -> Any:
    request = ChatCompletionRequest("Hello", "default", stream=True, **LONG)

    async def read() -> None:
        async for _ in await runner.chat(request, "a"):
            runner.unload_model("a")

    return lambda: asyncio.run(read())


@pytest.mark.parametrize("begin", [streamed, with_choices, queued, completed, awaited])
def test_what_a_model_is_answering_when_it_is_unloaded_ends_with_an_error(
    runner: Runner, begin: Callable[[Runner], Callable[[], object]]
) -> None:
    expected = said(ask(runner, "b"))
    read = begin(runner)
    runner.unload_model("a")
    with pytest.raises(ModelUnloaded, match=GONE):
        read()
    assert said(ask(runner, "a")) == said(ask(runner, "b")) == expected


def test_a_whole_answer_ends_with_an_error_too(runner: Runner) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, runner, "a", **LONG)
        while not runner.model_details("a").caches_bytes:
            assert not answer.done()
        runner.remove_model("a")
        with pytest.raises(ModelUnloaded, match="model `a` was removed while it answered"):
            answer.result(60)


def test_unloading_gives_the_memory_back_whatever_ran(tmp_path: Path) -> None:
    wide = {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 4096}
    folder = write_tiny_llama(tmp_path / "larger", **wide)  # than what its last passes leave
    left, held, answers = [], [], []
    with pair(folder) as runner:
        weights = runner.model_details("b").weights_bytes
        for _ in range(4):  # a few small arrays are made once, at the first passes
            answers.append(said(ask(runner, "a")))
            held.append(active())
            unread = [streamed(runner), with_choices(runner), queued(runner), completed(runner)]
            runner.unload_model("a")
            left.append(active())
    assert abs(left[3] - left[2]) <= weights / 100
    assert held[3] - left[3] >= 0.99 * weights
    assert (len(set(answers)), len(unread)) == (1, 4)


def test_vectors_under_way_end_with_an_error(runner: Runner) -> None:
    request = EmbeddingRequest(input=["Hello there " * 40] * 2000)
    with ThreadPoolExecutor(1) as pool:
        vectors = pool.submit(runner.send_embedding_request, request, "a")
        while not vectors.done() and not worker().call(lambda: runner._roster.entry("a")._users):
            pass
        runner.unload_model("a")
        with pytest.raises(ModelUnloaded, match=GONE):
            vectors.result(60)


def test_a_load_that_fails_leaves_the_model_unloaded_and_others_at_work(
    runner: Runner, own: Path
) -> None:
    name = runner.add_model(plain(own), "c")
    before, hidden = said(ask(runner, name)), own / "hidden"
    runner.unload_model(name)
    (own / "model.safetensors").rename(hidden)
    for _ in range(2):
        with pytest.raises(ValueError, match="safetensors"):
            ask(runner, name)
        assert runner.get_model_status(name) == "unloaded"
    assert said(ask(runner, "a"))
    hidden.rename(own / "model.safetensors")
    assert said(ask(runner, name)) == before


def test_threads_that_ask_at_once_load_a_model_once(runner: Runner, tiny_llama: Path) -> None:
    def watch(stage: str, done: int, total: int | None) -> None:
        if stage == "load":
            seen.append((done == total, runner.get_model_status("c")))

    seen: list[tuple[bool, str | None]] = []
    runner.add_model(plain(tiny_llama), "c", progress=watch)
    runner.unload_model("c")
    seen.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = {said(each) for each in pool.map(lambda _: ask(runner, "c"), range(8))}
    assert answers == {said(ask(runner, "a"))}
    assert {status for _, status in seen} == {"reloading"}
    assert sum(last for last, _ in seen) == 1


def test_a_model_may_be_removed_while_others_wait_for_it(runner: Runner) -> None:
    def watch(*_: Any) -> None:
        loading.set()

    loading = threading.Event()
    runner.unload_model("a")
    entry = runner._roster.entry("a")
    entry.opening = type(entry.opening)(**{**vars(entry.opening), "progress": watch})
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, runner, "a") for _ in range(3)]
        assert loading.wait(30)
        runner.remove_model("a")
        for each in asked:
            error = each.exception(60)
            assert error is None or isinstance(error, UnknownModel | ModelUnloaded)
    assert runner.list_models() == ["b"]


def test_a_runner_that_is_closed_while_a_model_loads_frees_it_too(
    runner: Runner, tiny_llama: Path
) -> None:
    loading = threading.Event()
    runner.add_model(plain(tiny_llama), "c", progress=lambda *_: loading.set())
    runner.unload_model("c")
    loading.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, runner, "c")
        assert loading.wait(30)
        runner.close()
        error = answer.exception(60)
    assert error is None or isinstance(error, ModelUnloaded)
    assert runner.list_unloaded_models() == ["a", "b", "c"]


def test_the_default_may_be_unloaded_and_is_loaded_by_a_request(runner: Runner) -> None:
    assert runner.get_default_model_id() == "a"
    runner.unload_model("default")
    assert runner.list_unloaded_models() == ["a"]
    assert said(ask(runner, "default")) == said(ask(runner))
    runner.remove_model("default")
    assert runner.get_default_model_id() == "b"


@pytest.mark.parametrize(
    "method", ["unload_model", "reload_model", "remove_model", "model_details"]
)
def test_an_unknown_id_is_refused_by_its_class(runner: Runner, method: str) -> None:
    with pytest.raises(UnknownModel, match="model `zz` was not found; there is `a`, `b`"):
        getattr(runner, method)("zz")
    assert runner.list_models_with_status() == [("a", "loaded"), ("b", "loaded")]


@pytest.mark.parametrize(("name", "message"), [("a", "there already"), ("default", "stands for")])
def test_an_id_that_is_taken_is_refused_before_anything_is_read(
    runner: Runner, name: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        runner.add_model(Which.Plain("nowhere"), name)


def test_two_threads_cannot_add_one_id(runner: Runner, tiny_llama: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        added = [pool.submit(runner.add_model, plain(tiny_llama), "c") for _ in range(4)]
        errors = [each.exception(60) for each in added]
    assert sum(error is None for error in errors) == 1
    assert all("there already" in str(error) for error in errors if error is not None)


def test_a_gguf_file_joins_a_text_model(runner: Runner, tmp_path: Path) -> None:
    write(tmp_path / "tiny.gguf", other={"tokenizer.chat_template": CHAT})
    name = runner.add_model(Which.GGUF(str(tmp_path), "tiny.gguf"))
    assert (name, runner.model_details(name).architecture) == (str(tmp_path), "LlamaForCausalLM")
    before = said(ask(runner, name, messages="abc ab"))
    runner.unload_model(name)
    assert said(ask(runner, name, messages="abc ab")) == before


def test_an_embedder_joins_a_text_model(runner: Runner, tmp_path: Path) -> None:
    folder = tiny_embedder(tmp_path / "embedder", encoder_config("BertModel"))
    runner.add_model(Which.Embedding(model_id=str(folder)), "vectors")
    assert runner.send_embedding_request(EmbeddingRequest(input=["w1"]), "vectors")
    runner.unload_model("vectors")
    assert runner.send_embedding_request(EmbeddingRequest(input=["w1"]), "vectors")
    with pytest.raises(ValueError, match="makes vectors of texts"):
        ask(runner, "vectors")
    details = runner.model_details("vectors")
    assert (details.kind, details.architecture, details.status) == (
        "embedding", "BertModel", "loaded",
    )  # fmt: skip


def test_a_further_model_has_the_first_ones_options_or_its_own(tiny_llama: Path) -> None:
    with Runner(plain(tiny_llama), in_situ_quant="4", max_seqs=3, seed=7) as runner:
        runner.add_model(plain(tiny_llama), "same")
        runner.add_model(plain(tiny_llama), "other", in_situ_quant=8, max_seqs=5, prefix_cache_n=0)
        one, same, other = (runner._roster.entry(each).opening for each in (None, "same", "other"))
        assert (same.max_seqs, same.seed, same.in_situ_quant) == (3, 7, None)
        assert (other.max_seqs, other.seed, other.in_situ_quant) == (5, 7, 8)
        assert (one.caching.sequences, other.caching.sequences) == (16, 0)
        assert one.memory is same.memory is other.memory
        assert "bits" in runner.model_details("other").quantization


def test_a_further_models_own_draft_model_takes_the_place_of_prompt_lookup(
    tiny_llama: Path,
) -> None:
    which = plain(tiny_llama)
    with Runner(which, prompt_lookup=4) as runner:
        runner.add_model(which, "same")
        runner.add_model(which, "drafted", which_draft=which, speculative_gamma=3)
        same, other = (runner._roster.entry(each).opening.drafting for each in ("same", "drafted"))
        assert (same.which, same.lookup) == (None, 4)
        assert (other.which, other.gamma, other.lookup) == (which, 3, 0)
        with pytest.raises(ValueError, match="give one of them"):
            runner.add_model(which, "both", which_draft=which, prompt_lookup=2)


def test_details_tell_what_a_model_is_and_holds(runner: Runner) -> None:
    ask(runner, "a")
    worker().call(lambda: None)
    details = runner.model_details("a")
    assert (details.status, details.kind, details.source) == ("loaded", "text", "mistralrs_mlx")
    assert (details.architecture, details.dtype) == ("LlamaForCausalLM", "float32")
    assert (details.quantization, details.context_length) == ("none", 512)
    assert (details.weights_bytes, details.caches_bytes) == (WEIGHTS, 0)
    assert details.kept_bytes > 0
    assert "    status: " in repr(details)


def test_details_of_an_unloaded_model_say_what_it_was(runner: Runner) -> None:
    runner.unload_model("a")
    details = runner.model_details("a")
    assert (details.status, details.architecture) == ("unloaded", "LlamaForCausalLM")
    assert (details.weights_bytes, details.caches_bytes, details.kept_bytes) == (0, 0, 0)
    assert runner.list_unloaded_models() == ["a"]
