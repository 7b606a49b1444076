"""Encoded media take the places of their placeholders, and no others."""

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.models.multimodal import Encoded, splice

TEXT = mx.zeros((1, 12, 2))


def medium(start: int, tokens: int, value: float = 1.0, kind: str = "image") -> Encoded:
    rows = value + mx.arange(tokens)[:, None] * mx.ones((1, 2))
    return Encoded(kind=kind, start=start, tokens=tokens, rows=rows)


def column(embeddings: mx.array) -> list[float]:
    return [float(value) for value in np.array(embeddings)[0, :, 0]]


def test_media_stand_where_their_placeholders_are() -> None:
    spliced = splice(TEXT, [medium(7, 2, 10), medium(1, 3)])
    assert column(spliced) == [0, 1, 2, 3, 0, 0, 0, 10, 11, 0, 0, 0]
    assert column(splice(TEXT, [medium(0, 12)])) == list(range(1, 13))
    assert splice(TEXT, []) is TEXT


@pytest.mark.parametrize("cut", range(1, 12))
def test_chunks_get_their_share(cut: int) -> None:
    media = [medium(1, 3), medium(4, 1, 7), medium(7, 5, 10)]
    first, rest = splice(TEXT[:, :cut], media), splice(TEXT[:, cut:], media, cut)
    assert column(first) + column(rest) == column(splice(TEXT, media))


def test_the_embeddings_keep_their_type() -> None:
    assert splice(TEXT.astype(mx.bfloat16), [medium(1, 3)]).dtype == mx.bfloat16


def test_wrong_counts_and_overlaps_are_refused() -> None:
    with pytest.raises(RequestError, match="audio at token 4: the prompt holds 3 placeholders"):
        Encoded(kind="audio", start=4, tokens=3, rows=mx.zeros((4, 2)))
    with pytest.raises(RequestError, match="image at token 3 begins inside another"):
        splice(TEXT, [medium(1, 3), medium(3, 2)])
