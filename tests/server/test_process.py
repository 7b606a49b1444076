"""The program in a process of its own: it starts, answers, and ends when told to."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.tidy.source import ROOT
from tests.tiny_checkpoint import write_tiny_llama

from .asking import CHAT

INTERRUPTED = 130
ENDLESS = {"messages": "Hi", "max_tokens": 90_000, "ignore_eos": True, "stream": True}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`mistralrs-mlx serve` with a tiny model, and its address."""
    model = write_tiny_llama(tmp_path / "model", max_position_embeddings=100_000)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mistralrs_mlx", "serve", "-m", str(model), "-p", str(port)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def awaited(url: str) -> bool:
    """Whether the server answers within a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            return httpx.get(f"{url}/health").status_code == 200
        except httpx.TransportError:
            time.sleep(0.1)
    return False


@pytest.mark.slow
def test_ctrl_c_ends_it_even_while_it_answers(program: tuple[subprocess.Popen[str], str]) -> None:
    process, url = program
    assert awaited(url)
    with httpx.stream("POST", url + CHAT, json=ENDLESS, timeout=30) as answer:
        lines = answer.iter_lines()
        next(lines)
        process.send_signal(signal.SIGINT)
        with pytest.raises(httpx.TransportError):
            list(lines)
    assert process.wait(20) == INTERRUPTED
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
