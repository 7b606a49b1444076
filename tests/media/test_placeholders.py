"""Where media stand: in texts, in the prompt, among its tokens."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.media.placeholders import Placeholder, Placeholders, expand, mark, place
from mistralrs_mlx.media.types import Media
from mistralrs_mlx.text.messages import MediaPart

NUMBERED = Placeholders(
    family="Phi4MM",
    kinds={
        "audio": Placeholder(text="<|audio_{}|>", prompt="<|soft11|>", token=11),
        "image": Placeholder(text="<|image_{}|>", prompt="<|soft10|>", token=10),
    },
)
PLAIN = Placeholders(
    family="LLaVA", kinds={"image": Placeholder(text="(<image>./</image>)", token=7)}
)
NAME = "(<image>./</image>)"


def parts(*kinds_and_messages: tuple[str, int]) -> list[MediaPart]:
    return [MediaPart(kind=kind, source=b"", message=at) for kind, at in kinds_and_messages]


def user(*contents: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content} for content in contents]


def contents(
    texts: list[dict[str, Any]], items: list[MediaPart], of: Placeholders = NUMBERED
) -> list[Any]:
    return [message["content"] for message in place(texts, items, of).messages]


def test_missing_numbers_are_put_in_front_and_count_over_the_conversation() -> None:
    items = parts(("image", 0), ("image", 0), ("audio", 0), ("image", 2))
    texts = user("What?", "Hm.", "And here?")
    front = "<|audio_1|><|image_1|><|image_2|>"
    assert contents(texts, items) == [f"{front}What?", "Hm.", "<|image_3|>And here?"]


def test_numbers_that_are_there_stay_where_they_are() -> None:
    items = parts(("image", 0), ("image", 0), ("image", 1))
    texts = user("Is <|image_2|> odd?", "Like <|image_3|>.")
    assert contents(texts, items) == ["<|image_1|>Is <|image_2|> odd?", "Like <|image_3|>."]


def test_a_number_may_stand_in_another_message() -> None:
    texts = user("Look.", "What is <|image_1|>?")
    assert contents(texts, parts(("image", 0))) == ["Look.", "What is <|image_1|>?"]


def test_media_follow_the_order_of_their_numbers_in_the_text() -> None:
    items = parts(("image", 0), ("image", 0), ("audio", 0))
    order = place(user("<|image_2|> or <|image_1|>?"), items, NUMBERED).order
    assert [at for at in order if at < 2] == [1, 0]
    assert sorted(order) == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "count", "words"),
    [
        ("<|image_2|>", 1, "has 2 image placeholders but 1 image inputs: no image belongs to"),
        ("<|image_0|>", 1, r"no image belongs to <\|image_0\|>"),
        ("<|image_1|>", 0, "has 1 image placeholders but 0 image inputs"),
        ("<|image_1|><|image_1|>", 1, r"<\|image_1\|> is written 2 times"),
        ("<|image_1|><|image_01|>", 2, r"<\|image_1\|> is written 2 times"),
        ("<|soft10|>", 1, r"reserves for media; write <\|image_1\|>"),
    ],
)
def test_wrong_numbers_are_refused(text: str, count: int, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        place(user(text), parts(*[("image", 0)] * count), NUMBERED)


def test_what_only_resembles_a_placeholder_is_text() -> None:
    text = "<|image_|> <|image_99999999999|> <|image_x|> <image_1> <|image_٣|>"
    assert contents(user(text), []) == [text]


def test_missing_plain_placeholders_are_put_in_front_of_their_message() -> None:
    items = parts(("image", 0), ("image", 2), ("image", 2))
    texts = user("What?", "Hm.", f"And {NAME}?")
    assert contents(texts, items, PLAIN) == [f"{NAME}What?", "Hm.", f"{NAME}And {NAME}?"]
    assert place(texts, items, PLAIN).order == (0, 1, 2)


def test_more_plain_placeholders_than_media_are_refused() -> None:
    words = "LLaVA has 3 image placeholders but 1 image inputs: message 1 writes .* 2 times and"
    with pytest.raises(RequestError, match=words):
        place(user("a", NAME * 2), parts(("image", 0)), PLAIN)


def test_templates_write_placeholders_only_where_the_text_has_none() -> None:
    image, text = {"type": "image"}, {"type": "text", "text": f"Is {NAME} odd?"}
    items = parts(("image", 0), ("image", 0))
    assert contents(user([image, image, text]), items, PLAIN) == [[image, text]]
    assert contents(user([image]), items[:1], PLAIN) == [[image]]


def test_messages_without_content_and_the_callers_own_stay_as_they_are() -> None:
    texts = [{"role": "assistant", "tool_calls": []}, *user("Hi")]
    assert place(texts, parts(("image", 1)), NUMBERED).messages[0] == texts[0]
    assert texts[1]["content"] == "Hi"


def test_a_prompt_has_the_tokens_that_the_model_knows() -> None:
    assert mark("<|user|><|image_2|><|audio_1|>?", NUMBERED) == "<|user|><|soft10|><|soft11|>?"
    assert mark(NAME, PLAIN) == NAME


def media(kind: str, tokens: int) -> Media:
    return Media(kind=kind, arrays={}, tokens=tokens, digest=f"{kind}{tokens}")


def test_each_token_is_repeated_for_its_medium() -> None:
    prompt = expand(
        [1, 11, 2, 10, 10, 3],
        [media("image", 2), media("image", 1), media("audio", 3)],
        NUMBERED,
    )
    assert prompt.tokens == [1, 11, 11, 11, 2, 10, 10, 10, 3]
    assert prompt.starts == (1, 5, 7)
    assert [one.digest for one in prompt.media] == ["audio3", "image2", "image1"]


@pytest.mark.parametrize("tokens", [[], [10, 10]])
def test_a_prompt_with_other_placeholders_than_media_is_refused(tokens: list[int]) -> None:
    words = f"has {len(tokens)} image placeholders but 1 image inputs"
    with pytest.raises(RequestError, match=words):
        expand(tokens, [media("image", 1)], NUMBERED)


@given(st.lists(st.tuples(st.sampled_from([0, 10, 11]), st.integers(1, 9)), max_size=12))
def test_every_medium_gets_its_own_place(drawn: list[tuple[int, int]]) -> None:
    kinds = {10: "image", 11: "audio"}
    there = [media(kinds[token], count) for token, count in drawn if token]
    prompt = expand([token for token, _ in drawn], there, NUMBERED)
    assert [one.digest for one in prompt.media] == [one.digest for one in there]
    taken = np.zeros(len(prompt.tokens), int)
    for start, one in zip(prompt.starts, prompt.media, strict=True):
        taken[start : start + one.tokens] += 1
    assert taken.tolist() == [int(token > 0) for token in prompt.tokens]
