"""What a notebook shows of answers: everything, escaped, and nothing that is not there."""

import re
from typing import Any

from mistralrs_mlx import (
    AgenticToolCallRecord,
    CalledFunction,
    ChatCompletionResponse,
    Choice,
    CompletionChoice,
    CompletionResponse,
    PromptTokensDetails,
    ResponseMessage,
    ToolCallResponse,
    Usage,
)
from mistralrs_mlx.api.details import ModelDetails
from mistralrs_mlx.api.notebook import models_html, models_text
from tests.api.test_printed import USAGE


def shown(*messages: ResponseMessage, ended: str = "stop", **options: Any) -> str:
    choices = [
        Choice(finish_reason=ended, index=index, message=message)
        for index, message in enumerate(messages)
    ]
    options = {"id": "1", "created": 2, "model": "m", "usage": USAGE, **options}
    return ChatCompletionResponse(choices=choices, **options)._repr_html_()


def words(html: str) -> str:
    """What is left without the tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_an_answer_shows_its_text_and_what_it_took() -> None:
    html = shown(ResponseMessage(content="Two\n  lines"))
    assert "pre-wrap" in html
    assert ">Two\n  lines<" in html
    used = f"{USAGE.prompt_tokens} + {USAGE.completion_tokens} tokens"
    assert words(html).startswith(f"Two lines {used}")


def test_what_a_model_says_cannot_run() -> None:
    evil = "<img src=x onerror=alert(1)>"
    call = ToolCallResponse(
        index=0, id="1", function=CalledFunction(name=evil, arguments=f'{{"a": "{evil}"}}')
    )
    record = AgenticToolCallRecord(
        name=evil,
        arguments=evil,
        result_content=evil,
        round=0,
        file_ids=[],
        result_images_base64=[],
    )
    message = ResponseMessage(content=evil, reasoning_content=evil, tool_calls=[call])
    html = shown(message, agentic_tool_calls=[record])
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") == 7


def test_thoughts_are_folded() -> None:
    html = shown(ResponseMessage(content="Yes.", reasoning_content="Hmm."))
    assert re.search(r"<details[^>]*><summary>Thinking</summary>.*Hmm\..*</details>.*Yes\.", html)
    assert "<details" not in shown(ResponseMessage(content="Yes."))


def test_calls_of_tools_are_shown_as_calls() -> None:
    call = ToolCallResponse(
        index=0, id="1", function=CalledFunction(name="weather", arguments='{"city": "Oslo"}')
    )
    html = shown(ResponseMessage(tool_calls=[call]), ended="tool_calls")
    assert "weather({&quot;city&quot;: &quot;Oslo&quot;})" in html


def test_only_several_choices_are_numbered() -> None:
    one, other = ResponseMessage(content="a"), ResponseMessage(content="b")
    assert words(shown(one, other)).startswith("1. a 2. b")
    assert words(shown(one)).startswith("a")


def test_an_answer_that_was_cut_says_so() -> None:
    message = ResponseMessage(content="a")
    assert words(shown(message, ended="length")).endswith("cut off by max_tokens")
    assert not words(shown(message)).endswith("cut off by max_tokens")


def test_a_completion_shows_its_text() -> None:
    choice = CompletionChoice(finish_reason="stop", index=0, text="a <b>")
    html = CompletionResponse(id="1", choices=[choice], created=2, model="m", usage=USAGE)
    assert "a &lt;b&gt;" in html._repr_html_()


def test_usage_is_a_table_that_tells_what_was_known_before() -> None:
    values = {
        name: 1.5 for name in Usage.__annotations__ if name.endswith("_sec") and name[0] != "_"
    }
    counts = {"completion_tokens": 3, "prompt_tokens": 40, "total_tokens": 43}
    known = PromptTokensDetails(cached_tokens=32)
    html = Usage(**counts, **values, prompt_tokens_details=known)._repr_html_()
    assert "prompt 40 (32 known before) 1.50 1.50 answer 3 1.50 1.50" in words(html)


def test_models_are_told_by_id_status_and_size() -> None:
    model = ModelDetails(
        model_id="some/<model>",
        status="loaded",
        kind="text",
        architecture="Llama",
        source="mistralrs_mlx",
        dtype="float16",
        quantization="none",
        context_length=512,
        weights_bytes=10**9,
        caches_bytes=10**8,
        kept_bytes=10**8,
    )
    assert models_text([model]) == "'some/<model>': loaded, 1.20 GB"
    assert "some/&lt;model&gt; loaded 1.20 GB Llama none" in words(models_html([model]))
