"""A model's answer says something; it gives the terminal no orders."""

import io
from typing import cast

import pytest

from mistralrs_mlx import Runner
from mistralrs_mlx.cli.answer import Sampling, show
from mistralrs_mlx.cli.complaint import complain

from .scripted import ScriptedRunner, chunk

HARM = "\x1b]52;c;cm0gLXJm\x07\x9b2J\r\x7f ok\n\tü"
TAME = "\ufffd]52;c;cm0gLXJm\ufffd\ufffd2J\ufffd ok\n\tü"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_terminal_gets_no_escape_sequences(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr(f"sys.{stream}", terminal)
    script = iter([chunk(content=HARM, reasoning=HARM)])
    show(cast(Runner, ScriptedRunner([script])), [], Sampling())
    complain(ValueError(HARM))
    said = terminal.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert TAME in said
    assert not set(said) & {"\x1b", "\x07", "\x9b", "\r", "\x7f"}


def test_a_file_gets_the_answer_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show(cast(Runner, ScriptedRunner([iter([chunk(content=HARM)])])), [], Sampling())
    assert capsys.readouterr().out == HARM + "\n"
