"""A stream's events: their order, their numbers, and what each says."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mistralrs_mlx import Runner, Which
from mistralrs_mlx.server import Settings
from mistralrs_mlx.server.failure import Failure
from mistralrs_mlx.server.responses.answers import fresh_answer
from mistralrs_mlx.server.responses.bodies import ResponsesBody
from mistralrs_mlx.server.responses.work import Work
from tests.server.asking import busy, until
from tests.server.conftest import TEMPLATE, live

from .saying import CALL, PATH, TOOL, events, only, post

LAST = ("response.completed", "response.incomplete", "response.failed")


def told(client: httpx.Client, **fields: Any) -> list[dict[str, Any]]:
    """All events of a stream, which are numbered and end once."""
    fields |= fields.pop("extra_body", {})
    found = events(post(client, stream=True, **fields).text)
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    assert [each["type"] in LAST for each in found] == [False] * (len(found) - 1) + [True]
    return found


def kinds(found: list[dict[str, Any]]) -> list[str]:
    """The types, each row of deltas as one."""
    named = [each["type"].removeprefix("response.") for each in found]
    return [kind for before, kind in zip(["", *named], named, strict=False) if kind != before]


@pytest.fixture(scope="module")
def thinking(tiny_llama: Path) -> Iterator[httpx.Client]:
    """A client of a model that thinks before it answers."""
    template = TEMPLATE + "<think>{# </think> #}"
    with (
        Runner(Which.Plain(model_id=str(tiny_llama)), chat_template=template) as runner,
        live(runner) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def test_words_are_told_in_openais_order(client: httpx.Client) -> None:
    found = told(client, **only("The sky."))
    assert kinds(found) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [each["response"]["status"] for each in (found[0], found[1])] == ["in_progress"] * 2
    assert found[2]["item"]["content"] == []
    assert found[-4]["text"] == found[-3]["part"]["text"] == "The sky."
    assert found[-1]["response"]["output"] == [found[-2]["item"]]
    assert found[-1]["response"]["usage"]["output_tokens"] > 0


def test_a_call_is_told_in_openais_order(client: httpx.Client) -> None:
    found = told(client, tools=[TOOL], **only(CALL))
    assert kinds(found) == [
        "created", "in_progress", "output_item.added", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert found[2]["item"]["arguments"] == ""
    assert found[-2]["item"]["arguments"] == found[-3]["arguments"] == '{"place":"Oslo"}'


def test_words_before_a_call_are_an_item_of_their_own(client: httpx.Client) -> None:
    found = told(client, tools=[TOOL], **only(f"I look.\n{CALL}"))
    added = [each for each in found if each["type"] == "response.output_item.added"]
    assert [each["item"]["type"] for each in added] == ["message", "function_call"]
    assert [each["output_index"] for each in added] == [0, 1]
    assert [each["type"] for each in found[-1]["response"]["output"]] == [
        "message", "function_call",
    ]  # fmt: skip


def test_thoughts_are_told_before_the_words(thinking: httpx.Client) -> None:
    found = told(thinking, include=["message.output_text.logprobs"], **only("So.</think>Blue."))
    assert kinds(found) == [
        "created", "in_progress", "output_item.added", "content_part.added",
        "reasoning_text.delta", "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    thought, said = found[-1]["response"]["output"]
    assert (thought["summary"], thought["content"][0]["text"]) == ([], "So.")
    words = said["content"][0]
    assert words["text"] == "Blue."
    assert "".join(each["token"] for each in words["logprobs"])[:4] == "Blue"  # without </think>


def test_thoughts_are_counted_and_cut_off_as_words_are(thinking: httpx.Client) -> None:
    response = told(thinking)[-1]["response"]
    (thought,) = response["output"]
    assert (thought["type"], thought["status"]) == ("reasoning", "incomplete")
    details = response["usage"]["output_tokens_details"]
    assert 0 < details["reasoning_tokens"] <= response["usage"]["output_tokens"] == 8


def test_thoughts_go_back_to_the_template(thinking: httpx.Client) -> None:
    first = told(thinking, **only("So.</think>Blue."))[-1]["response"]
    more = {"role": "user", "content": "And?"}
    back = post(thinking, input=[{"role": "user", "content": "Hello"}, *first["output"], more])
    kept = post(thinking, input=[more], previous_response_id=first["id"])
    tokens = [each.json()["usage"]["input_tokens"] for each in (back, kept)]
    assert tokens[0] == tokens[1]


def test_an_answer_without_a_word_is_an_empty_message(client: httpx.Client) -> None:
    (stop,) = client.post("/tokenize", json={"prompt": "<|im_end|>"}).json()["tokens"]
    response = told(client, logit_bias={str(stop): 100})[-1]["response"]
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("completed", "")


class Breaking:
    """A stream of chunks that breaks after the third."""

    def __init__(self, chunks: AsyncIterator[Any], error: Exception) -> None:
        self._chunks, self._left, self._error = chunks, 3, error

    def __aiter__(self) -> "Breaking":
        return self

    async def __anext__(self) -> Any:
        if self._left == 0:
            raise self._error
        self._left -= 1
        return await anext(self._chunks)

    def close(self) -> None:
        self._chunks.close()  # type: ignore[attr-defined]


@pytest.fixture
def breaking(runner: Runner, monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    """Have every streamed chat break in its middle."""
    chat = runner.chat

    async def broken(*arguments: Any) -> Any:
        return Breaking(await chat(*arguments), request.param)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "chat", broken)


OURS = ValueError("no memory")
OURS.__cause__ = RuntimeError("Metal")
ERRORS = {
    "theirs": (ValueError("bad"), "invalid_prompt"),
    "ours": (OURS, "server_error"),
    "unknown": (KeyError("x"), "server_error"),
    "silence": (StopAsyncIteration(), "server_error"),
}


@pytest.mark.parametrize(
    ("breaking", "code"),
    ERRORS.values(),
    ids=ERRORS,
    indirect=["breaking"],
)
@pytest.mark.usefixtures("breaking")
def test_an_error_in_the_middle_ends_a_stream_as_failed(
    client: httpx.Client, runner: Runner, code: str
) -> None:
    response = told(client)[-1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", code)
    assert response["output"][0]["status"] == "incomplete"
    assert client.get(f"{PATH}/{response['id']}").json() == response
    assert until(lambda: not busy(runner))


@pytest.mark.parametrize("breaking", [OURS, KeyError("x")], ids=repr, indirect=True)
@pytest.mark.usefixtures("breaking")
def test_an_error_in_the_background_is_told_when_asked_for(client: httpx.Client) -> None:
    found = told(client, background=True)
    path = f"{PATH}/{found[0]['response']['id']}"
    assert client.get(path).json() == found[-1]["response"]
    path = f"{PATH}/{post(client, background=True).json()['id']}"
    assert until(lambda: client.get(path).json()["status"] == "failed")
    assert client.get(path).json()["error"]["code"] == "server_error"


@pytest.mark.parametrize("breaking", [OURS], ids=repr, indirect=True)
@pytest.mark.usefixtures("breaking")
def test_an_error_of_a_whole_response_is_its_status(client: httpx.Client) -> None:
    answer = post(client)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")


def test_a_response_that_has_ended_fails_no_more() -> None:
    answer = fresh_answer(ResponsesBody(input="x"), "m")
    nowhere: Any = None
    work = Work(nowhere, answer, before=(), asked=(), store=None)
    late = Failure(504, "late")
    assert b"response.failed" in work.failed(late)
    assert work.failed(late) == b""


def test_a_stream_that_cannot_begin_fails_with_a_status(client: httpx.Client) -> None:
    for stream in (False, True):
        assert post(client, input="x" * 5000, stream=stream).status_code == 400


def test_a_response_that_takes_too_long_fails(patient: Runner) -> None:
    settings, endless = Settings(answer_seconds=0.3), {"max_output_tokens": 50_000}
    endless |= {"ignore_eos": True}
    with live(patient, settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        assert post(client, **endless).status_code == 504
        assert "0.3 s" in told(client, **endless)[-1]["response"]["error"]["message"]
        path = f"{PATH}/{post(client, background=True, **endless).json()['id']}"
        assert until(lambda: client.get(path).json()["status"] == "failed")


def test_a_long_prompt_keeps_the_connection_alive(patient: Runner) -> None:
    settings = Settings(keep_alive_seconds=0.02)
    with live(patient, settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        text = post(client, input="word " * 400, stream=True, max_output_tokens=2).text
    assert ": alive\n\n" in text.partition("response.output_item.added")[0]
    assert events(text)[-1]["type"] == "response.incomplete"
