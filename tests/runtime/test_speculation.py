"""`which_draft` and `prompt_lookup`: the same answers, sooner; and what cannot be is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mistralrs_mlx import ChatCompletionRequest, Runner, Which
from mistralrs_mlx.engine.decode import Decode
from mistralrs_mlx.engine.verify import Verify
from mistralrs_mlx.errors import MistralRsMlxError
from tests.tiny_checkpoint import write_tiny_llama

from .asking import chat, complete, content

PARROT = "one two three four one two three four one two three four one two"


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The draft model's checkpoint: smaller, with other weights and the same tokens."""
    folder = tmp_path_factory.mktemp("hub") / "draft"
    return write_tiny_llama(folder, seed=1, num_hidden_layers=1)


@pytest.fixture(scope="module")
def plain(tiny_llama: Path) -> Iterator[Runner]:
    with Runner(which=Which.Plain(model_id=str(tiny_llama)), seed=1) as runner:
        yield runner


@pytest.fixture(scope="module", params=["itself", "another", "lookup"])
def drafted(tiny_llama: Path, drafts: Path, request: pytest.FixtureRequest) -> Iterator[Runner]:
    which = Which.Plain(model_id=str(tiny_llama))
    other = {"itself": which, "another": Which.Plain(model_id=str(drafts))}.get(request.param)
    ways = {"prompt_lookup": 6} if other is None else {"which_draft": other, "speculative_gamma": 5}
    with Runner(which=which, seed=1, **ways) as runner:
        yield runner


def tokens(answer: Any) -> list[list[str]]:
    return [[each.token for each in choice.logprobs.content] for choice in answer.choices]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_usage_and_logprobs_are_those_without_drafts(
    plain: Runner, drafted: Runner, temperature: float
) -> None:
    options = {"max_tokens": 40, "temperature": temperature, "seed": 4, "logprobs": True}
    options |= {"top_logprobs": 2, "n_choices": 2, "ignore_eos": True}
    one, other = (chat(runner, PARROT, **options) for runner in (plain, drafted))
    assert tokens(one) == tokens(other)
    assert [each.message.content for each in one.choices] == [
        each.message.content for each in other.choices
    ]
    assert other.usage.completion_tokens == one.usage.completion_tokens == 80


def test_a_stop_string_within_a_draft_ends_the_text_before_it(
    plain: Runner, drafted: Runner
) -> None:
    whole = complete(plain, PARROT, max_tokens=40, ignore_eos=True).choices[0].text
    stop = whole[20:23]
    for runner in (plain, drafted):
        answer = complete(runner, PARROT, max_tokens=40, ignore_eos=True, stop_seqs=[stop])
        assert answer.choices[0].text == whole[: whole.index(stop)]
        assert answer.choices[0].finish_reason == "stop"


def test_streams_bring_the_same_text(plain: Runner, drafted: Runner) -> None:
    request = ChatCompletionRequest(
        model="default", messages=PARROT, max_tokens=30, temperature=0.0, stream=True
    )
    one, other = (
        "".join(
            chunk.choices[0].delta.content or ""
            for chunk in runner.send_chat_completion_request(request)
        )
        for runner in (plain, drafted)
    )
    assert one == other


def test_a_draft_model_that_is_right_saves_passes(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    for owner, name in ((Verify, "_pass"), (Decode, "_dispatch")):
        inner = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, inner=inner: (passes.append(1), inner(*a))[1])
    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which=which, which_draft=which) as runner:
        answer = chat(runner, max_tokens=60, ignore_eos=True)
    assert answer.usage.completion_tokens == 60
    assert len(passes) < 20


def test_a_grammar_holds_beside_rows_with_drafts(drafted: Runner) -> None:
    pytest.importorskip("llguidance")
    answer = chat(drafted, grammar="(ab)+c", grammar_type="regex", max_tokens=30)
    assert content(answer).replace("ab", "").rstrip("c") == ""


def refused(which: Which, **options: Any) -> str:
    with pytest.raises(MistralRsMlxError) as caught:
        Runner(which=which, **options)
    return str(caught.value)


def test_models_with_other_tokens_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "draft")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"][1]["content"] = "<|other|>"
    tokenizer["model"]["vocab"]["<|other|>"] = tokenizer["model"]["vocab"].pop("<|im_start|>")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    words = refused(
        Which.Plain(model_id=str(tiny_llama)), which_draft=Which.Plain(model_id=str(folder))
    )
    assert words.startswith(
        "Target and draft models' tokenizer vocab do not match. "
        "This is required for speculative decoding."
    )


def test_what_cannot_be_is_refused(tiny_llama: Path) -> None:
    which = Which.Plain(model_id=str(tiny_llama))
    assert "speculative_gamma is 0" in refused(which, which_draft=which, speculative_gamma=0)
    assert "prompt_lookup must be at least 0. Found -1" in refused(which, prompt_lookup=-1)
    assert "one of them" in refused(which, which_draft=which, prompt_lookup=4)
    assert "no_kv_cache" in refused(which, which_draft=which, no_kv_cache=True)
    embedding = Which.Embedding(model_id=str(tiny_llama))
    assert "category do not match" in refused(which, which_draft=embedding)
    assert "category do not match" in refused(embedding, which_draft=which)


def test_positions_that_depend_on_the_length_are_refused_or_left_alone(
    tmp_path: Path, tiny_llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scaling = {"type": "dynamic", "factor": 2.0}
    which = Which.Plain(model_id=str(write_tiny_llama(tmp_path / "grows", rope_scaling=scaling)))
    other = Which.Plain(model_id=str(tiny_llama))
    assert "the target model cannot" in refused(which, which_draft=other)
    assert "the draft model cannot" in refused(other, which_draft=which)
    with Runner(which=which, prompt_lookup=4) as runner:
        assert content(chat(runner)) is not None
    assert "prompt_lookup has no effect" in caplog.text


def test_a_draft_model_is_unloaded_and_loaded_with_its_model(
    tiny_llama: Path, drafts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    which = Which.Plain(model_id=str(tiny_llama))
    caplog.set_level("INFO")
    held = mx.get_active_memory()
    with Runner(which=which, which_draft=Which.Plain(model_id=str(drafts))) as runner:
        before = content(chat(runner))
        assert mx.get_active_memory() > held + 500_000
        runner.unload_model(str(tiny_llama))
        assert mx.get_active_memory() < held + 10_000  # the models have 100 times as many
        assert content(chat(runner)) == before
        runner.add_model(which, "another")
    assert caplog.text.count(f"{drafts}: Llama") == 2
