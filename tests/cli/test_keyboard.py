"""Ctrl-C and Ctrl-D at a real terminal, in front of a model that would never stop by itself."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.source import ROOT
from tests.tiny_checkpoint import write_tiny_llama

CTRL_C, CTRL_D = b"\x03", b"\x04"


class Terminal:
    """A chat with a program at the other end of a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self._keys, screen = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mistralrs_mlx", *arguments],
            cwd=ROOT,
            env=os.environ | {"TERM": "dumb"},
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(screen)

    def press(self, keys: bytes) -> None:
        time.sleep(0.7)  # Python's readline overlooks Ctrl-C while it sets the terminal up
        os.write(self._keys, keys)

    def read_until(self, text: bytes, seconds: float = 60) -> bytes:
        """What the program writes, up to and with this text."""
        seen, deadline = b"", time.monotonic() + seconds
        while text not in seen:
            ready, _, _ = select.select([self._keys], [], [], deadline - time.monotonic())
            assert ready, f"no {text!r} in {seen!r}"
            seen += os.read(self._keys, 4096)
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._keys)


def _own_terminal() -> None:
    """In the child: make standard input the terminal whose Ctrl-C this process gets."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts what runs behind it without


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Terminal]:
    model = write_tiny_llama(tmp_path / "endless", seed=1, max_position_embeddings=1_000_000)
    terminal = Terminal("run", "-m", str(model), "--temperature", "0")
    terminal.read_until(b"> ")
    yield terminal
    terminal.close()


def test_ctrl_c_stops_the_answer_and_not_the_program(chat: Terminal) -> None:
    chat.press(b"Tell me everything.\n")
    chat.read_until(b"everything.\r\n")
    chat.press(CTRL_C)
    chat.press(b"/help\n")
    chat.read_until(b"list the commands")
    chat.press(b"/exit\n")
    assert chat.process.wait(20) == 0


def test_ctrl_d_at_the_prompt_leaves(chat: Terminal) -> None:
    chat.press(CTRL_D)
    assert chat.process.wait(20) == 0


def test_ctrl_c_twice_at_the_prompt_leaves(chat: Terminal) -> None:
    chat.press(CTRL_C)
    chat.read_until(b"Ctrl-C again leaves.")
    chat.press(CTRL_C)
    assert chat.process.wait(20) == 0
