"""An optimised BLAS under MLX's CPU backend.

The Linux wheel of MLX is linked against reference BLAS, some 25 times slower than OpenBLAS in
prefill. It imports three BLAS functions, and their jump slots can be pointed at the same
functions of the `scipy-openblas32` wheel: in this process, in libmlx alone, at any time.
A small product is computed afterwards, and any doubt puts the old functions back.

`MISTRALRS_MLX_BLAS=off` leaves everything as it is. `MISTRALRS_MLX_CPU_THREADS` lets more threads
than one compute a product.
"""

import ctypes
import importlib.util
import logging
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from mistralrs_mlx.errors import ConfigError

from .elf import Mapping, import_slots, mappings
from .vectors import detour

__all__ = ["Blas", "bind_openblas"]

log = logging.getLogger(__name__)

VARIABLE = "MISTRALRS_MLX_BLAS"
THREADS = "MISTRALRS_MLX_CPU_THREADS"
SMALL_MATRICES = ("SkylakeX", "Cooperlake", "SapphireRapids")  # kernels that copy no small matrix
FUNCTIONS = frozenset({"cblas_sgemm", "cblas_dgemm", "cblas_cgemm"})
PROT_READ_WRITE = 3


@dataclass(frozen=True)
class Blas:
    """The library that MLX's matrix products use now."""

    name: str
    detail: str
    optimised: bool
    by_columns: bool  # whether it wants a weight (N, K) stored so that outputs are neighbours
    threads: int = 1


def _reference(reason: str) -> Blas:
    detail = f"which MLX's wheel is linked with: {reason}"
    return Blas("reference", detail, optimised=False, by_columns=True)


_bound: list[tuple[Blas, ctypes.CDLL | None]] = []  # decided once; the library must stay loaded


def bind_openblas() -> Blas:
    """Route libmlx's products to OpenBLAS if that is possible, once, and say what is used."""
    if not _bound:
        _bound.append(_bind())
        log.info("BLAS for MLX's CPU backend: %s (%s)", _bound[0][0].name, _bound[0][0].detail)
    return _bound[0][0]


def _wished_threads() -> int:
    """How many threads may compute a product: one, unless the user's variable says more.

    They wait for each other, so a neighbour on one of their cores holds all of them up.
    """
    wish, cores = os.environ.get(THREADS, "1"), os.cpu_count() or 1
    if not wish.isdecimal() or not 1 <= int(wish) <= cores:
        raise ConfigError(f"{THREADS}={wish!r}; give a number from 1 to {cores}, that of the cores")
    return int(wish)


def _bind() -> tuple[Blas, ctypes.CDLL | None]:
    if sys.platform != "linux":
        return _reference("OpenBLAS is for Linux"), None
    if os.environ.get(VARIABLE, "auto") == "off":
        return _reference(f"{VARIABLE}=off"), None
    path = _openblas()
    if path is None:
        return _reference("scipy-openblas32 is not installed"), None
    threads = _wished_threads()
    try:
        return _rerouted(ctypes.CDLL(str(path)), threads)
    except (OSError, ValueError, AttributeError) as error:  # a library or a wheel of another build
        log.warning("OpenBLAS is installed but cannot be bound: %s", error)
        return _reference(f"OpenBLAS cannot be bound, {error}"), None


def _rerouted(library: ctypes.CDLL, threads: int) -> tuple[Blas, ctypes.CDLL | None]:
    """Write into libmlx, unless it is not the one we know or computes something else then."""
    slots = _mlx_slots()
    blas = _openblas_of(library, threads)
    targets = _targets(library, detoured=blas.by_columns)
    if set(slots) != FUNCTIONS or not all(_make_writable(address) for address in slots.values()):
        return _reference("this build of MLX calls its BLAS another way"), None
    library.scipy_openblas_set_num_threads(blas.threads)
    before = {name: _read(address) for name, address in slots.items()}
    _write_all(slots, targets)
    if not _product_is_right():
        _write_all(slots, before)
        return _reference("OpenBLAS failed its test"), None
    return blas, library


def _targets(library: ctypes.CDLL, *, detoured: bool) -> dict[str, int]:
    """What each of MLX's imports shall be: OpenBLAS's own, with a way out for single rows."""
    targets = {name: _address(library, f"scipy_{name}") for name in FUNCTIONS}
    if not detoured:
        return targets
    sgemm = detour(targets["cblas_sgemm"], _address(library, "scipy_cblas_sgemv"))
    return targets if sgemm is None else {**targets, "cblas_sgemm": sgemm}


def _openblas() -> Path | None:
    """The shared object inside the `scipy-openblas32` wheel, found without importing it."""
    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None or spec.origin is None:
        return None
    found = sorted((Path(spec.origin).parent / "lib").glob("libscipy_openblas*.so"))
    return found[0] if found else None


def _mlx_slots() -> dict[str, int]:
    def is_libmlx(mapping: Mapping) -> bool:
        return mapping.offset == 0 and mapping.path.endswith("/libmlx.so")

    loaded = next((mapping for mapping in mappings() if is_libmlx(mapping)), None)
    return {} if loaded is None else import_slots(loaded.path, loaded.start, FUNCTIONS)


def _address(library: ctypes.CDLL, name: str) -> int:
    address = ctypes.cast(library[name], ctypes.c_void_p).value
    if address is None:
        raise ValueError(f"{name} has no address")
    return address


def _make_writable(address: int) -> bool:
    page = next((m for m in mappings() if m.start <= address < m.stop), None)
    if page is None or page.writable:
        return page is not None
    size = os.sysconf("SC_PAGESIZE")  # a build with full RELRO
    start = address - address % size
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mprotect(ctypes.c_void_p(start), size, PROT_READ_WRITE) == 0)


def _read(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def _write_all(slots: dict[str, int], targets: dict[str, int]) -> None:
    for name, address in slots.items():
        ctypes.c_uint64.from_address(address).value = targets[name]


def _product_is_right() -> bool:
    """Small integers, so that any order of summation gives the exact result."""
    a = [[float(7 * i + j) for j in range(7)] for i in range(5)]
    b = [[float((3 * i + j) % 11) for j in range(7)] for i in range(3)]
    expected = [[sum(x * y for x, y in zip(row, column, strict=True)) for column in b] for row in a]
    with mx.stream(mx.cpu):
        rows, columns = mx.array(a), mx.array(b).T
        stored = mx.contiguous(columns)  # products read it another way than a transposed view
        single = [(rows[:1] @ matrix).tolist() for matrix in (columns, stored)]
        return bool((rows @ columns).tolist() == expected and single == [expected[:1]] * 2)


def _openblas_of(library: ctypes.CDLL, threads: int) -> Blas:
    library.scipy_openblas_get_config.restype = ctypes.c_char_p
    library.scipy_openblas_get_corename.restype = ctypes.c_char_p
    core = library.scipy_openblas_get_corename().decode()
    version = " ".join(library.scipy_openblas_get_config().decode().split()[:2])
    copies = core not in SMALL_MATRICES or threads > 1  # small products are never shared
    return Blas(
        "OpenBLAS",
        f"{version}, kernels for {core}, threads: {threads}",
        optimised=True,
        by_columns=platform.machine() == "x86_64" and copies,
        threads=threads,
    )
