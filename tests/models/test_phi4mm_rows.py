"""Rows with pictures, with sound and with text alone share passes without noticing each other."""

from functools import cache
from itertools import permutations

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.models.phi4mm.model import Phi4MM
from tests.models.phi4mm_answers import answer, request, step, tiny_phi4mm
from tests.models.phi4mm_cases import CASES

TOLERANCE = 5e-5  # the CPU backend's own functions, if they are there, round otherwise
NAMED = {case.name: case for case in CASES}
MIXED = ("text", "image", "audio")
NEXT = (17, 99, 120, 5)  # tokens that are fed behind the prompts


@cache
def model(fused: bool) -> Phi4MM:
    made = tiny_phi4mm()
    if fused:
        fuse(made)
    return made


def alone(model: Phi4MM, name: str) -> np.ndarray:
    """Logits behind the prompt, one token after the other."""
    caches, asked = Caches(model.cache_layout()), request(model, NAMED[name])
    answer(model, asked, caches=caches)
    steps = [step(model, caches, model.embed(mx.array([[token]])), [asked[2]])[0] for token in NEXT]
    return np.concatenate(steps)


@pytest.mark.parametrize("names", list(permutations(MIXED)), ids="-".join)
@pytest.mark.parametrize("fused", [False, True], ids=["apart", "fused"])
def test_three_modes_in_one_batch_are_three_alone(names: tuple[str, ...], fused: bool) -> None:
    lm = model(fused)
    asked, caches = [request(lm, NAMED[name]) for name in names], Caches(lm.cache_layout())
    for one in asked:
        answer(lm, one, caches=caches)
    tokens = [lm.embed(mx.array([[token]] * 3)) for token in NEXT]
    steps = [step(lm, caches, rows, [slot for _, _, slot in asked]) for rows in tokens]
    together = np.concatenate(steps, axis=1)
    for row, name in enumerate(names):
        assert np.abs(together[row] - alone(lm, name)).max() <= TOLERANCE


def test_the_adapter_matters_for_every_token() -> None:
    lm = model(False)
    tokens, media, _ = request(lm, NAMED["image"])
    plain, vision, speech = (answer(lm, (tokens, media, slot)) for slot in range(3))
    for one, other in ((plain, vision), (plain, speech), (vision, speech)):
        assert np.abs(one - other).max(-1).min() > 0.1


def test_text_after_a_picture_is_as_if_there_had_been_none() -> None:
    lm = tiny_phi4mm()
    before = answer(lm, request(lm, NAMED["text"]))
    answer(lm, request(lm, NAMED["image_and_audio"]))
    assert np.array_equal(answer(lm, request(lm, NAMED["text"])), before)


@pytest.mark.parametrize("name", ["several_images", "image_and_audio"])
def test_chunks_may_cut_through_media(name: str) -> None:
    lm, case = model(False), NAMED[name]
    asked = request(lm, case)
    rest = len(case.tokens) - 30
    whole, cut = answer(lm, asked), answer(lm, asked, 1, 9, 20, rest)
    assert np.abs(whole - cut).max() <= TOLERANCE


def test_a_picture_has_the_same_embeddings_whatever_stands_beside_it() -> None:
    lm = model(False)
    _, (first, *_), _ = request(lm, NAMED["several_images"])
    _, (only,), _ = request(lm, NAMED["image"])
    assert np.array_equal(np.array(first.rows), np.array(only.rows))
