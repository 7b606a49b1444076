"""What a request asks for is what its host generates: nothing is lost between the two."""

from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from mistralrs_mlx import Runner, Which
from mistralrs_mlx.engine.params import SamplingParams
from mistralrs_mlx.runtime.host import Generation, Host

from .asking import chat, complete


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Iterator[Runner]:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{# <tool_call> #}"
    with Runner(Which.Plain(model_id=str(tiny_llama)), chat_template=template) as runner:
        yield runner


@pytest.fixture
def host(runner: Runner) -> Any:
    return runner._roster.host(None)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Generation]:
    """Every generation that a test begins."""
    known: list[Generation] = []
    start = Host.start
    monkeypatch.setattr(
        Host, "start", lambda self, made: (known.append(made), start(self, made))[1]
    )
    return known


@pytest.mark.parametrize("ask", [chat, complete])
@pytest.mark.parametrize("ignores", [False, True])
def test_what_a_request_asks_for_is_generated(
    runner: Runner, begun: list[Generation], ask: Any, ignores: bool
) -> None:
    ask(runner, "Hi", ignore_eos=ignores, grammar="a+", grammar_type="regex", n_choices=2)
    (made,) = begun
    assert (made.ignore_eos, made.choices, made.max_tokens) == (ignores, 2, 8)
    assert made.constraint.keywords == {"ignore_eos": ignores}
    assert made.continues is (ask is complete)  # a chat's answer begins a text of its own


def test_choices_are_only_rated_where_some_are_dropped(
    runner: Runner, begun: list[Generation]
) -> None:
    complete(runner, n_choices=2, best_of=None)
    complete(runner, n_choices=2, best_of=1)
    assert [made.params.top_logprobs for made in begun] == [None, 0]


def test_marks_of_calls_are_text_for_a_model_that_may_call(
    runner: Runner, host: Host, begun: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.tokenizer, "added", {70: "<tool_call>", 71: "<other>"})
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    chat(runner)
    chat(runner, tool_schemas=[tool])
    assert [made.visible for made in begun] == [frozenset(), {70}]


def test_what_a_generation_says_is_said_to_its_sequences(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(
        "mistralrs_mlx.runtime.host.Detokenizer", lambda _, **options: told.update(options)
    )
    mark = min(host.tokenizer.special_ids)
    asked = {"slot": 2, "visible": frozenset({mark}), "continues": True}
    prompt = [*[5] * 20, mark, *[6] * 20, mark, 7]
    each = host._sequence(
        Generation(prompt=prompt, params=SamplingParams(), **asked), 1, SimpleQueue()
    )
    assert (each.choice, each.slot, each.salt) == (1, 2, (2,))  # adapters share no prefix
    assert each.silent_tokens == each.stop_tokens == host.eos != set()
    assert each.boundaries == (21, 42)
    assert told == {"after": 7, "visible": {mark}}
