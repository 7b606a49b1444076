"""Every encoder and every head gives the reference's vectors, alone and in a ragged batch."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.loaders.embedders import LoadedEmbedder, load_embedder
from mistralrs_mlx.loaders.load import LoadOptions
from mistralrs_mlx.loaders.sentence_transformers import load
from tests.embedding.stored import Golden, goldens

TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=goldens())
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    return Golden.write(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["apart", "fused"])
def loaded(golden: Golden, request: pytest.FixtureRequest) -> LoadedEmbedder:
    made = load_embedder(load(golden.folder))
    if request.param:
        fuse(made.embedder.encoder)
    return made


def vectors(loaded: LoadedEmbedder, rows: Sequence[list[int]], width: int = 0) -> np.ndarray:
    lengths = [len(row) for row in rows]
    padded = [row + [0] * (max(*lengths, width) - len(row)) for row in rows]
    made = loaded.embedder(mx.array(padded), lengths)
    assert made.dtype == mx.float32
    return np.array(made)


def test_the_states_of_a_row_are_the_references(golden: Golden, loaded: LoadedEmbedder) -> None:
    row = golden.rows[0]
    states = np.array(loaded.embedder.encoder.states(mx.array([row]), [len(row)]))[0]
    assert np.abs(states[: len(golden.states)] - golden.states).max() <= TOLERANCE


def test_vectors_of_single_rows(golden: Golden, loaded: LoadedEmbedder) -> None:
    for row, expected in zip(golden.rows, golden.vectors, strict=True):
        assert np.abs(vectors(loaded, [row]) - expected).max() <= TOLERANCE


def test_vectors_of_a_ragged_batch(golden: Golden, loaded: LoadedEmbedder) -> None:
    assert np.abs(vectors(loaded, golden.rows) - golden.vectors).max() <= TOLERANCE


def test_how_far_rows_are_padded_does_not_matter(golden: Golden, loaded: LoadedEmbedder) -> None:
    made = vectors(loaded, golden.rows, width=150)
    assert np.isfinite(made).all()
    assert np.abs(made - golden.vectors).max() <= TOLERANCE


def test_half_precision_points_nearly_the_same_way(golden: Golden) -> None:
    from mistralrs_mlx import ModelDType

    loaded = load_embedder(load(golden.folder), LoadOptions(dtype=ModelDType.BF16))
    states = loaded.embedder.encoder.states(mx.array([golden.rows[0]]), [len(golden.rows[0])])
    assert states.dtype == mx.bfloat16
    made = vectors(loaded, golden.rows)
    sizes = np.linalg.norm(made, axis=-1) * np.linalg.norm(golden.vectors, axis=-1)
    assert ((made * golden.vectors).sum(-1) / sizes).min() > 0.995
