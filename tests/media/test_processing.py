"""From messages with media to texts, arrays and names for what is wrong."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.media.placeholders import Placeholder, Placeholders
from mistralrs_mlx.media.processing import Prepared, Processor, prepare
from mistralrs_mlx.media.types import DecodedImage, Media, digest
from mistralrs_mlx.text.messages import conversation
from tests.media.files import encoded, ramp, sound, tall_png

PICTURE = encoded(ramp(), "PNG")


class Seeing(Processor):
    """Counts pixels."""

    placeholders = Placeholders(family="Toy", kinds={"image": Placeholder(text="<image>", token=5)})

    def image(self, image: DecodedImage) -> Media:
        height, width, _ = image.pixels.shape
        return Media(kind="image", arrays={}, tokens=height * width, digest=digest(image.pixels))


class Hearing(Processor):
    """Says that it hears, and does not."""

    placeholders = Placeholders(
        family="Deaf", kinds={"audio": Placeholder(text="<audio>", token=5)}
    )


def prepared(*contents: list[object], processor: Processor | None = None, **how: Any) -> Prepared:
    read = conversation([{"role": "user", "content": content} for content in contents])
    return prepare(read.messages, read.media, processor or Seeing(), **how)


def image(source: object) -> dict[str, object]:
    return {"type": "image", "image": source}


def text(words: str) -> dict[str, object]:
    return {"type": "text", "text": words}


def test_a_conversation_becomes_texts_and_media() -> None:
    done = prepared([text("What?"), image(PICTURE)], [image(np.zeros((2, 3), np.uint8)), text("?")])
    assert [message["content"] for message in done.messages] == ["<image>What?", "<image>?"]
    assert [one.tokens for one in done.media] == [1200, 6]


def test_the_longer_edge_is_capped_first() -> None:
    assert prepared([image(PICTURE)], max_edge=20).media[0].tokens == 20 * 15


def test_one_digest_stands_for_one_picture() -> None:
    first, second, third = prepared([image(PICTURE), image(ramp()), image(ramp(41))]).media
    assert first.digest == second.digest != third.digest


def test_media_beyond_the_context_are_not_even_read() -> None:
    with pytest.raises(RequestError, match=r"image 2 of message 0: .* 1200 tokens, .* is 1000"):
        prepared([image(PICTURE), image("nowhere.png")], room=1000)
    assert len(prepared([image(PICTURE)], room=1000).media) == 1


class Alone(Seeing):
    """Notices whether another picture is being processed."""

    inside, together = 0, False

    def image(self, image: DecodedImage) -> Media:
        self.together |= self.inside > 0
        self.inside += 1
        time.sleep(0.02)
        self.inside -= 1
        return super().image(image)


def test_one_picture_at_a_time_takes_the_memory_that_decoding_needs() -> None:
    processor = Alone()
    with ThreadPoolExecutor(4) as threads:
        for each in [
            threads.submit(prepared, [image(PICTURE)], processor=processor) for _ in range(8)
        ]:
            each.result()
    assert not processor.together


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"nothing", "image 2 of message 1: The image format could not be determined"),
        ("ftp://x/y", "image 2 of message 1: Unsupported URL scheme: ftp"),
        (tall_png(20_000, 20_000), "image 2 of message 1: .*400000000 pixels"),
    ],
)
def test_a_refusal_names_the_medium(source: object, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        prepared([text("Hi")], [image(PICTURE), image(source)])


def test_a_kind_that_the_model_does_not_take_is_refused_before_anything_is_read() -> None:
    words = "audio 1 of message 0: Toy takes image, but no audio"
    with pytest.raises(RequestError, match=words):
        prepared([image("ftp://x/y"), {"type": "audio", "audio": "nowhere.wav"}])


def test_placeholders_are_checked_before_anything_is_read() -> None:
    with pytest.raises(RequestError, match="Toy has 2 image placeholders but 1 image inputs"):
        prepared([image("nowhere.png"), text("<image><image>")])


def test_a_processor_without_a_method_says_so() -> None:
    clip = {"type": "audio", "audio": (sound(), 16000)}
    with pytest.raises(RequestError, match="audio 1 of message 0: Deaf hears no audio"):
        prepared([clip], processor=Hearing())
