"""Pictures and sound over HTTP, sent by the clients that people use, to a model that reads both."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import anthropic
import numpy as np
import openai
import pytest
import soundfile
from PIL import Image

from mistralrs_mlx import ChatCompletionRequest, Runner, Which
from tests.models.phi4mm_tiny import write_tiny_phi4mm

from .conftest import live


def coded(content: io.BytesIO) -> str:
    return base64.b64encode(content.getvalue()).decode()


def png() -> str:
    file = io.BytesIO()
    Image.fromarray(np.arange(60 * 40 * 3, dtype=np.uint8).reshape(40, 60, 3)).save(file, "PNG")
    return coded(file)


def wav() -> str:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(8000) / 9), 16_000, format="WAV")
    return coded(file)


WORDS: Any = {"type": "text", "text": "What?"}
PICTURE: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png()}"}}
SOUND: Any = {"type": "input_audio", "input_audio": {"data": wav(), "format": "wav"}}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = write_tiny_phi4mm(tmp_path_factory.mktemp("hub") / "both", intermediate_size=64)
    with Runner(Which.MultimodalPlain(model_id=str(folder))) as runner:
        yield runner


@pytest.fixture(scope="module")
def url(runner: Runner) -> Iterator[str]:
    with live(runner) as address:
        yield address


def expected(runner: Runner, *parts: Any) -> Any:
    """What the runner itself says."""
    request = ChatCompletionRequest(
        messages=[{"role": "user", "content": list(parts)}],
        model="default",
        max_tokens=6,
        temperature=0.0,
    )
    return runner.send_chat_completion_request(request)


@pytest.mark.parametrize("parts", [[PICTURE], [SOUND], [PICTURE, SOUND], [PICTURE, SOUND, PICTURE]])
def test_openais_client_sends_pictures_and_sound_in_one_chat(
    url: str, runner: Runner, parts: list[Any]
) -> None:
    ours = expected(runner, *parts, WORDS)
    asked: Any = {
        "model": "default",
        "messages": [{"role": "user", "content": [*parts, WORDS]}],
        "max_tokens": 6,
        "temperature": 0,
    }
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as ai:
        whole = ai.chat.completions.create(**asked)
        pieces = list(ai.chat.completions.create(**asked, stream=True))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert whole.choices[0].message.content == text == ours.choices[0].message.content
    assert whole.usage.prompt_tokens == ours.usage.prompt_tokens
    assert whole.usage.prompt_tokens > expected(runner, WORDS).usage.prompt_tokens + 5


def test_anthropics_client_sends_a_picture(url: str, runner: Runner) -> None:
    source: Any = {"type": "base64", "media_type": "image/png", "data": png()}
    turn: Any = {"role": "user", "content": [{"type": "image", "source": source}, WORDS]}
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as ai:
        message: Any = ai.messages.create(
            model="default", max_tokens=6, messages=[turn], extra_body={"temperature": 0}
        )
    ours = expected(runner, PICTURE, WORDS)
    assert message.content[0].text == ours.choices[0].message.content
    read = message.usage.input_tokens + message.usage.cache_read_input_tokens
    assert read == ours.usage.prompt_tokens


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "image"),
        ({"type": "image_url", "image_url": {"url": "http://localhost/x.png"}}, "media-urls"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/hostname"}}, "data"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "audio"),
    ],
)
def test_media_that_cannot_be_read_are_the_clients_fault(url: str, part: Any, reason: str) -> None:
    turns: Any = [{"role": "user", "content": [part, WORDS]}]
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as ai,
        pytest.raises(openai.BadRequestError) as refused,
    ):
        ai.chat.completions.create(model="default", messages=turns, max_tokens=1)
    assert reason in refused.value.message
