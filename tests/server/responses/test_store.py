"""How much is kept, and for how long."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from mistralrs_mlx import Runner
from mistralrs_mlx.server import Settings
from mistralrs_mlx.server.failure import Failure
from mistralrs_mlx.server.responses.answers import fresh_answer
from mistralrs_mlx.server.responses.bodies import ResponsesBody
from mistralrs_mlx.server.responses.items import read_items
from mistralrs_mlx.server.responses.recording import Recording
from mistralrs_mlx.server.responses.store import Kept, Store
from tests.server.conftest import live

from .saying import PATH, post


def kept(text: str = "x") -> Kept:
    answer = fresh_answer(ResponsesBody(input=text), "m")
    return Kept(answer=answer, before=(), asked=read_items(text, dict))


def found(store: Store, *responses: Kept) -> list[bool]:
    """Which of them are still there."""
    there = []
    for each in responses:
        try:
            there.append(store.find(each.answer.id) is each)
        except Failure:
            there.append(False)
    return there


def test_the_oldest_makes_room_for_the_newest() -> None:
    store, responses = Store(most=2, most_bytes=10**6), [kept() for _ in range(3)]
    for each in responses:
        store.keep(each)
    assert (found(store, *responses), len(store)) == ([False, True, True], 2)


def test_as_many_make_room_as_the_newest_needs() -> None:
    store, small, large = (
        Store(most=9, most_bytes=20_000),
        [kept() for _ in range(3)],
        kept("x" * 18_000),
    )
    for each in small:
        store.keep(each)
    one = store.bytes // 3
    store.keep(large)
    assert found(store, large) == [True]
    assert 18_000 < store.bytes <= 20_000
    store.keep(kept("x" * 30_000))
    assert (store.bytes, len(store)) == (0, 0)  # it is too large itself
    store.keep(small[0])
    assert store.bytes == pytest.approx(one, abs=9)


def test_what_is_dropped_gives_its_bytes_back() -> None:
    store, first, second = Store(most=9, most_bytes=10**6), kept(), kept()
    store.keep(first)
    size = store.bytes
    store.keep(second)
    asyncio.run(store.drop(first.answer.id))
    assert (store.bytes, found(store, first, second)) == (size, [False, True])
    asyncio.run(store.drop(first.answer.id))  # again is no harm


def test_recorded_events_take_room_too() -> None:
    recording, plain = Recording(), kept()
    recording.add(b"x" * 100)
    assert replace(plain, events=recording).size == plain.size + 100


def test_whoever_waits_for_events_is_told_of_them_and_of_the_end_at_once() -> None:
    async def told() -> list[bytes | None]:
        recording, found = Recording(), []
        events = recording.read(0, seconds=60)
        for act in (lambda: recording.add(b"news"), recording.end):
            waiting = asyncio.ensure_future(anext(events, None))
            await asyncio.sleep(0.01)
            act()
            found.append(await asyncio.wait_for(waiting, 5))
        return found

    assert asyncio.run(told()) == [b"news", None]


def test_a_server_keeps_no_more_than_it_is_told(runner: Runner) -> None:
    with live(runner, Settings(max_stored=2)) as url, httpx.Client(base_url=url) as client:
        ids = [post(client).json()["id"] for _ in range(3)]
        status = [client.get(f"{PATH}/{id}").status_code for id in ids]
    assert status == [404, 200, 200]


def test_a_server_keeps_no_more_bytes_than_it_is_told(runner: Runner) -> None:
    settings = Settings(max_stored_bytes=4000)
    with live(runner, settings) as url, httpx.Client(base_url=url) as client:
        ids = [post(client, metadata={"a": "x" * 500}).json()["id"] for _ in range(9)]
        status = [client.get(f"{PATH}/{id}").status_code for id in ids]
    assert status == sorted(status, reverse=True)
    assert (status[0], status[-1]) == (404, 200)


@pytest.mark.parametrize("name", ["max_stored", "max_stored_bytes"])
def test_a_store_that_keeps_nothing_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=name):
        Settings(**wrong)
