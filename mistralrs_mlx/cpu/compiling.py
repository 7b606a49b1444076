"""Whether MLX may compile kernels on the CPU backend of this machine.

It calls g++ while the model runs, and loads the shared objects from a folder in the temporary one.
A folder that cannot be written is an error in the middle of an answer, and a damaged object kills
the process. So this is off unless asked for, and asked for it is tried in a process of its own.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from mistralrs_mlx.errors import ConfigError

__all__ = ["VARIABLE", "Probe", "apply_wish", "probe", "wished"]

log = logging.getLogger(__name__)

VARIABLE = "MISTRALRS_MLX_COMPILE"
TEMPORARY = ("TMPDIR", "TMP", "TEMP", "TEMPDIR")  # in the order of C++'s temp_directory_path
PATIENCE = 60  # seconds; one kernel takes less than one
TRIAL = """
import ctypes, sys
for path in sys.argv[1:]:
    ctypes.CDLL(path)
import mlx.core as mx
mx.set_default_device(mx.cpu)
mx.enable_compile()
x = mx.arange(64, dtype=mx.float32)
assert mx.compile(lambda x: 2 * x * x + 1)(x).tolist() == [2.0 * i * i + 1 for i in range(64)]
"""


@dataclass(frozen=True)
class Probe:
    """Whether kernels can be compiled safely, and what was found."""

    safe: bool
    reason: str


def wished(*, default: bool = False) -> bool:
    """What the environment asks for. Raises `ConfigError` for anything but on and off."""
    wish = os.environ.get(VARIABLE, "on" if default else "off")
    if wish not in ("on", "off"):
        raise ConfigError(f"{VARIABLE}={wish!r}; it may be 'on' or 'off'")
    return wish == "on"


def apply_wish() -> None:
    """Switch compiled kernels on if that was asked for and is safe, and off otherwise."""
    if not wished():
        mx.disable_compile()
        return
    found = probe()
    if found.safe:
        mx.enable_compile()
        log.info("compiled kernels: on (%s)", found.reason)
    else:
        mx.disable_compile()
        log.warning("%s=on has no effect: %s", VARIABLE, found.reason)


def probe() -> Probe:
    """Look at the compiler and the folder, then compile one kernel in another process.

    Never raises, whatever it meets.
    """
    try:
        problem = _problem()
        return Probe(False, problem) if problem else _trial()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Probe(False, f"the trial failed: {error}")


def _problem() -> str | None:
    """What makes a trial needless."""
    if shutil.which("g++") is None:
        return "there is no g++"
    if not sys.executable:
        return "this Python cannot start another"
    temporary = _temporary()
    if not temporary.is_dir() or not os.access(temporary, os.W_OK | os.X_OK):
        return f"{temporary} is not a folder that can be written"
    return next(filter(None, map(_complaint, _folders(temporary))), None)


def _complaint(folder: Path) -> str | None:
    """Why nothing should be loaded from this folder."""
    found = folder.stat()
    if found.st_uid != os.geteuid():
        return f"{folder} belongs to another user"
    if found.st_mode & 0o002:
        return f"{folder} can be written by any user"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written"


def _trial() -> Probe:
    kernels = [str(path) for path in (_temporary() / "mlx").rglob("*.so")]
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, *kernels],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode == 0:
        return Probe(True, f"g++ works, kernels are kept in {_temporary() / 'mlx'}")
    if done.returncode < 0:
        died = f"it died of {signal.Signals(-done.returncode).name}"
    else:
        died = (done.stderr.strip().splitlines() or ["it failed"])[-1]
    return Probe(False, f"a trial in {_temporary() / 'mlx'}: {died}. Deleting that folder may help")


def _temporary() -> Path:
    return Path(next((os.environ[name] for name in TEMPORARY if name in os.environ), "/tmp"))


def _folders(temporary: Path) -> Iterator[Path]:
    """Where MLX keeps its kernels, as far as it is there, and whatever lies in it."""
    root = temporary / "mlx"
    if root.exists():
        yield root
        yield from (path for path in root.rglob("*") if path.is_dir())
