"""Pictures and clips that cannot be read end in a `ValueError` that names them and says why."""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx import Runner, VisionArchitecture, Which
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.runtime.host import Host
from tests.media.files import encoded, sound, sound_file, tall_png
from tests.models.phi4mm_tiny import write_tiny_phi4mm

from .asking import chat, content, says
from .seeing import ask, audio, clip_file, image, picture, png, turn, url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_phi4mm(tmp_path_factory.mktemp("hub") / "tiny-phi4mm")


@pytest.fixture(scope="module")
def runner(folder: Path) -> Iterator[Runner]:
    which = Which.VisionPlain(model_id=str(folder), arch=VisionArchitecture.Phi4MM)
    with Runner(which=which) as runner:
        yield runner


def refused(runner: Runner, *parts: Any, **options: Any) -> str:
    """The message with which a request is refused, before the engine hears of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "start", lambda *_: pytest.fail("it has been started"))
        with pytest.raises(RequestError) as caught:
            ask(runner, *parts, **options)
    return str(caught.value)


def hours(count: int) -> bytes:
    """A WAV file whose head promises hours of sound."""
    body = 2 * 16000 * 3600 * count
    shape = struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", body + 36)
        + b"WAVEfmt "
        + shape
        + b"data"
        + (struct.pack("<I", body) + bytes(1000))
    )


PICTURES = {
    "undecodable": (b"this is no picture", "The image format could not be determined"),
    "empty": (b"", "it is empty"),
    "truncated": (png(1)[:600], "broken or cut short"),
    "truncated JPEG": (encoded(picture(1), "JPEG")[:900], "broken or cut short"),
    "huge by its head": (tall_png(20_000, 20_000), "Make the picture smaller"),
    "a clip": (clip_file(), "The image format could not be determined"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "The image format could not be determined"),
}
CLIPS = {
    "undecodable": (b"this is no sound", "no suitable format reader found"),
    "empty": (b"", "it is empty"),
    "truncated": (clip_file(seconds=1.0)[:9000], "cut short"),
    "of no samples": (sound_file(np.zeros(0, np.float32)), "no samples"),
    "shorter than a frame": (clip_file(seconds=0.01), "25 ms"),
    "of eight hours": (hours(8), r"cut short|28800 s"),
    "of too low a rate": (clip_file(rate=4000), "Unsupported sample rate: 4000"),
    "of too high a rate": (sound_file(sound(0.1, 900_000), 900_000), "900000 samples a second"),
    "a picture": (png(), "no suitable format reader found"),
}


@pytest.mark.parametrize(("data", "words"), PICTURES.values(), ids=PICTURES)
def test_a_picture_that_cannot_be_seen(runner: Runner, data: bytes, words: str) -> None:
    part = {"type": "image", "image": data}
    message = refused(runner, image(2), part, "What is this?")
    assert message.startswith("image 2 of message 0: ")
    assert words in message


@pytest.mark.parametrize(("data", "words"), CLIPS.values(), ids=CLIPS)
def test_a_clip_that_cannot_be_heard(runner: Runner, data: bytes, words: str) -> None:
    message = refused(runner, image(2), audio(1), {"type": "audio", "audio": data}, "What?")
    assert message.startswith("audio 2 of message 0: ")
    assert any(word in message for word in words.split("|"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ftp://example.com/a.png", "Unsupported URL scheme: ftp"),
        ("gopher://example.com/a.png", "Unsupported URL scheme: gopher"),
        ("file:///no/such.png", "Could not open file at path: /no/such.png"),
        ("file://server/a.png", "names the host server"),
        ("no-such.png", "Invalid source 'no-such.png': not a valid URL"),
        ("/dev/zero", "Invalid source '/dev/zero'"),
        ("file:///dev/zero", "which is no file"),
        ("data:image/png;base64", "has no comma"),
        ("data:image/png;base64,(-:", "not base64"),
        ("http://127.0.0.1:1/a.png", "could not be downloaded"),
        ("http://[::1", "is not an http:// or https:// address"),
        ("", "Invalid source ''"),
    ],
)
def test_a_source_that_cannot_be_read(runner: Runner, source: str, words: str) -> None:
    message = refused(runner, image(source), "What is this?")
    assert message.startswith("image 1 of message 0: ")
    assert words in message


def test_values_that_are_no_source(runner: Runner) -> None:
    assert "given as a int" in refused(runner, {"type": "image", "image": 5}, "Hi")
    assert "without its rate" in refused(runner, {"type": "audio", "audio": sound()}, "Hi")
    assert "shape (2, 2, 2)" in refused(runner, {"type": "image", "image": np.ones((2, 2, 2))})
    part = {"type": "video_url", "video_url": {"url": "a.mp4"}}
    assert "Phi4MM takes audio and image, but no video" in refused(runner, part, "Hi")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([image(), "<|image_2|>"], "2 image placeholders but 1 image inputs: no image belongs"),
        ([image(), "<|image_0|>"], "no image belongs to <|image_0|>"),
        ([image(), "<|image_1|><|image_1|>"], "<|image_1|> is written 2 times"),
        ([image(), "<|image_1|><|audio_1|>"], "1 audio placeholders but 0 audio inputs"),
        (["<|image_1|>What is this?"], "1 image placeholders but 0 image inputs"),
        (["<|audio_1|>What is this?"], "1 audio placeholders but 0 audio inputs"),
        ([image(), "<|endoftext10|>"], "reserves for media; write <|image_1|>"),
        (["<|endoftext11|>"], "reserves for media; write <|audio_1|>"),
    ],
)
def test_placeholders_that_have_no_medium(runner: Runner, parts: list[Any], words: str) -> None:
    assert words in refused(runner, *parts)


def test_media_that_are_not_the_users(runner: Runner) -> None:
    talk = [turn("Hi"), {**turn(image()), "role": "assistant"}]
    assert "Role for an image message must be `user`" in refused(runner, messages=talk)


def test_the_message_of_a_medium_is_named(runner: Runner) -> None:
    broken = {"type": "image", "image": b"nothing"}
    talk = [turn(image(), "Hi"), {"role": "assistant", "content": "Ho"}, turn(broken, "Hi")]
    assert refused(runner, messages=talk).startswith("image 1 of message 2: ")


@pytest.mark.parametrize("truncate", [False, True])
def test_a_prompt_beyond_the_context_is_refused(runner: Runner, truncate: bool) -> None:
    pictures = [image(seed, width=1300, height=1300) for seed in range(4)]
    message = refused(runner, *pictures, "Hi", truncate_sequence=truncate)
    assert "`truncate_sequence` does not cut media" in message
    assert "context is 8192" in message


def test_a_text_beyond_the_context_is_cut_also_by_a_model_that_sees(runner: Runner) -> None:
    words = "all the same " * 3000
    assert "greater than 8192" in refused(runner, words)
    cut = {"messages": words, "truncate_sequence": True, "max_tokens": 8000}
    assert says(runner, "Yes.", **cut).usage.prompt_tokens == 192


@pytest.mark.parametrize("name", ["tiny_llama", "folder"])
def test_text_models_take_no_media(name: str, request: pytest.FixtureRequest) -> None:
    which = Which.Plain(model_id=str(request.getfixturevalue(name)))
    with Runner(which=which) as runner:
        message = refused(runner, image(), "Hi")
        assert content(ask(runner, "Hi"))
    assert "Message 0 has a part of type image" in message
    assert "load a multimodal model with Which.MultimodalPlain" in message


def test_text_checkpoints_are_not_loaded_as_multimodal_ones(tiny_llama: Path) -> None:
    with pytest.raises(ValueError, match=r"LlamaForCausalLM.*Which\.Plain"):
        Runner(which=Which.MultimodalPlain(model_id=str(tiny_llama)))


@pytest.mark.parametrize(
    "wrong", [{"max_edge": 0}, {"max_edge": -4}, {"encoder_cache_memory_bytes": -1}]
)
def test_sizes_that_cannot_be(folder: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
        Runner(which=Which.MultimodalPlain(model_id=str(folder), **wrong))


def test_others_go_on_and_memory_comes_back(folder: Path) -> None:
    which = Which.MultimodalPlain(model_id=str(folder), encoder_cache_memory_bytes=0)
    with Runner(which=which, prefix_cache_n=0) as runner:
        alone = content(ask(runner, image(1), "What?", max_tokens=60))
        before = worker().call(mx.get_active_memory)
        said: list[str] = []
        other = threading.Thread(
            target=lambda: said.append(content(ask(runner, image(1), "What?", max_tokens=60)))
        )
        other.start()
        for data, _ in PICTURES.values():
            refused_while_busy(runner, data)
        other.join()
        chat(runner)
        assert said == [alone]
        assert abs(worker().call(mx.get_active_memory) - before) <= before / 100


def refused_while_busy(runner: Runner, data: bytes) -> None:
    with pytest.raises(ValueError, match="image 1 of message 0"):
        ask(runner, image(url(data)), "What?")
