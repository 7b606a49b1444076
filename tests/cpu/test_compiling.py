"""Compiled kernels: off by default, and where they are unsafe a probe says why and never raises."""

import os
import shutil
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from mistralrs_mlx.cpu import compiling
from mistralrs_mlx.cpu.compiling import VARIABLE, Probe, apply_wish, probe, wished
from mistralrs_mlx.errors import ConfigError

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None, reason="needs Linux and g++"
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return tmp_path


def test_without_a_compiler_it_is_unsafe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert probe() == Probe(False, "there is no g++")


def test_without_a_temporary_folder_it_is_unsafe(temporary, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary / "nowhere"))
    assert probe().reason.endswith("nowhere is not a folder that can be written")


def test_in_a_folder_that_cannot_be_written_it_is_unsafe(temporary, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert "is not a folder that can be written" in probe().reason


@pytest.mark.parametrize("inner", ["mlx", "mlx/0.1/cpu"])
def test_in_a_folder_of_another_user_it_is_unsafe(temporary, monkeypatch, inner: str) -> None:
    (temporary / inner).mkdir(parents=True)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert probe() == Probe(False, f"{temporary / 'mlx'} belongs to another user")


def test_in_a_folder_that_anybody_may_write_it_is_unsafe(temporary) -> None:
    (temporary / "mlx" / "cpu").mkdir(parents=True)
    (temporary / "mlx" / "cpu").chmod(0o777)
    assert probe().reason.endswith("cpu can be written by any user")


def test_a_compiler_that_fails_makes_it_unsafe(temporary, monkeypatch) -> None:
    monkeypatch.setattr(compiling, "TRIAL", "raise RuntimeError('g++ went wrong')")
    assert "g++ went wrong" in probe().reason


def test_a_trial_that_dies_kills_nobody_else(temporary, monkeypatch) -> None:
    monkeypatch.setattr(compiling, "TRIAL", "import os; os.kill(os.getpid(), 7)")
    assert "it died of SIGBUS" in probe().reason


def test_a_trial_that_hangs_is_given_up(temporary, monkeypatch) -> None:
    monkeypatch.setattr(compiling, "TRIAL", "import time; time.sleep(60)")
    monkeypatch.setattr(compiling, "PATIENCE", 0.2)
    assert "timed out" in probe().reason


@needs_compiler
@pytest.mark.slow
def test_a_damaged_kernel_makes_it_unsafe(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert probe().safe
    (kernel, *_) = tmp_path.rglob("*.so")
    with kernel.open("r+b") as file:
        file.truncate(4096)
    found = probe()
    assert not found.safe
    assert "Deleting that folder may help" in found.reason


def test_nothing_is_compiled_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(compiling, "probe", lambda: pytest.fail("probed without need"))
    apply_wish()
    assert not wished()


@pytest.mark.parametrize("safe", [True, False])
def test_a_wish_is_granted_where_it_is_safe(monkeypatch, safe: bool) -> None:
    called: list[str] = []
    monkeypatch.setenv(VARIABLE, "on")
    monkeypatch.setattr(compiling, "probe", lambda: Probe(safe, "tried"))
    monkeypatch.setattr(mx, "enable_compile", lambda: called.append("on"))
    monkeypatch.setattr(mx, "disable_compile", lambda: called.append("off"))
    apply_wish()
    assert called == ["on" if safe else "off"]


def test_another_wish_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "maybe")
    with pytest.raises(ConfigError, match="'maybe'; it may be 'on' or 'off'"):
        wished()
