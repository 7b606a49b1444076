"""A live server on this machine, before a runner with a tiny checkpoint of random weights."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from mistralrs_mlx import Runner, Which
from mistralrs_mlx.server import Settings
from mistralrs_mlx.server.listening import Server, configuration
from tests.tiny_checkpoint import write_tiny_llama

__all__ = ["live"]

TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}<tool_call>{{ c['function'] | tojson }}</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


@contextmanager
def live(runner: Runner, settings: Settings | None = None) -> Iterator[str]:
    """The address of a server that answers until the block ends."""
    settings = replace(settings or Settings(), port=0)
    server = Server(configuration(runner, settings))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def runner(tiny_llama: Path) -> Iterator[Runner]:
    which = Which.Plain(model_id=str(tiny_llama))
    with Runner(which, max_seqs=8, chat_template=TEMPLATE) as runner:
        yield runner


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A runner whose model can read and write for minutes."""
    folder = tmp_path_factory.mktemp("hub") / "patient"
    which = Which.Plain(model_id=str(write_tiny_llama(folder, max_position_embeddings=100_000)))
    with Runner(which, max_seqs=4, prefix_cache_n=None) as runner:
        yield runner


@pytest.fixture(scope="session")
def url(runner: Runner) -> Iterator[str]:
    with live(runner) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client
