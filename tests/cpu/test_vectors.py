"""The way around `cblas_sgemm`: single rows come out right, everything else goes through."""

import ctypes
import itertools
import platform
import sys
from collections.abc import Callable

import numpy as np
import pytest

from mistralrs_mlx.cpu import vectors
from mistralrs_mlx.cpu.blas import _address, _openblas

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="instructions of x86-64"
)
ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112
INT, FLOAT, POINTER = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
TYPES = (*[INT] * 6, FLOAT, POINTER, INT, POINTER, INT, FLOAT, POINTER, INT)


@pytest.fixture(scope="module")
def sgemm() -> Callable[..., None]:
    path = _openblas()
    assert path is not None
    library = ctypes.CDLL(str(path))
    addresses = [_address(library, f"scipy_cblas_{name}") for name in ("sgemm", "sgemv")]
    detoured = vectors.detour(*addresses)
    assert detoured is not None
    return ctypes.CFUNCTYPE(None, *TYPES)(detoured)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("transposed", list(itertools.product([AS_IT_IS, TRANSPOSED], repeat=2)))
@pytest.mark.parametrize(("alpha", "beta"), [(1, 0), (0.5, 1), (2, -3)])
@pytest.mark.parametrize("more", [0, 3])
def test_every_product_is_right(sgemm, rows, transposed, alpha, beta, more) -> None:
    random = np.random.default_rng(0)
    for outputs, inputs in itertools.product((1, 3, 64, 500), (1, 7, 300)):
        a, b = (
            random.standard_normal(shape[:: 1 if how == AS_IT_IS else -1]).astype("f")
            for shape, how in zip(((rows, inputs), (inputs, outputs)), transposed, strict=True)
        )
        stored = [np.pad(matrix, ((0, 0), (0, more))) for matrix in (a, b)]
        c = random.standard_normal((rows, outputs + more)).astype("f")
        before = c.copy()
        if beta == 0:
            c[:, :outputs] = np.nan  # fresh memory may hold anything
        given = [(m.ctypes.data, m.shape[1]) for m in (*stored, c)]
        sizes = (rows, outputs, inputs)
        sgemm(ROW_MAJOR, *transposed, *sizes, alpha, *given[0], *given[1], beta, *given[2])
        left, right = (
            m if how == AS_IT_IS else m.T for m, how in zip((a, b), transposed, strict=True)
        )
        expected = alpha * (left @ right) + (beta * before[:, :outputs] if beta else 0)
        np.testing.assert_allclose(c[:, :outputs], expected, atol=1e-3)
        np.testing.assert_array_equal(c[:, outputs:], before[:, outputs:])


def test_an_empty_sum_is_zero(sgemm) -> None:
    a, c = np.ones((1, 1), "f"), np.full((1, 4), np.nan, "f")
    place = (a.ctypes.data, 1)
    sgemm(ROW_MAJOR, AS_IT_IS, AS_IT_IS, 1, 4, 0, 1, *place, a.ctypes.data, 4, 0, c.ctypes.data, 4)
    assert c.tolist() == [[0.0] * 4]


def test_other_processors_go_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert vectors.detour(1, 2) is None
