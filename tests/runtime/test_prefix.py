"""The prefix cache through a `Runner`: what is reused, how it shows, and what turns it off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx import PagedCacheType, Runner, Which
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.runtime.boundaries import boundaries
from tests.tiny_checkpoint import write_tiny_llama

from .asking import chat, complete, content

SYSTEM = {"role": "system", "content": "You answer every question as a pirate would. " * 5}


def runner_on(folder: Path, **options: Any) -> Runner:
    return Runner(which=Which.Plain(model_id=str(folder)), **options)


def cached(response: Any) -> int:
    details = response.usage.prompt_tokens_details
    return 0 if details is None else details.cached_tokens


def talk(*turns: str) -> list[dict[str, str]]:
    """A system prompt, then turns of user and assistant."""
    roles = [("user", "assistant")[i % 2] for i in range(len(turns))]
    return [SYSTEM, *({"role": r, "content": t} for r, t in zip(roles, turns, strict=True))]


@pytest.fixture
def runner(tiny_llama: Path) -> Iterator[Runner]:
    with runner_on(tiny_llama) as runner:
        yield runner


def test_a_second_turn_says_how_much_of_it_was_known(runner: Runner) -> None:
    first = chat(runner, messages=talk("Hello there"))
    second = chat(runner, messages=talk("Hello there", content(first), "And then?"))
    assert first.usage.prompt_tokens_details is None
    assert cached(second) >= first.usage.prompt_tokens
    assert second.usage.prompt_tokens > cached(second)


def test_a_stream_says_it_too(runner: Runner) -> None:
    chat(runner, messages=talk("Hello there"))
    *_, last = chat(runner, messages=talk("Hello there"), stream=True)
    assert cached(last) == last.usage.prompt_tokens - 1


def test_choices_of_a_known_prompt_count_it_once(runner: Runner) -> None:
    complete(runner)
    again = complete(runner, n_choices=3)
    assert cached(again) == again.usage.prompt_tokens - 1


def test_answers_are_those_of_a_runner_without_it(runner: Runner, tiny_llama: Path) -> None:
    with runner_on(tiny_llama, prefix_cache_n=0) as plain:
        for question in ("Who goes there?", "Who goes where?", "Who goes there?"):
            warm, cold = (chat(each, messages=talk(question)) for each in (runner, plain))
            assert content(warm) == content(cold)
            assert cached(cold) == 0


@pytest.mark.parametrize(
    "options", [{"prefix_cache_n": 0}, {"prefix_cache_n": None}, {"no_kv_cache": True}]
)
def test_it_can_be_turned_off(tiny_llama: Path, options: dict[str, Any]) -> None:
    with runner_on(tiny_llama, **options) as runner:
        assert [cached(chat(runner)) for _ in range(2)] == [0, 0]


def test_as_many_sequences_are_remembered_as_were_asked_for(tiny_llama: Path) -> None:
    with runner_on(tiny_llama, prefix_cache_n=1) as runner:
        asked = ("one fine day", "two fine days", "one fine day", "one fine day")
        found = [cached(complete(runner, prompt)) for prompt in asked]
    assert found[3] > found[2]


def test_an_unloaded_model_forgets(runner: Runner) -> None:
    complete(runner)
    runner.unload_model(runner.list_models()[0])
    assert cached(complete(runner)) == 0


def test_models_do_not_share(runner: Runner, tiny_llama: Path) -> None:
    other = runner.add_model(Which.Plain(model_id=str(tiny_llama)), "other")
    complete(runner)
    assert cached(complete(runner)) > 0
    runner.set_default_model_id(other)
    assert cached(complete(runner)) == 0


@pytest.mark.parametrize(("dims", "group"), [(64, 64), (96, 32)])
def test_keys_and_values_can_be_packed(tmp_path: Path, dims: int, group: int) -> None:
    write_tiny_llama(tmp_path, hidden_size=4 * dims)
    kind = PagedCacheType.F8E4M3
    with runner_on(tmp_path, pa_cache_type=kind, paged_attn=True, pa_blk_size=32) as runner:
        host = runner._find(None)[0]
        layer = worker().call(lambda: host.engine._rows.fresh_caches().layers[0])
        assert (layer.bits, layer.group_size) == (8, group)
        assert [cached(chat(runner, messages=talk("Hello"))) > 0 for _ in "ab"] == [False, True]


def test_heads_that_cannot_be_packed_are_refused_at_load(tiny_llama: Path) -> None:
    with pytest.raises(ValueError, match="no multiple of 32, so they cannot be packed"):
        runner_on(tiny_llama, pa_cache_type="f8e4m3")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prefix_cache_n": -1}, "prefix_cache_n must be at least 0. Found -1"),
        ({"pa_blk_size": 17}, "pa_blk_size is 17; it may be 8, 16 or 32"),
        ({"pa_cache_type": "f16"}, "pa_cache_type is 'f16'; it may be auto or f8e4m3"),
        ({"paged_attn": True, "no_paged_attn": True}, "are mutually exclusive"),
        ({"paged_attn": True, "no_kv_cache": True}, "exclude each other"),
    ],
)
def test_what_cannot_be_is_refused(tiny_llama: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        runner_on(tiny_llama, **options)


def test_boundaries_are_after_the_first_and_the_last_two_messages() -> None:
    begin, end, text = 1, 2, [9] * 20
    turns = [begin, *text, end, 7] * 5
    assert boundaries([*turns, begin, 7], {begin, end}) == (22, 91, 114)


@pytest.mark.parametrize("prompt", [[], [9] * 50, [1, 9, 2, 1], [*[9] * 30, 2]])
def test_there_need_be_no_boundary(prompt: list[int]) -> None:
    assert boundaries(prompt, {1, 2}) == ()
