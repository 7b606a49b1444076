"""Several choices, logprobs, and the numbers of a response."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from mistralrs_mlx import Runner, Which

from .asking import chat, complete, content, says


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Iterator[Runner]:
    with Runner(which=Which.Plain(model_id=str(tiny_llama))) as runner:
        yield runner


def test_likely_tokens_default_to_one_and_may_be_none(runner: Runner) -> None:
    for asked, given in [(None, 1), (0, 0), (5, 5)]:
        [choice] = chat(runner, logprobs=True, top_logprobs=asked).choices
        assert {len(entry.top_logprobs) for entry in choice.logprobs.content} == {given}


def test_more_likely_tokens_than_there_are_is_all_of_them(runner: Runner) -> None:
    [choice] = chat(runner, logprobs=True, top_logprobs=10**6, max_tokens=2).choices
    for entry in choice.logprobs.content:
        values = [top.logprob for top in entry.top_logprobs]
        assert len(values) == runner.logits("a").shape[1]
        assert math.fsum(map(math.exp, values)) == pytest.approx(1, abs=1e-3)  # natural logs
        assert values == sorted(values, reverse=True)


def test_a_likely_token_is_an_id_with_its_text(runner: Runner) -> None:
    [token] = runner.tokenize_text("~", False)
    options = {"logprobs": True, "logit_bias": {token: 100.0}, "max_tokens": 1}
    [entry] = chat(runner, **options).choices[0].logprobs.content
    [top] = entry.top_logprobs
    assert (top.token, top.bytes) == (token, "~")
    assert (entry.token, entry.bytes) == ("~", b"~")


def test_likely_tokens_without_logprobs_are_not_told(runner: Runner) -> None:
    assert chat(runner, top_logprobs=3).choices[0].logprobs is None
    chunks = chat(runner, top_logprobs=3, stream=True)
    assert {chunk.choices[0].logprobs for chunk in chunks} == {None}


def test_a_negative_number_of_likely_tokens_is_refused(runner: Runner) -> None:
    with pytest.raises(ValueError, match="top_logprobs"):
        chat(runner, logprobs=True, top_logprobs=-1)


def test_a_completion_returns_its_best_choice_unless_told_otherwise(runner: Runner) -> None:
    for options, given in [({}, 1), ({"best_of": None}, 3), ({"best_of": 9}, 3)]:
        assert len(complete(runner, n_choices=3, temperature=1.0, **options).choices) == given


def test_the_best_choice_is_the_likeliest(runner: Runner) -> None:
    options = {"grammar": "x|y", "grammar_type": "regex", "temperature": 1.0, "seed": 1}
    options["logit_bias"] = {runner.tokenize_text("y", False)[0]: 2.0}
    every = complete(runner, n_choices=12, best_of=None, **options)
    assert {choice.text for choice in every.choices} == {"x", "y"}
    [best] = complete(runner, n_choices=12, **options).choices
    assert best.text == "y"


def test_more_choices_than_rows_are_all_answered(tiny_llama: Path) -> None:
    with Runner(which=Which.Plain(model_id=str(tiny_llama)), max_seqs=2) as runner:
        running = chat(runner, max_tokens=40, ignore_eos=True, stream=True)
        response = chat(runner, n_choices=5, temperature=1.0)
        assert [choice.index for choice in response.choices] == [0, 1, 2, 3, 4]
        assert list(running)[-1].usage.completion_tokens == 40


def test_an_answer_has_the_form_of_mistral_rs(runner: Runner) -> None:
    response = chat(runner)
    assert response.usage.total_tokens == response.usage.prompt_tokens + 8
    assert (type(response.created), response.id.isdecimal()) == (int, True)
    assert (response.session_id, response.adapter_generation) == (None, None)
    assert (response.agentic_tool_calls, response.files) == (None, None)


def test_a_completion_has_the_form_of_mistral_rs(runner: Runner, tiny_llama: Path) -> None:
    response = complete(runner)
    assert (response.object, response.model) == ("text_completion", str(tiny_llama))
    assert response.choices[0].logprobs is None


def test_the_first_request_of_a_runner_has_number_one(tiny_llama: Path) -> None:
    with Runner(which=Which.Plain(model_id=str(tiny_llama))) as runner:
        assert [chat(runner).id, complete(runner).id] == ["1", "2"]


def test_every_chunk_of_plain_text_says_a_string(runner: Runner) -> None:
    *chunks, last = says(runner, "größe 😀!", stream=True)
    assert all(isinstance(chunk.choices[0].delta.content, str) for chunk in [*chunks, last])
    texts = [chunk.choices[0].delta.content for chunk in [*chunks, last]]
    assert "".join(texts) == "größe 😀!"
    assert not any("\ufffd" in text for text in texts)


def test_unset_streaming_is_none(runner: Runner) -> None:
    assert content(chat(runner, stream=None)) == content(chat(runner))
