"""Break the code on purpose, one place at a time, and see the tests notice.

`python -m scripts.sabotage [WORD ...]` runs the breaks whose names have one of the words, or all of
them: some twenty minutes. Each is made in a copy of the tree. A break that no test notices is a
test that is missing.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.breaks import BREAKS, ROOT, Break

PYTEST = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider"]
PARTS = ("mistralrs_mlx", "tests", "examples", "scripts", "pyproject.toml")


def noticed(each: Break, tree: Path) -> bool:
    """Whether a test fails with this break."""
    each.make(tree)
    try:
        command = [*PYTEST, *shlex.split(each.tests)]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True)
    finally:
        each.mend(tree)
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"{each.name}: no test ran: {ended.stdout.decode()[-500:]}")
    return ended.returncode == 1


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("words", nargs="*", help="of the names of breaks to make")
    words = options.parse_args().words
    chosen = [each for each in BREAKS if not words or any(word in each.name for word in words)]
    unseen = []
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            whole = ROOT / part
            copy = shutil.copytree if whole.is_dir() else shutil.copyfile
            copy(whole, Path(folder) / part)
        for each in chosen:
            seen = noticed(each, Path(folder))
            print(f"{'noticed' if seen else 'NOT NOTICED'}: {each.name}", flush=True)
            unseen += [] if seen else [each.name]
    sys.exit(f"{len(unseen)} of {len(chosen)} breaks were not noticed" if unseen else 0)


if __name__ == "__main__":
    main()
