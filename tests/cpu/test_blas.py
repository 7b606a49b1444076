"""OpenBLAS under MLX: it takes over where it can, computes the same, and steps back on a wish."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Accelerate serves macOS")

PRODUCT = """
import mlx.core as mx
from mistralrs_mlx.cpu.blas import bind_openblas
a = mx.random.normal((70, 90), key=mx.random.key(0))
b = mx.random.normal((3, 90, 40), key=mx.random.key(1))
before = a @ b
mx.eval(before)
blas = bind_openblas()
after = a @ b
print(blas.name, mx.abs(before - after).max().item() < 1e-4, bind_openblas() is blas)
"""


def run(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRODUCT],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_openblas_takes_over_a_running_mlx_and_agrees_with_it() -> None:
    assert run() == ["OpenBLAS", "True", "True"]


def test_the_users_wish_keeps_the_wheels_own_blas() -> None:
    assert run(MISTRALRS_MLX_BLAS="off") == ["reference", "True", "True"]


def test_threads_are_as_many_as_the_user_wishes() -> None:
    assert told(MISTRALRS_MLX_CPU_THREADS="1").endswith("threads: 1")
    assert told(MISTRALRS_MLX_CPU_THREADS="2").endswith("threads: 2")
    assert run(MISTRALRS_MLX_CPU_THREADS="2") == ["OpenBLAS", "True", "True"]


@pytest.mark.parametrize("wish", ["0", "-1", "two", "100000"])
def test_threads_that_cannot_be_are_refused(wish: str) -> None:
    assert told(MISTRALRS_MLX_CPU_THREADS=wish).startswith(
        f"MISTRALRS_MLX_CPU_THREADS='{wish}'; give a number from 1 to "
    )


def told(**environment: str) -> str:
    """What `doctor` says of the BLAS."""
    script = "from mistralrs_mlx.cpu.report import cpu_facts; print(cpu_facts()[0].text)"
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
