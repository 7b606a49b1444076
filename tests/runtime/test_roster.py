"""Models by id: which one is meant, and what happens to it between requests."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import SimpleNamespace

import pytest

from mistralrs_mlx.errors import NoRoomForWeights, RequestError, UnknownModel
from mistralrs_mlx.runtime.roster import Roster


class Fake:
    """A host that only knows why it was closed."""

    facts = None
    busy = False
    rested = 0.0
    memory = SimpleNamespace(weights=10)

    def __init__(self) -> None:
        self.closed: str | None = None

    def await_rest(self) -> None:
        """At once."""

    def close(self, reason: str) -> "Future[None]":
        self.closed = reason
        done: Future[None] = Future()
        done.set_result(None)
        return done


class Shelf:
    """Opens fakes."""

    model_id = "aside"

    def knowing(self, _: Fake) -> "Shelf":
        return self

    def __call__(self, place: Callable[[Callable[[], Fake]], Fake]) -> Fake:
        return place(Fake)


class Crowded(Shelf):
    """Opens a fake while no other one is open."""

    def __init__(self, opened: list[Fake]) -> None:
        self.opened = opened

    def __call__(self, place: Callable[[Callable[[], Fake]], Fake]) -> Fake:
        return place(self._alone)

    def _alone(self) -> Fake:
        if any(each.closed is None for each in self.opened):
            raise NoRoomForWeights("no room", 10)
        self.opened.append(Fake())
        return self.opened[-1]


@pytest.fixture
def crowded() -> Roster:
    """Models `a` and `b`, of which one fits at a time: `b`."""
    opened: list[Fake] = []
    roster = Roster()
    roster.add("a", Crowded(opened))
    roster.add("b", Crowded(opened))
    return roster


@pytest.fixture
def roster() -> Roster:
    roster = Roster()
    roster.add("a", Shelf())
    roster.add("b", Shelf())
    return roster


def test_none_and_default_mean_the_first_model_until_another_is_set(roster: Roster) -> None:
    assert roster.resolve(None) == roster.resolve("default") == "a"
    roster.default = "b"
    assert roster.resolve(None) == "b"


def test_an_unknown_id_is_refused_with_the_known_ones(roster: Roster) -> None:
    with pytest.raises(UnknownModel, match="model `zz` was not found; there is `a`, `b`"):
        roster.host("zz")


def test_a_request_loads_an_unloaded_model_again(roster: Roster) -> None:
    first = roster.host("a")
    roster.unload("a")
    assert (roster.status("a"), first.closed) == (
        "unloaded",
        "model `a` was unloaded while it answered",
    )
    assert roster.host("a") is not first
    assert roster.status("a") == "loaded"


def test_removing_the_default_chooses_another_and_the_last_one_stays(roster: Roster) -> None:
    roster.remove("a")
    assert (roster.ids, roster.default) == (["b"], "b")
    with pytest.raises(RequestError, match="Cannot remove the last model"):
        roster.remove("b")


def test_an_id_cannot_be_taken_twice(roster: Roster) -> None:
    with pytest.raises(RequestError, match="`a` is there already"):
        roster.add("a", Shelf())


def test_a_model_that_does_not_load_leaves_no_trace(roster: Roster) -> None:
    def fail(place: object) -> Fake:
        raise RequestError("no such file")

    with pytest.raises(RequestError, match="no such file"):
        roster.add("c", fail)
    assert roster.ids == ["a", "b"]


def test_a_model_that_a_request_has_found_stays_until_the_request_is_sent(crowded: Roster) -> None:
    with ThreadPoolExecutor(1) as pool:
        with crowded.use("b") as (host, _):
            other = pool.submit(crowded.host, "a")
            assert not wait({other}, timeout=0.3).done
            assert (crowded.status("b"), host.closed) == ("loaded", None)
        other.result(10)
    assert host.closed == "model `b` was unloaded to make room"


def test_a_model_that_is_to_leave_lets_nobody_in(crowded: Roster) -> None:
    with ThreadPoolExecutor(2) as pool:
        with crowded.use("b"):
            other = pool.submit(crowded.host, "a")
            wait({other}, timeout=0.3)
            late = pool.submit(crowded.host, "b")
            assert not wait({late, other}, timeout=0.3).done
        assert other.result(10) is not late.result(10)
    assert crowded.status("a") == "unloaded"


def test_a_model_aside_leaves_too(crowded: Roster) -> None:
    opened: list[Fake] = []
    roster = Roster()
    use = roster.aside(Crowded(opened))
    with use() as (host, _):
        pass
    roster.add("a", Crowded(opened))
    assert host.closed == "model `aside` was unloaded to make room"
    with use() as (again, _):
        assert (again.closed, roster.status("a")) == (None, "unloaded")


def test_nobody_is_unloaded_for_what_fails_otherwise(crowded: Roster) -> None:
    def broken(place: object) -> Fake:
        raise RequestError("no such file")

    with pytest.raises(RequestError, match="no such file"):
        crowded.add("c", broken)
    assert crowded.status("b") == "loaded"


def test_whoever_waits_for_a_load_that_fails_tries_itself(roster: Roster) -> None:
    entry = roster.entry("a")
    roster.unload("a")
    tried: list[int] = []

    class FailsOnce(Shelf):
        def __call__(self, place: Callable[[Callable[[], Fake]], Fake]) -> Fake:
            tried.append(1)
            if len(tried) == 1:
                wait([pool.submit(tried.append, 0)], timeout=1)
                raise RequestError("no such file")
            return place(Fake)

    entry.opening = FailsOnce()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(roster.host, "a") for _ in range(3)]
        errors = [each.exception(10) for each in asked]
    assert sorted(map(str, errors)) == ["None", "None", "no such file"]
    assert sum(tried) == 2
