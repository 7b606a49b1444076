"""What a request leaves out, what generation_config.json says, and what turns a setting off."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import Runner, Which

from .asking import EOS, chat, complete, content, says, tiny_runner


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Iterator[Runner]:
    # Without a prefix cache, so that what is asked twice is answered alike to the last digit.
    with Runner(which=Which.Plain(model_id=str(tiny_llama)), prefix_cache_n=0) as runner:
        yield runner


def test_an_unset_temperature_is_one_and_not_greedy(runner: Runner) -> None:
    unset, one = (chat(runner, temperature=t, seed=4, logprobs=True) for t in (None, 1.0))
    assert repr(unset.choices) == repr(one.choices)  # logprobs show the temperature
    assert content(unset) != content(chat(runner))


@pytest.mark.parametrize("temperature", [1e-8, -1.0])
def test_a_temperature_of_nothing_or_less_is_greedy(runner: Runner, temperature: float) -> None:
    assert content(chat(runner, temperature=temperature, seed=4)) == content(chat(runner))


def test_the_best_token_alone_is_greedy(runner: Runner) -> None:
    assert content(chat(runner, temperature=1.0, top_k=1)) == content(chat(runner))


@pytest.mark.parametrize(
    "off", [{"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.0}, {"min_p": 0.0}, {"min_p": 1.0}]
)
def test_a_filter_outside_its_range_is_off(runner: Runner, off: dict[str, float]) -> None:
    free = content(chat(runner, temperature=1.0, seed=4))
    assert content(chat(runner, temperature=1.0, seed=4, **off)) == free


@pytest.mark.parametrize(
    "config", [{"do_sample": False}, {"temperature": 1e-9}, {"top_k": 1}, {"top_p": 1e-9}]
)
def test_the_models_own_settings_hold_where_a_request_has_none(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    with tiny_runner(tmp_path, **config) as runner:
        greedy = content(chat(runner))
        assert content(chat(runner, temperature=None, seed=4)) == greedy
        asked = chat(runner, temperature=2.0, top_k=0, top_p=1.0, seed=4)
        assert content(asked) != greedy


def test_the_models_own_length_is_not_applied(tmp_path: Path) -> None:
    with tiny_runner(tmp_path, max_new_tokens=2, max_length=3) as runner:
        assert chat(runner, ignore_eos=True).usage.completion_tokens == 8


def test_tokens_that_the_model_suppresses_never_come(tmp_path: Path, runner: Runner) -> None:
    bias = {runner.tokenize_text("~", False)[0]: 100.0}
    assert content(chat(runner, logit_bias=bias)) == "~" * 8
    with tiny_runner(tmp_path, suppress_tokens=list(bias)) as other:
        assert "~" not in content(chat(other, logit_bias=bias))


def test_every_end_token_of_the_model_ends(tmp_path: Path) -> None:
    with tiny_runner(tmp_path, eos_token_id=[EOS, 70, 10**6]) as runner:
        for token in (EOS, 70):
            response = chat(runner, logit_bias={token: 100.0})
            assert (content(response), response.choices[0].finish_reason) == ("", "stop")


def test_a_bias_on_what_is_no_token_says_nothing(runner: Runner) -> None:
    assert content(chat(runner, logit_bias={10**6: 50.0})) == content(chat(runner))


def test_minus_infinity_forbids_a_token(runner: Runner) -> None:
    [a, b] = runner.tokenize_text("ab", False)
    options = {"grammar": "a|b", "grammar_type": "regex", "temperature": 1.0}
    for forbidden, said in [(a, "b"), (b, "a")]:
        assert content(chat(runner, logit_bias={forbidden: -math.inf}, **options)) == said
    everything = dict.fromkeys(range(1000), -math.inf)
    with pytest.raises(ValueError, match="logit_bias forbids every token"):
        chat(runner, logit_bias=everything)


def test_penalties_and_breakers_have_their_defaults(runner: Runner) -> None:
    repeats = content(chat(runner, max_tokens=60, logit_bias={70: 15.0}))
    dry = content(chat(runner, max_tokens=60, logit_bias={70: 15.0}, dry_multiplier=9.0))
    named = {"dry_base": 1.75, "dry_allowed_length": 2}
    named["dry_sequence_breakers"] = ["\n", ":", '"', "*"]
    same = chat(runner, max_tokens=60, logit_bias={70: 15.0}, dry_multiplier=9.0, **named)
    assert dry != repeats
    assert dry == content(same)


def test_whitespace_before_an_answer_is_trimmed(runner: Runner) -> None:
    assert content(says(runner, " \n hi there ")) == "hi there "
    chunks = list(says(runner, " \n hi there ", stream=True))
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "hi there "
    assert complete(runner, grammar=" hi", grammar_type="regex").choices[0].text == " hi"


def test_a_runner_without_a_seed_repeats_itself(tiny_llama: Path) -> None:
    said = []
    for _ in range(2):
        with Runner(which=Which.Plain(model_id=str(tiny_llama))) as runner:
            said.append([content(chat(runner, temperature=1.0)) for _ in range(2)])
    assert said[0] == said[1]
    assert said[0][0] != said[0][1]
