"""Quantizing a model anew: from its files, between requests, or not at all."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mistralrs_mlx import InsufficientMemory, Runner, UnknownModel
from tests.runtime.managed import ask, plain, said
from tests.tiny_checkpoint import write_tiny_llama

LONG = {"max_tokens": 400, "ignore_eos": True}


@pytest.fixture
def runner(tiny_llama: Path) -> Iterator[Runner]:
    with Runner(plain(tiny_llama), in_situ_quant="4") as runner:
        yield runner


def alone(folder: Path, isq: str | None) -> str:
    """What a model says that was loaded with this type."""
    with Runner(plain(folder), in_situ_quant=isq) as runner:
        return said(ask(runner, **LONG))


def layers(runner: Runner, model_id: str | None = None) -> str:
    return runner.model_details(model_id).quantization


def test_it_answers_as_if_it_had_been_loaded_so(runner: Runner, tiny_llama: Path) -> None:
    before = layers(runner)
    assert runner.send_re_isq("Q8_0") is None
    assert before != layers(runner)
    assert said(ask(runner, **LONG)) == alone(tiny_llama, "Q8_0") != alone(tiny_llama, "4")


def test_later_loads_keep_the_new_type(runner: Runner) -> None:
    runner.send_re_isq(8)
    expected = layers(runner)
    runner.unload_model("default")
    assert ask(runner)
    assert layers(runner) == expected


def test_an_unloaded_model_is_loaded_with_the_new_type(runner: Runner) -> None:
    before = layers(runner)
    runner.unload_model("default")
    runner.send_re_isq("afq8", "default")
    assert runner.model_details().status == "loaded"
    assert before != layers(runner)


@pytest.mark.parametrize("dtype", ["Q4_K", "auto", "7", ""])
def test_a_type_that_is_none_is_refused_before_anything_is_touched(
    runner: Runner, dtype: str
) -> None:
    host = runner._roster.host(None)
    with pytest.raises(ValueError, match=r"ISQ type .* unknown, choose one of"):
        runner.send_re_isq(dtype)
    assert runner._roster.host(None) is host


def test_an_unknown_model_is_refused(runner: Runner) -> None:
    with pytest.raises(UnknownModel, match="`zz` was not found"):
        runner.send_re_isq("4", "zz")


def test_running_answers_end_first_and_new_ones_wait(runner: Runner, tiny_llama: Path) -> None:
    stream = ask(runner, stream=True, **LONG)
    chunks = [next(stream)]
    with ThreadPoolExecutor(8) as pool:
        change = pool.submit(runner.send_re_isq, "8")
        while not runner._roster.entry(None).loading:
            assert not change.done()
        later = [pool.submit(ask, runner, **LONG) for _ in range(4)]
        chunks += list(stream)
        change.result(60)
        answers = {said(each.result(60)) for each in later}
    assert said(chunks) == alone(tiny_llama, "4")
    assert answers == {alone(tiny_llama, "8")}


def test_changes_at_once_come_one_after_the_other(runner: Runner) -> None:
    with ThreadPoolExecutor(6) as pool:
        changes = [pool.submit(runner.send_re_isq, each) for each in ("4", "8", "4", "8")]
        asked = [pool.submit(ask, runner) for _ in range(4)]
        assert all(each.exception(60) is None for each in changes + asked)
    assert runner.model_details().status == "loaded"


def test_if_the_files_are_gone_the_old_type_comes_back_with_them(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "own")
    weights, hidden = folder / "model.safetensors", folder / "hidden"
    with Runner(plain(folder), in_situ_quant="4") as runner:
        before = said(ask(runner)), layers(runner)
        weights.rename(hidden)
        with pytest.raises(ValueError, match="safetensors"):
            runner.send_re_isq("8")
        hidden.rename(weights)
        assert (said(ask(runner)), layers(runner)) == before


def test_a_type_that_has_no_room_leaves_the_old_one(tiny_llama: Path) -> None:
    with Runner(plain(tiny_llama), in_situ_quant="4", memory_goal="100KiB") as runner:
        before = layers(runner)
        with pytest.raises(InsufficientMemory, match="memory_goal 100"):
            runner.send_re_isq("8")
        assert runner.get_model_status(str(tiny_llama)) == "unloaded"
        runner.reload_model("default")
        assert layers(runner) == before


def test_a_model_that_was_loaded_without_isq_stays_as_it_is(
    tiny_llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Runner(plain(tiny_llama)) as runner:
        runner.send_re_isq("4")
        assert layers(runner) == "none"
    (line,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "was loaded without in_situ_quant" in line.getMessage()


def test_others_answer_while_one_is_quantized_anew(runner: Runner, tiny_llama: Path) -> None:
    runner.add_model(plain(tiny_llama), "b")
    stream, ended = ask(runner, stream=True, **LONG), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        change = pool.submit(runner.send_re_isq, "8")
        change.add_done_callback(lambda _: ended.set())
        while not ended.is_set():
            assert said(ask(runner, "b"))
        assert change.result() is None
    assert list(stream)
