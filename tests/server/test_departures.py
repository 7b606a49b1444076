"""Clients that vanish: their rows, their places and their threads come back."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from mistralrs_mlx import Runner
from mistralrs_mlx.server import Settings

from .asking import CHAT, busy, chat, chunks, until
from .conftest import live

ENDLESS = {"messages": "Hi", "max_tokens": 90_000, "ignore_eos": True}


@pytest.fixture(scope="module")
def address(patient: Runner) -> Iterator[str]:
    with live(patient, Settings(max_requests=80)) as url:
        yield url


def waiting(address: str) -> int:
    """The answers that the server counts as under way."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    (line,) = (line for line in lines if line.startswith("mistralrs_answers_in_flight "))
    return int(line.split()[1])


def test_a_stream_that_nobody_reads_any_more_frees_its_row(address: str, patient: Runner) -> None:
    with httpx.Client(base_url=address) as client:
        with client.stream("POST", CHAT, json=ENDLESS | {"stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            assert until(lambda: busy(patient)), [*lines][-4:]
        assert until(lambda: not busy(patient))
        assert until(lambda: waiting(address) == 0)


def test_a_whole_answer_that_nobody_awaits_frees_its_row(address: str, patient: Runner) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(address + CHAT, json=ENDLESS, timeout=0.5)
    assert until(lambda: not busy(patient))
    assert until(lambda: waiting(address) == 0)


def test_a_prompt_that_nobody_awaits_is_not_read_to_its_end(address: str, patient: Runner) -> None:
    asked = {"messages": "word " * 15_000, "max_tokens": 1, "stream": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(address + CHAT, json=asked, timeout=0.5)
    assert until(lambda: not busy(patient))
    assert until(lambda: waiting(address) == 0)


def test_one_who_stays_is_answered_while_others_vanish(address: str, patient: Runner) -> None:
    with httpx.Client(base_url=address, timeout=60) as client:
        alone = chat(client).json()["choices"]

        def vanish(_: int) -> None:
            with client.stream("POST", CHAT, json=ENDLESS | {"stream": True}) as answer:
                next(answer.iter_lines())

        with ThreadPoolExecutor(8) as pool:
            gone = list(pool.map(vanish, range(12)))
            assert chat(client).json()["choices"] == alone
    assert len(gone) == 12
    assert until(lambda: not busy(patient))


def test_64_streams_at_once_end_or_are_refused_and_nothing_is_left(
    address: str, patient: Runner
) -> None:
    with httpx.Client(base_url=address, timeout=120, limits=httpx.Limits()) as client:
        alone = chunks(client, max_tokens=12)
        with ThreadPoolExecutor(64) as pool:
            asked = [pool.submit(chunks, client, max_tokens=12) for _ in range(64)]
            found = [each.result() for each in asked]
        assert all(each[-1]["choices"] == alone[-1]["choices"] for each in found)
    assert until(lambda: waiting(address) == 0)
    assert not busy(patient)


def test_threads_are_bounded_however_many_ask(address: str) -> None:
    before = threading.active_count()
    with httpx.Client(base_url=address, timeout=60) as client:
        for _ in range(20):
            chat(client, max_tokens=1)
    assert threading.active_count() <= before + 2
