"""Phi-4-multimodal says what the published code and transformers say."""

from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.models.phi4mm.config import Phi4MMConfig
from mistralrs_mlx.models.phi4mm.model import Phi4MM
from mistralrs_mlx.models.towers.siglip import spread_positions
from tests.models.phi4mm_answers import Request, answer, built, encoded, read, request, tiny_phi4mm
from tests.models.phi4mm_cases import CASES, Case
from tests.models.phi4mm_tiny import image, sound
from tests.models.tiny import config

TOLERANCE = 1e-4
MASK = np.ones((2, 4, 4), np.int64)
MASK[1, 2:] = 0  # two tiles, one over the other, the lower half of the second is padding
PICTURE, CLIP = image("pv", MASK, 2, 1, 56), sound("mel", 40)
STORED = {  # media of the stored cases: kind, start, tokens
    "text": [],
    "long": [],
    "image": [("image", 7, 16)],
    "audio": [("audio", 7, 5)],
    "both": [("image", 7, 16), ("audio", 25, 5)],
}
RECORDED = [("published", case) for case in STORED] + [
    ("transformers", case) for case in STORED if case != "long"
]


@cache
def stored(layout: str) -> tuple[Phi4MM, dict[str, Any], dict[str, np.ndarray]]:
    meta, arrays = read(layout)
    return built(meta), meta["cases"], arrays


@cache
def tiny() -> Phi4MM:
    return tiny_phi4mm()


@cache
def converted() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return read("converted")


def recorded(model: Phi4MM, tokens: list[int], case: str) -> Request:
    kinds = {kind for kind, _, _ in STORED[case]}
    arrays = {"image": PICTURE, "audio": CLIP}
    media = [
        encoded(model, kind, start, count, arrays[kind], kinds)
        for kind, start, count in STORED[case]
    ]
    return tokens, media, model.slot_for(kinds)


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
@pytest.mark.parametrize(("layout", "case"), RECORDED)
def test_the_recorded_logits(layout: str, case: str, chunked: bool) -> None:
    model, cases, arrays = stored(layout)
    said = cases[case]
    tokens = said["tokens"]
    lengths = (5, 6, len(tokens) - 12, 1) if chunked else ()  # cut through the first medium
    logits = answer(model, recorded(model, tokens, case), *lengths)
    assert logits.argmax(-1).tolist() == said["argmax"]
    close = logits[said["positions"]][:, arrays["columns"]]
    assert np.abs(close - arrays[case]).max() <= TOLERANCE


def test_the_audio_stages_of_the_published_code() -> None:
    model, _, arrays = stored("published")
    features = {"features": mx.array(CLIP["features"])}
    stages = {
        "audio_encoder": model.audio.tower(features["features"]),
        "audio_proj_speech": model.encode("audio", features, "speech"),
        "audio_proj_vision": model.encode("audio", features, "vision"),
    }
    for name, stage in stages.items():
        assert np.abs(np.array(stage) - arrays[name]).max() <= TOLERANCE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_adapters_merged_into_the_weights_say_the_same(case: Case) -> None:
    (meta, arrays), model = converted(), tiny()
    logits = answer(model, request(model, case))
    assert logits.argmax(-1).tolist() == meta["argmax"][case.name]
    norms = np.linalg.norm(logits, axis=-1)
    assert np.abs(norms - meta["norms"][case.name]).max() <= 5 * TOLERANCE  # of 256 numbers each
    assert np.abs(logits[case.positions] - arrays[case.name]).max() <= TOLERANCE


def test_a_tile_of_any_height_gets_the_positions_of_the_reference() -> None:
    for rows, expected in enumerate(converted()[0]["places"], 1):
        seen = np.zeros((1, 32, 32), bool)
        seen[:, :rows] = True
        places = spread_positions(seen, 32).reshape(32, 32)
        assert (places[:rows, 0] // 32).tolist() == expected
        assert not places[rows:].any()


def test_a_greedy_answer_to_a_picture_and_a_clip() -> None:
    model, cases, _ = stored("transformers")
    tokens, media, slot = recorded(model, cases["both"]["tokens"], "both")
    for expected in cases["both"]["greedy"]:
        logits = answer(model, (tokens, media, slot))
        assert int(logits[-1].argmax()) == expected
        tokens = [*tokens, expected]


def test_long_features_are_thinned_out_slice_by_slice_as_if_at_once() -> None:
    embed = tiny().audio.tower.embed
    features = mx.array(sound("slices", 8 * 125 * 2 + 3)["features"])
    sliced, whole = np.array(embed(features)), np.array(embed._thinned(features))
    np.testing.assert_allclose(sliced, whole, atol=1e-5)


def test_the_mode_follows_from_the_media() -> None:
    model, bare = tiny(), stored("transformers")[0]
    modes = {(): None, ("audio",): "speech", ("image",): "vision", ("image", "audio"): "vision"}
    assert {kinds: model.adapter_for(set(kinds)) for kinds in modes} == modes
    assert [model.slot_for(set(kinds)) for kinds in modes] == [0, 2, 1, 1]
    assert [bare.slot_for(set(kinds)) for kinds in modes] == [0, 0, 0, 0]


def test_an_unknown_kind_and_tiles_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="takes images and audio, not 'video'"):
        tiny().encode("video", {}, None)
    tiles = image("x", np.ones((2, 8, 8), np.int64), 2, 1, 112)
    wrong = {key: mx.array(value) for key, value in tiles.items()} | {"size": mx.array([112, 112])}
    with pytest.raises(ValueError, match="2 tiles cannot be 1 rows of 1"):
        tiny().encode("image", wrong, "vision")


def test_microsofts_configuration_falls_back_to_the_constants_of_its_code() -> None:
    raw = config("Phi4MMForCausalLM", vision_config=None)
    raw["embd_layer"] = {"image_embd_layer": {"crop_size": 448}}
    raw["audio_processor"] = {"config": {}}
    read = Phi4MMConfig.from_dict(raw)
    vision, audio = read.vision_config, read.audio_config
    assert (vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers) == (
        1152,
        4304,
        27,
    )
    assert (vision.side, vision.depth, audio.bias_max_distance) == (32, 26, 500)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            {"embd_layer": {"image_embd_layer": {"hd_transform_order": "glb_sub"}}},
            "embd_layer.image_embd_layer.hd_transform_order is 'glb_sub'; only 'sub_glb'",
        ),
        (
            {"audio_processor": {"config": {"chunk_size": 18}}},
            "chunk_size 18 is not supported, only -1",
        ),
        ({"vision_config": {"feature_layer": 0}}, "feature_layer 0 of 27 layers"),
        ({"vision_config": {"image_size": 100}}, "image_size 100 is not a multiple of patch_size"),
    ],
)
def test_what_is_not_built_is_refused_by_name(part: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Phi4MMConfig.from_dict(config("Phi4MMForCausalLM", **part))
