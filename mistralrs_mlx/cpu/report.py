"""What the CPU backend would choose here, for people."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from mistralrs_mlx.errors import ConfigError

from .blas import bind_openblas
from .compiling import VARIABLE, probe, wished
from .policy import describe_weights

__all__ = ["Fact", "cpu_facts"]

SLOWING = {
    "OPENBLAS_CORETYPE": "forces kernels, maybe of an older processor; without it decoding may be "
    "twice as fast",
    "OPENBLAS_L2_SIZE": "outranks the size that the processor tells; without it products may be "
    "faster",
}


@dataclass(frozen=True)
class Fact:
    """One line of a report."""

    name: str
    text: str


def cpu_facts() -> tuple[Fact, ...]:
    """BLAS, variables that slow it down, the form of weights, and compiled kernels."""
    return (
        Fact("BLAS", blas := _or_complaint(_blas)),
        *(_slowing() if blas.startswith("OpenBLAS") else ()),
        Fact("CPU weights", _or_complaint(describe_weights)),
        Fact("compile", _or_complaint(_compiling)),
    )


def _blas() -> str:
    blas = bind_openblas()
    return f"{blas.name}, {blas.detail}"


def _slowing() -> list[Fact]:
    return [
        Fact(name, f"={os.environ[name]}: {effect}")
        for name, effect in SLOWING.items()
        if name in os.environ
    ]


def _compiling() -> str:
    found = probe()
    if wished():
        return f"{'on' if found.safe else 'off'}: {found.reason}"
    possible = f"{VARIABLE}=on would work" if found.safe else f"{VARIABLE}=on would have no effect"
    return f"off; {possible}: {found.reason}"


def _or_complaint(say: Callable[[], str]) -> str:
    try:
        return say()
    except ConfigError as error:  # a doctor says what is wrong, and goes on
        return str(error)
