"""What is drawn on a terminal and in a notebook while a model comes, and that it goes away."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mistralrs_mlx import Runner, Which
from mistralrs_mlx.runtime.bars import Bar, Notebook, Terminal, seen_bar
from mistralrs_mlx.runtime.progress import telling
from tests.runtime.asking import chat
from tests.tidy.source import ROOT


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Displayed:
    """What a notebook shows below a cell: one output, replaced by every update."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, str]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> "Displayed":
        assert raw  # else it shows a dict
        assert display_id  # else it cannot be replaced
        self.outputs.append(data)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.outputs[-1] = data


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80)


@pytest.fixture
def bar(console: Console, clock: Clock) -> Bar:
    return Bar(Terminal(console), clock)


def drawn(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_stage_that_lasts_is_drawn(bar: Bar, console: Console, clock: Clock) -> None:
    bar("download", 0, 98_362_432)
    assert drawn(console) == ""
    clock.now = 1.0
    bar("download", 10_000_000, 98_362_432)
    assert "download" in drawn(console)
    assert "10.0/98.4 MB" in drawn(console)


def test_a_stage_that_is_done_soon_is_not_drawn(bar: Bar, console: Console, clock: Clock) -> None:
    bar("load", 1, 5)
    clock.now = 9.0
    bar("load", 5, 5)
    assert drawn(console) == ""


def test_each_stage_may_take_its_second(bar: Bar, console: Console, clock: Clock) -> None:
    for clock.now, stage in enumerate(["download", "load"]):
        bar(stage, 1, 5)
    assert drawn(console) == ""


def test_reading_a_prompt_draws_nothing(bar: Bar, console: Console, clock: Clock) -> None:
    for clock.now in (0.0, 5.0):
        bar("prefill", 1, 5)
    assert drawn(console) == ""


def test_the_bar_goes_with_its_stage(bar: Bar, console: Console, clock: Clock) -> None:
    for clock.now in (0.0, 2.0):
        bar("download", 1, 5)
    assert console._live_stack
    bar("load", 1, 5)
    assert not console._live_stack


def test_the_bar_goes_when_the_load_fails(
    bar: Bar, console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mistralrs_mlx.runtime.progress.seen_bar", lambda: bar)
    with contextlib.suppress(ValueError), telling(None) as told:
        for clock.now in (0.0, 2.0):
            told("load", 1, 5)
        raise ValueError
    assert "load" in drawn(console)
    assert not console._live_stack


def test_a_notebook_keeps_one_line_of_all_that_was_drawn(clock: Clock) -> None:
    displayed = Displayed()
    bar = Bar(Notebook(displayed.display), clock)
    for clock.now in range(4):
        bar("load", int(clock.now) * 10**9, 3 * 10**9)
    assert 'max="3000000000"' in displayed.outputs[0]["text/html"]
    bar.close()
    assert displayed.outputs == [{"text/plain": "load: 3.0 GB in 3.0 s"}]


def test_a_notebook_shows_how_far_it_is_now_and_then(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    displayed, shown = Displayed(), []
    bar = Bar(Notebook(displayed.display), clock)
    for pause in (60, 0):
        monkeypatch.setattr("mistralrs_mlx.runtime.bars.PAUSE", pause)
        for clock.now in (1.0, 2.0, 3.0):
            bar("load", int(clock.now) * 10**9, 4 * 10**9)
        shown.append("".join(displayed.outputs[-1]["text/html"]))
        bar.close()
    assert all(f'value="{n}000000000"' in html for n, html in zip((2, 3), shown, strict=True))


def test_a_load_that_was_broken_off_says_how_far_it_was(clock: Clock) -> None:
    displayed = Displayed()
    bar = Bar(Notebook(displayed.display), clock)
    for clock.now in (0.0, 2.0):
        bar("load", 12_300_000, 98_362_432)
    bar.close()
    assert displayed.outputs == [{"text/plain": "load: 12.3 of 98.4 MB in 2.0 s"}]


def test_nobody_looks_at_a_pipe() -> None:
    assert seen_bar() is None


def test_a_terminal_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", type("Tty", (io.StringIO,), {"isatty": lambda self: True})())
    assert seen_bar() is not None


@pytest.mark.parametrize("progress", [False, lambda *_: None])
def test_no_bar_is_looked_for_where_progress_says_otherwise(
    progress: Any, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mistralrs_mlx.runtime.progress.seen_bar", lambda: pytest.fail("looked"))
    with Runner(Which.Plain(model_id=str(tiny_llama)), progress=progress) as runner:
        assert chat(runner).usage.completion_tokens


@pytest.mark.parametrize("progress", [True, 1, "bar"])
def test_progress_of_another_type_is_refused(progress: Any) -> None:
    with pytest.raises(TypeError, match="must be a function, False or None"):
        Runner(Which.Plain(model_id="nowhere"), progress=progress)


def test_what_draws_is_not_imported_where_nothing_is_drawn(tiny_llama: Path) -> None:
    code = (
        "import sys, mistralrs_mlx as m\n"
        "m.Runner(m.Which.Plain(sys.argv[1])).close()\n"
        "print([name for name in ('IPython', 'rich') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tiny_llama)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
