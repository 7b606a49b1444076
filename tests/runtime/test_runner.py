"""`Runner` on a tiny checkpoint: answers whole and streamed, alone and in a crowd."""

import gc
import threading
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx import ChatCompletionRequest, CompletionRequest, Runner, Which
from mistralrs_mlx.engine.worker import worker


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Iterator[Runner]:
    with Runner(which=Which.Plain(model_id=str(tiny_llama)), seed=1) as runner:
        yield runner


def chat(runner: Runner, content: str = "Hello there", **options: Any) -> Any:
    options = {"max_tokens": 12, "temperature": 0.0, **options}
    messages = options.pop("messages", [{"role": "user", "content": content}])
    request = ChatCompletionRequest(model="default", messages=messages, **options)
    return runner.send_chat_completion_request(request)


def text(response: Any) -> str:
    return response.choices[0].message.content


def complete(runner: Runner, prompt: str = "Once upon", **options: Any) -> Any:
    options = {"max_tokens": 12, "temperature": 0.0, **options}
    request = CompletionRequest(model="default", prompt=prompt, **options)
    return runner.send_completion_request(request)


def busy(runner: Runner) -> bool:
    return worker().call(lambda: runner._find(None)[0].engine.busy)


def test_an_answer_is_signed_with_the_id_that_was_given(runner: Runner, tiny_llama: Path) -> None:
    first, second = chat(runner), chat(runner)
    assert (first.model, first.object) == (str(tiny_llama), "chat.completion")
    assert int(second.id) == int(first.id) + 1
    assert (first.system_fingerprint, first.choices[0].message.role) == ("local", "assistant")


def test_a_stream_says_what_the_whole_answer_says(runner: Runner) -> None:
    whole, chunks = chat(runner, max_tokens=40), list(chat(runner, max_tokens=40, stream=True))
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == text(whole)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.choices[0].delta.role == "assistant" for chunk in chunks)
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_only_the_last_chunk_has_an_end_and_a_usage(runner: Runner) -> None:
    *chunks, last = chat(runner, stream=True)
    assert {(chunk.usage, chunk.choices[0].finish_reason) for chunk in chunks} == {(None, None)}
    assert (last.choices[0].finish_reason, last.usage.completion_tokens) == ("length", 12)


def test_an_exhausted_stream_stays_exhausted(runner: Runner) -> None:
    stream = chat(runner, stream=True)
    assert iter(stream) is stream
    list(stream)
    assert list(stream) == []


def test_two_streams_can_be_read_in_turn(runner: Runner) -> None:
    alone = [text(chat(runner, word, max_tokens=20)) for word in ("red", "green")]
    streams = [chat(runner, word, max_tokens=20, stream=True) for word in ("red", "green")]
    texts = ["", ""]
    for pair in zip_longest(*streams):
        for index, chunk in enumerate(pair):
            texts[index] += chunk.choices[0].delta.content if chunk else ""
    assert texts == alone


@pytest.mark.parametrize("way", ["drop", "close", "with"])
def test_a_stream_that_nobody_reads_frees_its_row(runner: Runner, way: str) -> None:
    stream = chat(runner, max_tokens=100_000, ignore_eos=True, stream=True)
    next(stream)
    if way == "close":
        stream.close()
    elif way == "with":
        with stream:
            pass
    del stream
    gc.collect()
    for _ in range(50):
        if not busy(runner):
            return
    pytest.fail("the row still runs")


def test_a_stop_string_cuts_the_text_and_is_named(runner: Runner) -> None:
    whole = text(chat(runner, max_tokens=40))
    stop = whole[6:9]
    choice = chat(runner, max_tokens=40, stop_seqs=[stop, ""]).choices[0]
    assert choice.message.content == whole[: whole.index(stop)]
    assert (choice.finish_reason, choice.stop_sequence) in (("stop", stop), ("stop", None))


def test_a_streamed_stop_string_never_shows_in_part(runner: Runner) -> None:
    whole = text(chat(runner, max_tokens=40))
    stop = whole[6:12]
    chunks = list(chat(runner, max_tokens=40, stop_seqs=stop, stream=True))
    assert "".join(c.choices[0].delta.content for c in chunks) == whole[: whole.index(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_choices_differ_and_are_counted_together(runner: Runner) -> None:
    response = chat(runner, n_choices=3, temperature=1.5, seed=5)
    assert [choice.index for choice in response.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in response.choices}) > 1
    assert response.usage.completion_tokens <= 36
    assert response.choices[0].message.content == text(chat(runner, temperature=1.5, seed=5))


def test_streamed_choices_come_with_their_index_until_all_have_ended(runner: Runner) -> None:
    whole = chat(runner, n_choices=3, temperature=1.5, seed=5)
    texts, ended = ["", "", ""], 0
    for chunk in chat(runner, n_choices=3, temperature=1.5, seed=5, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content
        ended += chunk.choices[0].finish_reason is not None
    assert texts == [choice.message.content for choice in whole.choices]
    assert (ended, chunk.usage.completion_tokens) == (3, whole.usage.completion_tokens)


def test_the_likeliest_completions_are_kept(runner: Runner) -> None:
    every = complete(runner, n_choices=4, best_of=None, temperature=2.0, seed=9)
    best = complete(runner, n_choices=4, best_of=2, temperature=2.0, seed=9)
    texts = [choice.text for choice in every.choices]
    assert len(texts) == 4
    assert [choice.index for choice in best.choices] == [0, 1]
    assert {choice.text for choice in best.choices} <= set(texts)


def test_a_completion_echoes_its_prompt_and_adds_a_suffix(runner: Runner) -> None:
    plain = complete(runner).choices[0].text
    framed = complete(runner, echo_prompt=True, suffix="!").choices[0].text
    assert framed == "Once upon" + plain + "!"


def test_logprobs_name_every_token_in_the_apis_own_way(runner: Runner) -> None:
    response = chat(runner, logprobs=True, top_logprobs=3)
    entries = response.choices[0].logprobs.content
    assert len(entries) == response.usage.completion_tokens
    for entry in entries:
        assert bytes(entry.bytes).decode(errors="replace") == entry.token
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob)  # it was greedy
        assert [type(top.token) for top in entry.top_logprobs] == [int] * 3
    assert chat(runner, top_logprobs=3).choices[0].logprobs is None


def test_a_streamed_token_has_one_logprob(runner: Runner) -> None:
    whole = chat(runner, logprobs=True).choices[0].logprobs.content
    chunks = list(chat(runner, logprobs=True, stream=True))
    streamed = [chunk.choices[0].logprobs for chunk in chunks]
    assert [entry.token for entry in streamed] == [entry.token for entry in whole]


def test_the_same_seed_says_the_same_alone_and_in_a_crowd(runner: Runner) -> None:
    alone = text(chat(runner, temperature=1.0, seed=3, max_tokens=30))
    crowd = [chat(runner, f"{i}", max_tokens=60, temperature=1.0, stream=True) for i in range(4)]
    assert text(chat(runner, temperature=1.0, seed=3, max_tokens=30)) == alone
    assert text(chat(runner, temperature=1.0, seed=4, max_tokens=30)) != alone
    for stream in crowd:
        stream.close()


def test_a_runner_with_the_same_seed_repeats_itself(tiny_llama: Path) -> None:
    said = []
    for _ in range(2):
        with Runner(which=Which.Plain(model_id=str(tiny_llama)), seed=8) as runner:
            said.append([text(chat(runner, temperature=1.0)) for _ in range(3)])
    assert said[0] == said[1]
    assert len(set(said[0])) > 1


def test_a_prompt_that_is_too_long_is_refused_or_cut_at_its_start(runner: Runner) -> None:
    length = runner.max_sequence_length()
    with pytest.raises(ValueError, match=f"greater than {length}, perhaps consider"):
        complete(runner, "word " * length)
    response = complete(runner, "word " * length, truncate_sequence=True, max_tokens=3)
    assert response.usage.prompt_tokens == length - 3


def test_an_answer_ends_where_the_context_does(runner: Runner) -> None:
    length = runner.max_sequence_length()
    tokens = len(runner.tokenize_text("word " * 40))
    response = complete(runner, "word " * 40, max_tokens=None, ignore_eos=True)
    assert response.choices[0].finish_reason == "length"
    assert response.usage.completion_tokens == length - tokens


def test_prompt_logits_rate_what_the_model_says_next(runner: Runner) -> None:
    tokens = runner.tokenize_text("Once upon")
    logits = runner.logits("Once upon")
    assert (logits.shape[0], logits.dtype) == (len(tokens), np.float32)
    assert np.array_equal(logits, runner.logits(tokens))
    said = complete(runner, max_tokens=1).choices[0].text
    assert runner.detokenize_text([int(logits[-1].argmax())]) == said


@pytest.mark.parametrize("prompt", [[10**6], [-1], [2**32]])
def test_logits_of_tokens_outside_the_vocabulary_are_refused(
    runner: Runner, prompt: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"the token 1000000|prompt\[0\] must be at"):
        runner.logits(prompt)


def test_threads_are_answered_together(runner: Runner) -> None:
    words = [f"word {i}" for i in range(8)]
    alone = [text(chat(runner, word, max_tokens=20)) for word in words]
    said: dict[str, str] = {}

    def ask(word: str) -> None:
        said[word] = text(chat(runner, word, max_tokens=20))

    threads = [threading.Thread(target=ask, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [said[word] for word in words] == alone


def test_unloading_gives_memory_back_and_reloading_says_the_same(tiny_llama: Path) -> None:
    before = mx.get_active_memory()
    model_id = str(tiny_llama)
    with Runner(which=Which.Plain(model_id=model_id)) as runner:
        said = text(chat(runner))
        loaded = mx.get_active_memory()
        runner.unload_model(model_id)
        gc.collect()
        assert mx.get_active_memory() - before < 0.01 * (loaded - before) + 4096
        assert runner.list_models_with_status() == [(model_id, "unloaded")]
        assert runner.list_unloaded_models() == [model_id]
        assert text(chat(runner)) == said
        assert runner.is_model_loaded(model_id)


def test_unloading_ends_what_is_being_answered_with_a_reason(tiny_llama: Path) -> None:
    with Runner(which=Which.Plain(model_id=str(tiny_llama))) as runner:
        stream = chat(runner, max_tokens=100_000, ignore_eos=True, stream=True)
        next(stream)
        runner.unload_model(str(tiny_llama))
        with pytest.raises(ValueError, match="was unloaded while it answered"):
            list(stream)


def test_models_are_named_and_unknown_names_refused(runner: Runner, tiny_llama: Path) -> None:
    assert runner.list_models() == [str(tiny_llama)]
    assert runner.get_default_model_id() == str(tiny_llama)
    assert (
        text(
            runner.send_chat_completion_request_to_model(
                ChatCompletionRequest(model="x", messages="Hi", max_tokens=2), "default"
            )
        )
        is not None
    )
    with pytest.raises(ValueError, match="model `zz` was not found"):
        runner.tokenize_text("a", True, None, "zz")


def test_nothing_is_printed(runner: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    chat(runner)
    assert capfd.readouterr().out == ""


def test_progress_is_told_of_loading_and_of_prompts(tiny_llama: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which=which, progress=lambda *each: told.append(each)) as runner:
        tokens = chat(runner).usage.prompt_tokens
    loads = [each for each in told if each[0] == "load"]
    assert loads[-1][1] == loads[-1][2]
    assert told[-1] == ("prefill", tokens, tokens)


@pytest.mark.parametrize("length", [1, 3])
def test_the_last_chunk_of_a_stopped_stream_has_no_text(runner: Runner, length: int) -> None:
    whole = text(chat(runner, max_tokens=40))
    for start in range(4, 20):
        stop = whole[start : start + length]
        chunks = list(chat(runner, max_tokens=40, stop_seqs=[stop], stream=True))
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert chunks[-1].choices[0].delta.content == ""
        said = "".join(chunk.choices[0].delta.content for chunk in chunks)
        assert said == whole[: whole.index(stop)]
