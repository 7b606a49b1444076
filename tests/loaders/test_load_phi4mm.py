"""Phi-4-multimodal loads in any form: its decoder packed, its encoders and adapters never."""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mistralrs_mlx.api.enums import MultimodalArchitecture, VisionArchitecture
from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cpu.policy import VARIABLE, choose_policy
from mistralrs_mlx.loaders import safetensors
from mistralrs_mlx.loaders.load import LoadOptions, load
from mistralrs_mlx.media.types import DecodedImage
from mistralrs_mlx.models.phi4mm.model import Phi4MM
from mistralrs_mlx.models.phi4mm.processor import Phi4MMProcessor
from tests.models.phi4mm_answers import answer, encoded, step, tiny_phi4mm
from tests.models.phi4mm_tiny import image, sound, write_tiny_phi4mm
from tests.models.splicing import Encoded

PROMPT = list(range(20, 60))
FORMS = {"plain": None, "dense": "dense", "packed": "packed"}  # of the CPU's policy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_phi4mm(tmp_path_factory.mktemp("phi4mm"))


def loaded(folder: Path, isq: str | None = None, form: str | None = None) -> Phi4MM:
    options = LoadOptions(arch=VisionArchitecture.Phi4MM, in_situ_quant=isq)
    policy = None if form is None else lambda count: choose_policy(count).adapt
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, form or "auto")
        model = load(safetensors.load(folder), options, policy=policy).model
    assert isinstance(model, Phi4MM)
    return model


def heard(model: Phi4MM) -> Encoded:
    return encoded(model, "audio", 6, 5, sound("mel", 40), {"audio"})


@pytest.mark.parametrize("arch", [VisionArchitecture.Phi4MM, MultimodalArchitecture.Phi4MM, None])
def test_every_name_of_the_architecture_opens_it(folder: Path, arch: object) -> None:
    model = load(safetensors.load(folder), LoadOptions(arch=arch)).model
    assert isinstance(model, Phi4MM)
    assert (model.adapters, model.rope_border) == (("vision", "speech"), 64)


def test_quantization_spares_encoders_and_adapters(folder: Path) -> None:
    model = loaded(folder, "Q8_0")
    kinds = {name: type(module) for name, module in model.named_modules()}
    packed = {name for name, kind in kinds.items() if issubclass(kind, nn.QuantizedLinear)}
    assert len(packed) == 8
    assert all(name.endswith(".base_layer") for name in packed)
    assert model.audio.tower.encoder_embedding.global_mean.dtype == mx.float32


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("isq", [None, "Q8_0"], ids=["dense", "quantized"])
def test_modes_of_one_batch_are_apart_in_every_form(
    folder: Path, isq: str | None, form: str
) -> None:
    model, slots = loaded(folder, isq, FORMS[form]), [0, 1, 2]
    media, caches = [heard(model)], Caches(model.cache_layout())
    for slot in slots:
        answer(model, (PROMPT, media, slot), caches=caches)
    together = step(model, caches, model.embed(mx.array([[7]] * 3)), slots)
    for slot in slots:
        alone = answer(model, ([*PROMPT, 7], media, slot), len(PROMPT), 1)[-1]
        assert np.abs(together[slot, 0] - alone).max() <= 1e-4
    assert np.abs(together[0] - together[1]).max() > 0.1


@pytest.mark.parametrize("form", FORMS)
def test_a_quantized_model_says_nearly_the_same(folder: Path, form: str) -> None:
    exact, packed = loaded(folder), loaded(folder, "Q8_0", FORMS[form])
    for slot in (0, 1, 2):
        one, two = (answer(model, (PROMPT, [heard(model)], slot)) for model in (exact, packed))
        sizes = np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1)
        assert np.median((one * two).sum(-1) / sizes) > 0.999


def test_the_folder_says_what_its_tensors_say(folder: Path) -> None:
    config = safetensors.load(folder).config
    one, two = loaded(folder), tiny_phi4mm(**config)
    asked = (PROMPT, [heard(two)], 2)
    assert np.array_equal(answer(one, asked), answer(two, asked))


@pytest.mark.parametrize("size", [(300, 451), (191, 384), (1, 1), (500, 449)])
def test_the_model_makes_as_many_rows_as_the_processor_counts(
    folder: Path, size: tuple[int, int]
) -> None:
    media = Phi4MMProcessor().image(DecodedImage(pixels=np.full((*size, 3), 90, np.uint8)))
    arrays = {name: mx.array(array) for name, array in media.arrays.items()}
    assert loaded(folder).encode("image", arrays, "vision").shape == (media.tokens, 64)


def test_half_precision_reaches_the_embeddings(folder: Path) -> None:
    model = loaded(folder)
    model.image.set_dtype(mx.bfloat16)
    tiles = image("half", np.ones((1, 32, 32), np.int64), 1, 1, 448)
    arrays = {name: mx.array(array) for name, array in tiles.items()}
    assert model.encode("image", arrays, "vision").dtype == mx.bfloat16
