"""Models by id: which one is meant, and what happens to it between requests."""

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from mistralrs_mlx.errors import RequestError, UnknownModel
from mistralrs_mlx.runtime.roster import Roster


class Fake:
    """A host that only knows why it was closed."""

    facts = None
    lacking = 0

    def __init__(self) -> None:
        self.closed: str | None = None

    def close(self, reason: str) -> "Future[None]":
        self.closed = reason
        done: Future[None] = Future()
        done.set_result(None)
        return done


class Shelf:
    """Opens fakes."""

    def __call__(self, place: Callable[[Callable[[], Fake]], Fake]) -> Fake:
        return place(Fake)


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
