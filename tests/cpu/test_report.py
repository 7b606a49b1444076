"""What `doctor` says about the CPU backend."""

import pytest

from mistralrs_mlx.cpu import report
from mistralrs_mlx.cpu.blas import Blas
from mistralrs_mlx.cpu.compiling import Probe


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*report.SLOWING, "MISTRALRS_MLX_CPU_WEIGHTS", "MISTRALRS_MLX_COMPILE"):
        monkeypatch.delenv(name, raising=False)
    blas = Blas("OpenBLAS", "kernels for Zen", optimised=True, by_columns=True)
    monkeypatch.setattr(report, "bind_openblas", lambda: blas)
    monkeypatch.setattr(report, "probe", lambda: Probe(False, "there is no g++"))


def facts() -> dict[str, str]:
    return {fact.name: fact.text for fact in report.cpu_facts()}


def test_it_names_what_is_used() -> None:
    assert facts()["BLAS"] == "OpenBLAS, kernels for Zen"
    assert list(facts()) == ["BLAS", "CPU weights", "compile"]


def test_it_names_variables_that_slow_openblas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert facts()["OPENBLAS_CORETYPE"].startswith("=Haswell: forces kernels")


@pytest.mark.parametrize(("wish", "said"), [("off", "off; MISTRALRS"), ("on", "off: there is no")])
def test_it_says_whether_kernels_are_compiled(monkeypatch, wish: str, said: str) -> None:
    monkeypatch.setenv("MISTRALRS_MLX_COMPILE", wish)
    assert facts()["compile"].startswith(said)


def test_a_wrong_wish_is_told_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRALRS_MLX_CPU_WEIGHTS", "sparse")
    monkeypatch.setenv("MISTRALRS_MLX_COMPILE", "maybe")
    assert "'sparse'; it may be" in facts()["CPU weights"]
    assert "'maybe'; it may be" in facts()["compile"]
