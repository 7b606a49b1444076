"""After all kinds of clients, nothing is left of them: rows, memory, threads, connections."""

import contextlib
import gc
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import mlx.core as mx
import pytest

from mistralrs_mlx import Runner
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.server import Settings
from mistralrs_mlx.server.app import SPARE_THREADS

from .asking import CHAT, busy, chat, until
from .conftest import live
from .test_departures import ENDLESS, waiting
from .test_limits import connected

MANY, MOST = 64, 32
LAST_STEP = 16 << 10  # bytes of the step before: much, beside weights of 400 KB
DESCRIPTORS = Path("/dev/fd")
HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BRIEF = {"messages": "Hello", "max_tokens": 12, "temperature": 0, "stream": True}


@pytest.fixture(scope="module")
def others() -> int:
    """Threads in the pools of other servers, before there is this one."""
    return pooled()


@pytest.fixture(scope="module")
def address(others: int, patient: Runner) -> Iterator[str]:
    settings = Settings(max_requests=MOST, head_seconds=2, body_seconds=2)
    with live(patient, settings) as url:
        chat_all(url)  # threads and arenas are made when they are first needed
        yield url


def chat_all(address: str) -> list[httpx.Response]:
    """The answers of very many streams that are asked for at once."""
    together = threading.Barrier(MANY)

    def stream(_: int) -> httpx.Response:
        together.wait()
        return client.post(CHAT, json=BRIEF)

    with httpx.Client(base_url=address, timeout=120) as client, ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(stream, range(MANY)))


def left(address: str) -> tuple[int, int, int]:
    """Bytes that MLX holds, threads beside the pool, and open files and connections."""
    assert httpx.post(address + CHAT, json=BRIEF, timeout=60).status_code == 200  # the last step's
    gc.collect()
    memory = worker().call(mx.get_active_memory)
    return memory, threading.active_count() - pooled(), len(os.listdir(DESCRIPTORS))


def pooled() -> int:
    """Threads of pools, which grow when they are needed, and may stay."""
    return sum(each.name.startswith(("answer", "AnyIO")) for each in threading.enumerate())


def request(fields: dict[str, object]) -> bytes:
    body = json.dumps(fields).encode()
    return f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body


def begun(address: str) -> socket.socket:
    """A connection on which an endless answer has begun."""
    line = connected(address)
    line.sendall(request(ENDLESS | {"stream": True}))
    assert b"200 OK" in line.recv(100)
    return line


def half_closed(address: str) -> None:
    with begun(address) as line:
        line.shutdown(socket.SHUT_WR)
        while line.recv(65536):
            pass


def vanished(address: str) -> None:
    begun(address).close()


def reset(address: str) -> None:
    """Gone without a goodbye, as when a cable is pulled and put back."""
    with begun(address) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def trickling(address: str, sent: bytes) -> None:
    """A byte at a time, until the server hangs up."""
    with connected(address) as line, contextlib.suppress(ConnectionError):
        for byte in sent:
            line.sendall(bytes([byte]))
            time.sleep(0.1)
        pytest.fail("the server waited for all of it")


def slow_head(address: str) -> None:
    trickling(address, HEAD.encode())


def slow_body(address: str) -> None:
    with connected(address) as line:
        line.sendall(f"{HEAD}Content-Length: 5000\r\n\r\n".encode())
        assert b"408" in line.recv(1000)


def test_very_many_streams_end_or_are_asked_to_come_again(
    others: int, address: str, patient: Runner
) -> None:
    before = left(address)
    answers = chat_all(address)
    ended = [each for each in answers if each.status_code == 200]
    refused = [each for each in answers if each.status_code == 429]
    assert len(ended) + len(refused) == MANY
    assert len({each.text.count("data: ") for each in ended}) == 1
    assert all(each.text.endswith("data: [DONE]\n\n") for each in ended)
    assert len(refused) > 0
    assert all(int(each.headers["retry-after"]) > 0 for each in refused)
    assert pooled() - others <= 2 * (MOST + SPARE_THREADS)  # two pools
    assert_nothing_left(before, address, patient)


@pytest.mark.parametrize("client", [half_closed, vanished, reset, slow_head, slow_body])
def test_nothing_is_left_of_difficult_clients_and_others_are_answered(
    address: str, patient: Runner, client: Callable[[str], None]
) -> None:
    before = left(address)
    with ThreadPoolExecutor(16) as pool:
        troubled = [pool.submit(client, address) for _ in range(16)]
        with httpx.Client(base_url=address, timeout=60) as other:
            assert chat(other).status_code == 200
        for each in troubled:
            each.result()
    assert_nothing_left(before, address, patient)


def assert_nothing_left(before: tuple[int, int, int], address: str, runner: Runner) -> None:
    assert until(lambda: not busy(runner) and waiting(address) == 0)
    memory, threads, descriptors = before

    def back() -> bool:
        now = left(address)
        return now[0] <= memory * 1.01 + LAST_STEP and now[1] <= threads and now[2] <= descriptors

    assert until(back), (before, left(address))
