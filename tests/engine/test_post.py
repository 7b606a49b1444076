"""Events of a step are delivered together, and wake each thread or event loop that waits."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from unittest import mock

import pytest

from mistralrs_mlx.engine.post import Mailbox, Post


@pytest.fixture
def post() -> Post:
    return Post()


def test_what_is_put_in_a_step_comes_at_its_end_in_order(post: Post) -> None:
    one, two = Mailbox[int](post), Mailbox[int](post)
    with post.held():
        one.put(1)
        two.put(2)
        one.put(3)
        assert one.get() is two.get() is None
    assert [one.get(), one.get(), one.get(), two.get()] == [1, 3, None, 2]


def test_what_is_wanted_now_comes_after_what_its_mailbox_had_before(post: Post) -> None:
    one, two = Mailbox[int](post), Mailbox[int](post)
    with post.held():
        one.put(1)
        two.put(2)
        two.put(3, now=True)
        two.put(4)
        assert [one.get(), two.get(), two.get(), two.get()] == [None, 2, 3, None]
    assert [one.get(), two.get()] == [1, 4]


def test_outside_of_a_step_an_event_comes_at_once(post: Post) -> None:
    box = Mailbox[int](post)
    box.put(1)
    assert box.get() == 1


def test_a_step_that_fails_has_delivered_what_it_put(post: Post) -> None:
    box = Mailbox[int](post)
    with suppress(RuntimeError), post.held():
        box.put(1)
        raise RuntimeError
    assert box.get() == 1
    box.put(2)
    assert box.get() == 2


def test_a_thread_waits_until_an_event_has_come(post: Post) -> None:
    box = Mailbox[int](post)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(box.wait)
        assert not waiting.done()
        box.put(1)
        waiting.result(10)
    box.wait()  # it has come and was not taken
    assert box.get() == 1


def test_an_event_loop_is_woken_once_for_all_its_readers(post: Post) -> None:
    boxes = [Mailbox[int](post) for _ in range(5)]

    async def read(box: Mailbox[int]) -> int | None:
        await box.ready()
        return box.get()

    async def read_all() -> tuple[list[int | None], int]:
        loop = asyncio.get_running_loop()
        readers = [asyncio.create_task(read(box)) for box in boxes]
        await asyncio.sleep(0)
        with mock.patch.object(loop, "call_soon_threadsafe", wraps=loop.call_soon_threadsafe) as m:
            step = threading.Thread(target=deliver)
            step.start()
            got = await asyncio.gather(*readers)
            step.join()
            return got, m.call_count

    def deliver() -> None:
        with post.held():
            for number, box in enumerate(boxes):
                box.put(number)
                box.put(-1)

    assert asyncio.run(read_all()) == ([0, 1, 2, 3, 4], 1)


def test_a_reader_that_was_canceled_loses_nothing_for_the_next(post: Post) -> None:
    box = Mailbox[int](post)

    async def read() -> int | None:
        canceled = asyncio.create_task(box.ready())
        await asyncio.sleep(0)
        canceled.cancel()
        box.put(1)
        await asyncio.wait({canceled})
        await box.ready()  # returns: it is there
        return box.get()

    assert asyncio.run(asyncio.wait_for(read(), 10)) == 1


def test_a_loop_that_is_closed_stops_no_delivery(post: Post) -> None:
    box, other = Mailbox[int](post), Mailbox[int](post)

    async def give_up() -> None:
        waiting = asyncio.ensure_future(box.ready())
        await asyncio.sleep(0)
        assert not waiting.done()

    asyncio.run(give_up())
    with post.held():
        box.put(1)
        other.put(2)
    assert (box.get(), other.get()) == (1, 2)
