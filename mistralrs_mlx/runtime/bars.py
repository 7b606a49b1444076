"""A bar while a model comes, on a terminal or in a notebook: for people, and only if it takes long.

What draws is imported when there is something to draw.
"""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Bar", "Notebook", "Screen", "Terminal", "seen_bar"]

STAGES = ("download", "load")  # an answer begins while its prompt is read: no place for a bar
PATIENCE = 1.0  # seconds that nobody minds to wait without one
PAUSE = 0.2  # seconds between two pictures in a notebook, each of which is a message
NOTEBOOK = "ZMQInteractiveShell"  # the class of Jupyter's shell, and the ancestor of Colab's
UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


class Screen(Protocol):
    """Where one stage after another can be drawn."""

    def draw(self, stage: str, done: int, total: int | None) -> None:
        """Show `done` of `total` bytes."""

    def close(self, said: str) -> None:
        """Take the bar away; `said` sums up what was drawn."""


class Bar:
    """A progress callback that draws stages which take longer than a second."""

    def __init__(self, screen: Screen, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen, self._clock = screen, clock
        self._stage, self._began = "", 0.0
        self._drawn: tuple[int, int | None] | None = None

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Show `done` of `total` bytes, if the stage has lasted long enough."""
        if stage not in STAGES:
            return
        if stage != self._stage:
            self.close()
            self._stage, self._began = stage, self._clock()
        finished = total is not None and done >= total
        if self._drawn is not None or (not finished and self._lasted() >= PATIENCE):
            self._drawn = (done, total)
            self._screen.draw(stage, done, total)

    def close(self) -> None:
        """Take the bar away."""
        if self._drawn is not None:
            self._screen.close(f"{self._stage}: {_sizes(*self._drawn)} in {self._lasted():.1f} s")
            self._drawn = None

    def _lasted(self) -> float:
        return self._clock() - self._began


class Terminal:
    """Draws on standard error, and leaves no trace there."""

    def __init__(self, console: "Console | None" = None) -> None:
        self._console = console
        self._progress: Any = None

    def draw(self, stage: str, done: int, total: int | None) -> None:
        if self._progress is None:
            self._progress = self._started(stage, done, total)
        self._progress.update(self._progress.task_ids[0], completed=done, total=total)

    def close(self, said: str) -> None:
        self._progress.stop()
        self._progress = None

    def _started(self, stage: str, done: int, total: int | None) -> Any:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        progress = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=self._console or Console(stderr=True),
            transient=True,
        )
        progress.add_task(stage, completed=done, total=total)
        progress.start()
        return progress


class Notebook:
    """Draws below the cell by what every notebook has, and leaves one line there."""

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._handle: Any = None
        self._next = 0.0

    def draw(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if self._handle is None:
            self._handle = self._display(_picture(stage, done, total), raw=True, display_id=True)
        elif now >= self._next:
            self._handle.update(_picture(stage, done, total), raw=True)
        else:
            return
        self._next = now + PAUSE

    def close(self, said: str) -> None:
        self._handle.update({"text/plain": said}, raw=True)
        self._handle = None


def seen_bar() -> Bar | None:
    """A bar where somebody looks, None in pipes, services and tests."""
    if (display := _notebook()) is not None:
        return Bar(Notebook(display))
    if sys.stderr is not None and sys.stderr.isatty():
        return Bar(Terminal())
    return None


def _notebook() -> Callable[..., Any] | None:
    """What displays something below a notebook's cell; None outside of notebooks."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if not any(kind.__name__ == NOTEBOOK for kind in type(shell).__mro__):
        return None
    from IPython.display import display

    return display


def _picture(stage: str, done: int, total: int | None) -> dict[str, str]:
    """The same as HTML and as a text."""
    said = f"{stage}: {_sizes(done, total)}"
    value = f' value="{done}" max="{total}"' if total else ""
    bar = f'<progress style="width:20em;vertical-align:middle"{value}></progress>'
    return {"text/html": f"{bar} <code>{said}</code>", "text/plain": said}


def _sizes(done: int, total: int | None) -> str:
    """`1.2 of 4.6 GB`, or `4.6 GB` when all has come."""
    unit, size = next((each for each in UNITS if (total or done) >= each[1]), ("bytes", 1))
    shown = f"{(total or done) / size:.{1 if size > 1 else 0}f} {unit}"
    return shown if total is None or done >= total else f"{done / size:.1f} of {shown}"
