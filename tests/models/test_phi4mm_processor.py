"""Phi-4-multimodal's processor, against transformers' and against the definition of its mels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mistralrs_mlx.errors import ConfigError, RequestError
from mistralrs_mlx.media.placeholders import expand, mark
from mistralrs_mlx.media.processing import prepare
from mistralrs_mlx.media.types import DecodedAudio, DecodedImage, Media
from mistralrs_mlx.models.phi4mm.processor import Phi4MMProcessor
from mistralrs_mlx.text.messages import conversation
from tests.models.phi4mm_media import CLIPS, clip, picture, places

GOLDEN = json.loads((Path(__file__).parent / "golden" / "phi4mm_processor.json").read_text())
GREY = 2 / 255  # one grey level, where black is -1 and white is 1
PUBLISHED = {(451, 300): 689, (384, 191): 409, (640, 427): 673, (512, 512): 1329, (741, 500): 999}
PROCESSOR = Phi4MMProcessor()


def seen(width: int, height: int) -> Media:
    return PROCESSOR.image(DecodedImage(pixels=picture(width, height)))


def heard(samples: np.ndarray, rate: int = 16000) -> Media:
    return PROCESSOR.audio(DecodedAudio(samples=samples, rate=rate))


@pytest.mark.parametrize("golden", GOLDEN["images"], ids=lambda golden: str(golden["size"]))
def test_pixels_are_those_of_the_reference(golden: dict[str, Any]) -> None:
    media = seen(*golden["size"])
    pixels = media.arrays["pixels"]
    assert pixels.dtype == np.float32
    assert pixels.shape == (len(golden["mask"]), 448, 448, 3)
    assert media.tokens == golden["tokens"]
    assert media.arrays["size"].tolist() == golden["grid"]
    assert media.arrays["mask"].sum((1, 2)).tolist() == golden["mask"]
    assert pixels.mean(dtype=np.float64) == pytest.approx(golden["mean"], abs=2e-4)
    values = pixels.ravel()[places(pixels.size)]
    assert np.abs(values - golden["values"]).max() < GREY + 1e-5


def test_a_picture_takes_the_room_of_its_floats_only_while_it_is_encoded() -> None:
    made = seen(500, 400).arrays
    assert sorted(made) == ["mask", "pixels", "size"]
    assert made["pixels"] is not made["pixels"]
    assert np.array_equal(made["pixels"], made["pixels"])


@pytest.mark.parametrize("size", PUBLISHED)
def test_pictures_take_as_many_tokens_as_published(size: tuple[int, int]) -> None:
    assert seen(*size).tokens == PUBLISHED[size]


def test_padding_is_white_and_masked() -> None:
    arrays = seen(451, 300).arrays  # 673 x 448 of 896 x 448: 48.07 patches across, 32 down
    assert (arrays["pixels"][2][:, 673 - 448 :] == 1).all()
    assert (arrays["pixels"][2][:, 673 - 449] < 1).any()
    assert arrays["mask"].dtype == np.float32
    assert arrays["mask"][2, 0].tolist() == [1] * 17 + [0] * 15


def test_crops_come_row_by_row_after_the_whole() -> None:
    media = PROCESSOR.image(
        DecodedImage(
            pixels=np.kron(
                np.arange(6, dtype=np.uint8).reshape(2, 3, 1) * 40, np.ones((448, 448, 3), np.uint8)
            )
        )
    )
    crops = media.arrays["pixels"][1:]
    assert [round(float(crop.mean() + 1) * 127.5) for crop in crops] == [0, 40, 80, 120, 160, 200]


def test_a_small_picture_is_its_own_whole() -> None:
    whole, crop = seen(448, 448).arrays["pixels"]
    assert np.array_equal(whole, crop)


def cubic(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    """Keys' kernel: how much a pixel at this distance counts."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


@pytest.mark.parametrize("crops", [1, 2, 3, 4, 5, 6])
def test_the_whole_is_interpolated_by_cubics(crops: int) -> None:
    media = seen(448 * crops, 448)
    line = np.concatenate(list(media.arrays["pixels"][1:, 100]))[:, 0].astype(float)
    wanted = (np.arange(448) + 0.5) * crops - 0.5
    taps = np.floor(wanted).astype(int)[:, None] + np.arange(-1, 3)
    expected = (line[taps.clip(0, len(line) - 1)] * cubic(wanted[:, None] - taps)).sum(1)
    assert np.abs(media.arrays["pixels"][0, 100, :, 0] - expected).max() < 1e-5


def test_of_grids_of_one_shape_a_large_picture_fills_the_finest() -> None:
    blank = DecodedImage(pixels=np.zeros((2700, 2700, 3), np.uint8))
    assert PROCESSOR.image(blank).arrays["size"].tolist() == [6 * 448, 6 * 448]


def test_fewer_crops_can_be_asked_for() -> None:
    few = Phi4MMProcessor(most_crops=4).image(DecodedImage(pixels=picture(2000, 1000)))
    assert few.arrays["pixels"].shape[0] <= 5
    assert few.digest != seen(2000, 1000).digest


def test_the_checkpoint_says_how_many_crops_and_which_tokens() -> None:
    ids = {"<|endoftext10|>": 3, "<|endoftext11|>": 4}
    made = Phi4MMProcessor.from_config({"dynamic_hd": 4, "audio_compression_rate": 8}, ids.get)
    assert [kind.token for kind in made.placeholders.kinds.values()] == [4, 3]
    assert made.image(DecodedImage(pixels=picture(2000, 1000))).arrays["pixels"].shape[0] <= 5


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"audio_compression_rate": 4}, "audio_compression_rate is 4; for Phi4MM it should be 8"),
        ({"dynamic_hd": 0}, "dynamic_hd is 0"),
        ({}, "the tokenizer lacks"),
    ],
)
def test_other_settings_than_those_published_are_refused(
    config: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Phi4MMProcessor.from_config(config, {"<|endoftext10|>": 3}.get)


@pytest.mark.parametrize("size", [(9, 448), (1, 4000), (4000, 1)])
def test_a_very_narrow_picture_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match="at least 10 on each side"):
        seen(*size)


def mel(hertz: float) -> float:
    return float(1127 * np.log(1 + hertz / 700))


def defined(samples: np.ndarray, rate: int, frame: int) -> np.ndarray:
    """One frame's features from their definition, in float64 and without a fast transform."""
    window, hop, size = (400, 160, 512) if rate == 16000 else (200, 80, 256)
    x = samples[frame * hop :][:window].astype(np.float64) * 32768
    x -= 0.97 * np.concatenate([x[:1], x[:-1]])
    x *= 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(window) / (window - 1))
    bins = np.arange(1, 246 if rate == 16000 else 128)  # in both, bins are 31.25 Hz apart
    turns = np.outer(bins, np.arange(window)) / size
    power = np.abs((x * np.exp(-2j * np.pi * turns)).sum(1)) ** 2
    step = mel(7690) / 81
    triangles = [[1 - abs(mel(b * 31.25) - step * (m + 1)) / step for b in bins] for m in range(80)]
    return np.asarray(np.log(np.maximum(np.maximum(triangles, 0) @ power, 1)))


@pytest.mark.parametrize(("rate", "seconds"), CLIPS)
def test_features_follow_their_definition(rate: int, seconds: float) -> None:
    samples = clip(rate, seconds)
    media = heard(samples, rate)
    features = media.arrays["features"]
    assert features.dtype == np.float32
    assert features.shape == ((len(samples) * 1000 // rate - 25) // 10 + 1, 80)
    assert media.tokens == -(-len(features) // 8)
    for frame in {0, len(features) // 2, len(features) - 1}:
        assert np.abs(features[frame] - defined(samples, rate, frame)).max() < 1e-3


@pytest.mark.parametrize("golden", GOLDEN["clips"], ids=lambda golden: f"{golden['seconds']}s")
def test_features_are_those_of_the_reference(golden: dict[str, Any]) -> None:
    media = heard(clip(16000, golden["seconds"]))
    features = media.arrays["features"]
    assert (media.tokens, len(features)) == (golden["tokens"], golden["frames"])
    assert features.mean(dtype=np.float64) == pytest.approx(golden["mean"], abs=1e-4)
    assert np.abs(features.ravel()[places(features.size)] - golden["values"]).max() < 1e-3


def test_silence_has_no_energy() -> None:
    assert not heard(np.zeros(1600, np.float32)).arrays["features"].any()


@pytest.mark.parametrize(
    ("rate", "low"),
    [(8000, True), (11025, True), (12000, True), (16000, False), (22050, False), (48000, False)],
)
def test_rates_are_brought_to_8_or_16_kilohertz(rate: int, low: bool) -> None:
    hiss = np.random.randn(rate).astype(np.float32) * 0.3
    features = heard(hiss, rate).arrays["features"]
    assert len(features) == 98
    assert (features[:, -17:].max() == 0) == low  # these bands lie above 4 kHz


def test_resampled_sound_looks_the_same() -> None:
    tones = [np.sin(np.arange(rate) * (2 * np.pi * 440 / rate)) for rate in (16000, 44100)]
    low, high = (heard(tone.astype(np.float32), len(tone)).arrays["features"] for tone in tones)
    assert np.abs(low - high)[5:-5, :20].max() < 0.3


@pytest.mark.parametrize(
    ("count", "rate", "words"),
    [(4000, 7999, "Unsupported sample rate: 7999"), (399, 16000, "at least 400, which is 25 ms")],
)
def test_sound_that_cannot_be_heard_is_refused(count: int, rate: int, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        heard(np.zeros(count, np.float32), rate)


def test_digests_tell_media_apart() -> None:
    zeros = np.zeros(16000, np.float32)
    digests = {
        seen(40, 40).digest,
        seen(41, 40).digest,
        heard(zeros).digest,
        heard(zeros, 8000).digest,
    }
    assert len(digests) == 4
    assert heard(zeros).digest == heard(zeros.copy()).digest


def test_a_conversation_becomes_a_prompt_of_soft_tokens() -> None:
    sound = {"type": "audio", "audio": (clip(16000, 1.0), 16000)}
    shown = {"type": "image", "image": picture(448, 448)}
    asked = [{"role": "user", "content": [sound, shown, {"type": "text", "text": "What?"}]}]
    read = conversation(asked)
    ready = prepare(read.messages, read.media, PROCESSOR)
    assert ready.messages[0]["content"] == "<|audio_1|><|image_1|>What?"
    prompt = mark(ready.messages[0]["content"], PROCESSOR.placeholders)
    assert prompt == "<|endoftext11|><|endoftext10|>What?"
    tokens = expand([200022, 200011, 200010, 5], ready.media, PROCESSOR.placeholders)
    assert tokens.tokens == [200022, *[200011] * 13, *[200010] * 545, 5]
    assert tokens.starts == (1, 14)
