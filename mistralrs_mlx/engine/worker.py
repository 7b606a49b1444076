"""The one thread that owns MLX.

MLX streams belong to threads: an array that one thread has built and not yet evaluated is
worthless in another. So a single thread loads models, steps engines and samples. What crosses
its border are Python objects and NumPy arrays.
"""

import atexit
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from mistralrs_mlx.errors import Canceled, RequestError

from .engine import Engine
from .post import Post

__all__ = ["Worker", "worker"]

T = TypeVar("T")
THREAD = "mlx"
GOODBYE = 10.0  # seconds that the interpreter's exit waits for the pass under way
FORKED = (
    "this process was forked from one in which MLX was running already, and MLX does not survive "
    "that. Start it with multiprocessing.get_context('spawn'), or fork before the first model is "
    "loaded"
)


class Worker:
    """Runs jobs as they come and, in between, one step of every busy engine in turn."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._engines: list[Engine] = []
        self.post = Post()  # to whoever reads an answer
        self._thread: _Thread | None = None
        self._starting = threading.Lock()
        self._stopped = False
        self._home: int | None = None  # the process that the thread lives in
        self._resting = threading.Event()  # no pass is under way, and none will be
        self._awaited: list[tuple[Engine, threading.Event]] = []  # who waits for whose rest

    def call(self, job: Callable[[], T]) -> T:
        """Run a job on the thread and return its result or raise its error here."""
        return self.send(job).result()

    def send(self, job: Callable[[], T]) -> "Future[T]":
        """Run a job on the thread, without waiting for it.

        At the interpreter's exit, and in a child that was forked, the future has failed already.
        """
        future: Future[T] = Future()
        if (gone := self._gone()) is not None:
            future.set_exception(gone)
            return future

        def run() -> None:
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

        self._inbox.put(run)
        self._start()
        return future

    def check(self) -> None:
        """Raise if this process was forked: nothing comes from the thread then."""
        if self._home not in (None, os.getpid()):
            raise RequestError(FORKED)

    def attach(self, engine: Engine) -> None:
        """Step this engine whenever it is busy. On the thread only."""
        self._engines.append(engine)

    def detach(self, engine: Engine) -> None:
        """Step this engine no more. On the thread only."""
        if engine in self._engines:
            self._engines.remove(engine)

    def await_rest(self, engine: Engine) -> None:
        """Return once the engine has answered all that was sent to it. On any other thread."""
        rested = threading.Event()
        self.call(lambda: self._awaited.append((engine, rested)))
        rested.wait()

    def _gone(self) -> Exception | None:
        """Why there is no thread any more."""
        if self._home not in (None, os.getpid()):
            return RequestError(FORKED)
        return Canceled("the interpreter is about to exit") if self._stopped else None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._home = os.getpid()
                self._thread = _Thread(target=self._run, name=THREAD, daemon=True)
                self._thread.serves = self
                self._thread.start()
                atexit.register(self._stop)

    def _stop(self) -> None:
        if self._gone() is not None:
            return
        self._stopped = True
        self._inbox.put(None)
        self._resting.wait(GOODBYE)

    def _run(self) -> None:
        while self._serve_inbox():
            self._step_all()
        self._resting.set()
        # A thread that ends takes MLX's streams with it, and the process may abort over that.
        threading.Event().wait()

    def _serve_inbox(self) -> bool:
        """Run the jobs that are there, waiting for one if no engine has work. False: stop."""
        wait = not any(engine.busy for engine in self._engines)
        while True:
            try:
                job = self._inbox.get(block=wait)
            except queue.Empty:
                return True
            if job is None:
                return False
            job()
            wait = False

    def _step_all(self) -> None:
        # No part of `_run`, whose variables live on: the last engine would outlive its detaching.
        for engine in tuple(self._engines):
            if engine.busy:
                self._step(engine)
        self._tell_of_rest()

    def _tell_of_rest(self) -> None:
        for engine, rested in self._awaited:
            if not engine.busy:
                rested.set()
        self._awaited = [each for each in self._awaited if not each[1].is_set()]

    def _step(self, engine: Engine) -> None:
        try:
            with self.post.held():
                engine.step()
        except BaseException as error:  # a defect, or a panic of Rust code, must reach the callers
            engine.abort(error if isinstance(error, Exception) else RuntimeError(repr(error)))


class _Thread(threading.Thread):
    """A thread that knows its worker."""

    serves: Worker


_shared: list[Worker] = []
_sharing = threading.Lock()


def worker() -> Worker:
    """The process's only worker, made when first asked for."""
    if _shared:  # without the lock, which another thread may have held when this process was forked
        return _shared[0]
    with _sharing:
        if not _shared:
            _shared.append(_running() or Worker())
        return _shared[0]


def _running() -> Worker | None:
    """The worker whose thread runs already: this module was reloaded, as notebooks do."""
    serving = (vars(each).get("serves") for each in threading.enumerate() if each.name == THREAD)
    return next((each for each in serving if each is not None), None)
