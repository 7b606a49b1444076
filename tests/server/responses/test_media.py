"""Pictures and sound that come along, before a tiny model that sees and hears."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from mistralrs_mlx import Runner, Which
from tests.models.phi4mm_tiny import write_tiny_phi4mm
from tests.server.asking import chat
from tests.server.conftest import live

from .saying import PATH, post


def coded(content: io.BytesIO) -> str:
    return base64.b64encode(content.getvalue()).decode()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("hub") / "seeing"
    write_tiny_phi4mm(folder, intermediate_size=64, max_position_embeddings=1024)
    with (
        Runner(Which.MultimodalPlain(model_id=str(folder))) as runner,
        live(runner) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), "teal").save(file, format="png")
    return f"data:image/png;base64,{coded(file)}"


@pytest.fixture(scope="module")
def sound() -> dict[str, str]:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(4000), 16000, format="wav")
    return {"data": coded(file), "format": "wav"}


def test_a_picture_and_sound_are_read_as_a_chat_reads_them(
    client: httpx.Client, picture: str, sound: dict[str, str]
) -> None:
    bare = post(client, input="What?").json()["usage"]["input_tokens"]
    for ours, theirs in (
        ({"type": "input_image", "image_url": picture, "detail": "auto"},
         {"type": "image_url", "image_url": {"url": picture}}),
        ({"type": "input_audio", "input_audio": sound},
         {"type": "input_audio", "input_audio": sound}),
    ):  # fmt: skip
        words: Any = [{"type": "input_text", "text": "What?"}]
        response = post(client, input=[{"role": "user", "content": [*words, ours]}]).json()
        parts = [{"type": "text", "text": "What?"}, theirs]
        answer = chat(client, messages=[{"role": "user", "content": parts}]).json()
        said = response["output"][0]["content"][0]["text"]
        assert said == answer["choices"][0]["message"]["content"]
        assert response["usage"]["input_tokens"] == answer["usage"]["prompt_tokens"] > bare


def test_a_conversation_goes_on_with_its_picture(client: httpx.Client, picture: str) -> None:
    turn = {"role": "user", "content": [{"type": "input_image", "image_url": picture}]}
    first = post(client, input=[turn]).json()
    second = post(client, input="And?", previous_response_id=first["id"]).json()
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    (item,) = client.get(f"{PATH}/{first['id']}/input_items").json()["data"]
    assert item["content"] == [{"type": "input_image", "image_url": picture}]


def test_a_picture_that_is_none_is_the_clients_fault(client: httpx.Client) -> None:
    turn = {
        "role": "user",
        "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}],
    }
    for stream in (False, True):
        assert post(client, input=[turn], stream=stream).status_code == 400
