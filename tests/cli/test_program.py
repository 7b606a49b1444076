"""The installed program, as a process."""

import subprocess
import sys

import pytest

from mistralrs_mlx.version import __version__
from tests.tidy.source import ROOT


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mistralrs_mlx", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_it_tells_its_version() -> None:
    assert program("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")])
def test_it_explains_itself(arguments: tuple[str, ...]) -> None:
    done = program(*arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_is_needed() -> None:
    assert program().returncode == 2


def test_the_doctor_names_versions_and_device() -> None:
    done = program("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    for fact in ("mistralrs-mlx", "Python", "memory", "mlx", "device"):
        assert f"\n{fact} " in f"\n{done.stdout}"


@pytest.mark.skipif(sys.platform != "linux", reason="Metal serves macOS")
def test_the_doctor_says_how_the_cpu_would_be_used() -> None:
    said = program("doctor").stdout
    for fact in ("BLAS", "CPU weights", "compile"):
        assert f"\n{fact} " in said


def test_a_wrong_path_fails_in_one_line() -> None:
    done = program("run", "-m", "/no/such/folder", "-i", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("mistralrs-mlx: ")
    assert done.stderr.count("\n") == 1
    assert "/no/such/folder" in done.stderr


def test_a_tiny_model_answers(tiny_llama) -> None:
    done = program("run", "-m", str(tiny_llama), "--max-tokens", "4", "--seed", "1", "-i", "Hello")
    assert done.returncode == 0, done.stderr
    assert "completion_tokens: 4" in done.stderr
