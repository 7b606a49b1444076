"""The items of a conversation, and the chat messages that they make."""

from typing import Any

import pytest

from mistralrs_mlx.server.failure import Failure
from mistralrs_mlx.server.responses.items import messages_of, read_items

PICTURE = "data:image/png;base64,AAAA"


def messages(*given: dict[str, Any], instructions: str | None = None) -> list[dict[str, Any]]:
    """The chat that these items make."""
    return messages_of(read_items(list(given), dict), instructions)


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def call(id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"}


def result(id: str, output: Any = "4") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output}


THOUGHT = {
    "type": "reasoning",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "hm"}],
}


def test_a_text_is_a_message_of_the_user() -> None:
    assert messages_of(read_items("Hi", dict)) == [{"role": "user", "content": "Hi"}]


def test_instructions_and_the_first_words_of_the_developer_are_one_system_message() -> None:
    found = messages(said("developer", "B"), said("user", "Hi"), instructions="A")
    assert found == [said("system", "A\n\nB"), said("user", "Hi")]


def test_a_turn_is_one_message_however_many_items_it_has() -> None:
    words = said("assistant", [{"type": "output_text", "text": "I look."}])
    turn, first, second, user = messages(
        THOUGHT, words, call("1"), call("2"), result("1"), result("2"), said("user", "And?")
    )
    assert (turn["reasoning_content"], turn["content"]) == ("hm", "I look.")
    assert [each["id"] for each in turn["tool_calls"]] == ["1", "2"]
    assert [each["tool_call_id"] for each in (first, second)] == ["1", "2"]
    assert user == said("user", "And?")


def test_two_turns_on_end_stay_two() -> None:
    found = messages(said("assistant", "One."), said("assistant", "Two."), THOUGHT)
    assert [each["content"] for each in found] == ["One.", "Two.", ""]


def test_pictures_and_sound_of_the_user_are_parts_of_a_chat() -> None:
    parts = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    (message,) = messages(said("user", parts))
    assert message["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]


def test_the_parts_of_a_chat_are_parts_here() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "audio_url", "audio_url": {"url": "a.wav"}},
        {"type": "text", "text": "What?"},
    ]
    (message,) = messages(said("user", parts))
    assert message["content"] == parts
    assert messages(said("user", parts[2:]))[0]["content"] == "What?"


def test_a_result_may_be_a_list_of_texts() -> None:
    texts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert messages(call("1"), result("1", texts))[-1]["content"] == "a\nb"


def test_items_get_an_id_and_a_status_and_keep_their_own() -> None:
    first, second = read_items([said("user", "x"), said("user", "y") | {"id": "msg_1"}], dict)
    assert str(first.id).startswith("msg_")
    assert (second.id, second.status) == ("msg_1", "completed")


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ([{"type": "file_search_call", "id": "x"}], "input[0]"),
        ([said("user", "x"), said("nobody", "x")], "input[1]"),
        ([said("user", [{"type": "input_file", "file_id": "x"}])], "input[0]"),
        ([said("user", [{"type": "input_image", "file_id": "x"}])], "input[0]"),
        ([said("user", [{"type": "input_image", "image_url": "x", "detail": "low"}])], "input[0]"),
        ([said("assistant", [{"type": "input_image", "image_url": PICTURE}])], "input"),
        ([result("never called")], "input"),
        ([{"type": "message"}], "input[0]"),
        ([said("user", "x") | {"name": "Bo"}], "input[0]"),
        ([], "input"),
    ],
)
def test_what_is_no_item_is_refused_with_its_place(wrong: Any, place: str) -> None:
    with pytest.raises(Failure) as refused:
        messages(*wrong)
    assert (refused.value.status, refused.value.parameter) == (400, place)
