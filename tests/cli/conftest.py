"""The command line in front of a scripted runner."""

import io
import sys
from collections.abc import Callable

import pytest

from mistralrs_mlx import Which
from mistralrs_mlx.cli import main

from .scripted import ScriptedRunner


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ScriptedRunner:
    """The runner that the commands get, and a demo model that costs nothing."""
    scripted = ScriptedRunner()
    demo = Which.GGUF(quantized_model_id="/cache", quantized_filename="demo.gguf")
    monkeypatch.setattr("mistralrs_mlx.cli.model.Runner", scripted)
    monkeypatch.setattr("mistralrs_mlx.demo_model", lambda: demo)
    return scripted


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the program: its arguments, what is piped in -> exit status, stdout, stderr."""

    def call(*arguments: str, piped: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(piped))
        try:
            status = main(arguments)
        except SystemExit as left:  # argparse leaves this way
            status = int(left.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
