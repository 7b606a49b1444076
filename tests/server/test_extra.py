"""The server's packages are an extra, and whoever lacks one is told how to get it."""

import subprocess
import sys

import pytest

from tests.tidy.source import ROOT


@pytest.mark.parametrize("name", ["msgspec", "starlette", "uvicorn"])
def test_a_missing_package_is_told_with_the_line_that_installs_it(name: str) -> None:
    code = f"import sys; sys.modules[{name!r}] = None; import mistralrs_mlx.server"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(f"serving needs {name}: pip install 'mistralrs-mlx[server]'")
