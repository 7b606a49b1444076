"""What reaches the chat template, and which models and words a `Runner` refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from mistralrs_mlx import ChatCompletionRequest, CompletionRequest, Runner, Which
from tests.tiny_checkpoint import CHATML, write_tiny_llama

from .asking import chat, complete, content, prompted, says

THINKING = "{{ enable_thinking }} {{ reasoning_effort | d('-') }} {{ reasoning_strength | d('-') }}"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = '<tool_call>{"name": "g", "arguments": {}}</tool_call>'


@pytest.fixture(scope="module")
def runner(tiny_llama: Path) -> Iterator[Runner]:
    with Runner(which=Which.Plain(model_id=str(tiny_llama))) as runner:
        yield runner


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "True - -"),
        ({"enable_thinking": False}, "False - -"),
        ({"reasoning_effort": " HIGH "}, "True high high"),
        ({"reasoning_effort": "none"}, "False off off"),
        ({"reasoning_effort": "max"}, "True xhigh xhigh"),
        ({"reasoning_effort": "low", "enable_thinking": True}, "True low low"),
    ],
)
def test_thinking_reaches_the_template(
    tiny_llama: Path, options: dict[str, Any], told: str
) -> None:
    assert prompted(tiny_llama, THINKING, **options) == told


def test_tools_reach_the_template_unless_they_are_off(tiny_llama: Path) -> None:
    shown = "{{ tools is none }} {{ tools[0].function.name if tools }}"
    assert prompted(tiny_llama, shown, tool_schemas=[TOOL]) == "False f"
    assert prompted(tiny_llama, shown, tool_schemas=[TOOL], tool_choice="none") == "True "


def test_calls_and_results_reach_the_template(tiny_llama: Path) -> None:
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": "x"}'}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "content": "rain", "tool_call_id": "1", "name": "f"},
    ]
    shown = (
        "{{ messages[0].role }} {{ messages[0].content }} {{ messages[2].tool_call_id }} "
        "{{ messages[1].tool_calls[0].function.arguments.a }} {{ messages[2].content }}"
    )
    told = prompted(tiny_llama, shown, messages=messages)
    assert told == "developer Be brief. 1 x rain"


def test_parts_of_text_are_joined_by_spaces(runner: Runner) -> None:
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]
    for message in (parts, [{"type": "text", "text": "Hello there"}]):
        response = chat(runner, messages=[{"role": "user", "content": message}])
        assert content(response) == content(chat(runner, "Hello there"))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"content": "x"}, "no `role`"),
        ({"role": "user"}, "no `content`"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "a.png"}]}, "only text"),
        ({"role": "user", "content": [{"type": "dance"}]}, "it should be"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused(
    runner: Runner, message: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        chat(runner, messages=[message])


def test_no_messages_are_refused(runner: Runner) -> None:
    with pytest.raises(ValueError, match="messages is empty"):
        chat(runner, messages=[])


def test_a_template_that_refuses_is_a_value_error(tiny_llama: Path) -> None:
    refusing = "{{ raise_exception('roles must alternate') }}"
    with Runner(which=Which.Plain(model_id=str(tiny_llama)), chat_template=refusing) as runner:
        with pytest.raises(ValueError, match="roles must alternate"):
            chat(runner)
        stream = chat(runner, stream=True)
        with pytest.raises(ValueError, match="roles must alternate"):
            next(stream)


def test_a_model_without_a_template_takes_a_text_as_it_stands(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path)
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}', encoding="utf-8")
    with Runner(which=Which.Plain(model_id=str(folder))) as runner:
        assert chat(runner, "Once upon").usage.prompt_tokens == len(
            runner.tokenize_text("Once upon")
        )
        with pytest.raises(ValueError, match="does not have a chat template"):
            chat(runner, messages=[{"role": "user", "content": "Hi"}])


def test_an_explicit_template_goes_first(tiny_llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("{{ raise_exception('mine') }}", encoding="utf-8")
    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which, chat_template=CHATML, jinja_explicit=str(path)) as runner:
        with pytest.raises(ValueError, match="mine"):
            chat(runner)
        assert complete(runner).choices  # which needs no template


def test_a_call_of_an_unknown_tool_is_text(runner: Runner) -> None:
    [choice] = says(runner, CALL, tool_schemas=[TOOL]).choices
    assert (choice.message.content, choice.message.tool_calls) == (CALL, None)
    assert choice.finish_reason == "stop"


def test_tools_of_a_completion_are_refused(runner: Runner) -> None:
    for options in ({"tool_schemas": [TOOL]}, {"tool_choice": "required"}):
        with pytest.raises(ValueError, match="a completion has no chat template"):
            complete(runner, **options)
    assert complete(runner, tool_choice="auto").choices


def test_words_become_tokens_and_back(runner: Runner) -> None:
    tokens = runner.tokenize_text("Hello there!", True, None)
    assert runner.tokenize_text("Hello there!") == tokens
    assert runner.tokenize_text("Hello there!", True, True) == tokens
    assert runner.detokenize_text([*tokens, 10**6, 2], True) == "Hello there!"
    assert runner.detokenize_text([*tokens, 2], False) == "Hello there!<|im_end|>"
    assert runner.tokenize_text("<|im_end|>", False) == [2]
    assert runner.detokenize_text(range(3, 5), True) == runner.detokenize_text([3, 4], True)


@pytest.mark.parametrize(
    ("tokens", "error"),
    [
        ([-1], OverflowError),
        ([2**32], OverflowError),
        (["a"], TypeError),
        ([1.0], TypeError),
        ("ab", TypeError),
        (None, TypeError),
    ],
)
def test_what_is_no_list_of_tokens_has_no_text(
    runner: Runner, tokens: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="tokens"):
        runner.detokenize_text(tokens, True)


def test_what_is_no_text_has_no_tokens(runner: Runner) -> None:
    with pytest.raises(TypeError, match="argument 'text' must be a string, found 3"):
        runner.tokenize_text(cast(Any, 3), True, None)


def test_every_method_refuses_an_unknown_model(runner: Runner) -> None:
    talk = ChatCompletionRequest(model="default", messages="Hi")
    text = CompletionRequest(model="default", prompt="Hi")
    for ask in (
        lambda: runner.send_chat_completion_request(talk, model_id="zz"),
        lambda: runner.send_completion_request(text, model_id="zz"),
        lambda: runner.send_completion_request_to_model(text, "zz"),
        lambda: runner.detokenize_text([1], True, "zz"),
        lambda: runner.max_sequence_length("zz"),
        lambda: runner.set_default_model_id("zz"),
        lambda: runner.unload_model("zz"),
        lambda: runner.reload_model("zz"),
        lambda: runner.remove_model("zz"),
    ):
        with pytest.raises(ValueError, match="model `zz` was not found"):
            ask()
    assert (runner.get_model_status("zz"), runner.is_model_loaded("zz")) == (None, False)


def test_a_model_may_be_called_default(runner: Runner) -> None:
    request = CompletionRequest(model="anything", prompt="Hi", max_tokens=1)
    assert runner.send_completion_request(request, model_id="default").model != "default"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_seqs": 0}, "max_seqs must be at least 1"),
        ({"token_source": "elsewhere"}, "Invalid token source format"),
        ({"in_situ_quant": "Q4_K"}, "Q4_K"),
        ({"chat_template": "nowhere.jinja"}, "nowhere.jinja"),
        ({"tool_callbacks": ["f"]}, "tool_callbacks"),
    ],
)
def test_a_runner_that_cannot_be_says_why(
    tiny_llama: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Runner(which=Which.Plain(model_id=str(tiny_llama)), **options)
