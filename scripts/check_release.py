"""Build the sdist and the wheel, install the wheel into a new environment, and run it from there.

    python -m scripts.check_release             # into dist/
    python -m scripts.check_release --network   # dependencies from the package index, as users do

Without --network the new environment borrows the dependencies of this one: nothing is downloaded.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

__all__ = ["Unfit", "check_contents", "main"]

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mistralrs_mlx"
NEEDED = ("mistralrs_mlx/py.typed", *(f"mistralrs_mlx/server/{n}.html" for n in ("chat", "docs")))
STRANGERS = ("tests/", "scripts/", "docs/", "examples/", "benchmarks/")
WHERE = "import mistralrs_mlx; print(mistralrs_mlx.__file__)"


class Unfit(Exception):
    """The release must not be published; the message says why."""


def main(argv: list[str] | None = None) -> int:
    """Check everything; 0 if it may be published."""
    options = _options(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            wheel = _built(options.outdir, Path(scratch))
            check_contents(wheel)
            _installed(wheel, Path(scratch) / "venv", network=options.network)
    except Unfit as unfit:
        print(f"not fit: {unfit}", file=sys.stderr)
        return 1
    print(f"fit to be published: {options.outdir}")
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--outdir", type=Path, default=ROOT / "dist")
    parser.add_argument("--network", action="store_true", help="install dependencies anew")
    return parser.parse_args(argv)


def _built(outdir: Path, scratch: Path) -> Path:
    """Build both; the wheel comes from the sdist and must be that of the working tree."""
    shutil.rmtree(outdir, ignore_errors=True)
    build = [sys.executable, "-m", "build", "--no-isolation"]
    _run(*build, "--outdir", str(outdir), str(ROOT), cwd=ROOT)
    _run(*build, "--wheel", "--outdir", str(scratch / "tree"), str(ROOT), cwd=ROOT)
    wheel, sdist = _only(outdir, "*.whl"), _only(outdir, "*.tar.gz")
    if _digests(wheel) != _digests(_only(scratch / "tree", "*.whl")):
        raise Unfit("the sdist makes another wheel than the working tree")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    if not any(name.endswith("/tests/conftest.py") for name in names):
        raise Unfit("the sdist has no tests")
    print(f"built {sdist.name} and {wheel.name}")
    return wheel


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise Unfit(f"{len(found)} files of {pattern} were built, and 1 was expected")
    return found[0]


def _digests(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def check_contents(wheel: Path) -> None:
    """The wheel has the whole package and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    needed = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if _belongs(path)}
    needed |= set(NEEDED)
    if missing := sorted(needed - names):
        raise Unfit(f"the wheel lacks {', '.join(missing)}")
    if strange := sorted(name for name in names if name.startswith(STRANGERS)):
        raise Unfit(f"the wheel has {', '.join(strange[:5])}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        raise Unfit("the wheel has no licence")
    print(f"{len(names)} files in the wheel")


def _belongs(path: Path) -> bool:
    """Whether it is a file of the package, not something that a tool has left there."""
    parts = path.relative_to(PACKAGE).parts
    left = any(part.startswith(".") or part == "__pycache__" for part in parts)
    return path.is_file() and not left


def _installed(wheel: Path, venv: Path, *, network: bool) -> None:
    """Install it where no repository is, and use it there."""
    _run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    python = venv / "bin" / "python"
    if not network:
        _borrow(venv)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    _run(*pip, *([] if network else ["--no-deps", "--no-index"]), f"{wheel}")
    place = _run(str(python), "-c", WHERE, cwd=venv).strip()
    if not Path(place).resolve().is_relative_to(venv.resolve()):
        raise Unfit(f"the package was imported from {place}")
    program = str(venv / "bin" / "mistralrs-mlx")
    version = wheel.name.split("-")[1]
    if (said := _run(program, "--version", cwd=venv).strip()) != version:
        raise Unfit(f"the program says {said}, and the wheel {version}")
    print(_run(str(python), "-m", "mistralrs_mlx", "doctor", cwd=venv).rstrip())
    _run(program, "serve", "--help", cwd=venv)
    answer = _run(program, "run", "--max-tokens", "8", "--temperature", "0", "-i", "Hi", cwd=venv)
    if not answer.strip():
        raise Unfit("the demo model said nothing")
    print(f"the demo model says: {answer.strip()}")


def _borrow(venv: Path) -> None:
    """Let the environment see what is installed here, after what is its own."""
    ours = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    site = _only(venv / "lib", "python*") / "site-packages"
    (site / "borrowed.pth").write_text("\n".join(sorted(ours)) + "\n", encoding="utf-8")


def _run(*command: str, cwd: Path | None = None) -> str:
    """Run a command without the repository on Python's path, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unfit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
