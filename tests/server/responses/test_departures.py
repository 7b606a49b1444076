"""Clients that vanish, responses that are canceled, and a server that ends."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mistralrs_mlx import Runner
from mistralrs_mlx.server import Settings, application
from tests.server.asking import busy, until
from tests.server.conftest import live

from .saying import PATH, events, post

ENDLESS: dict[str, Any] = {"max_output_tokens": 90_000, "ignore_eos": True}


@pytest.fixture(scope="module")
def client(patient: Runner) -> Iterator[httpx.Client]:
    """A client of a server that takes two answers at once."""
    settings = Settings(max_requests=2)
    with live(patient, settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def left_alone(client: httpx.Client, **fields: Any) -> str:
    """The id of an endless stream from which its reader has gone away."""
    asked = {"input": "Hi", "stream": True, **ENDLESS, **fields}
    with client.stream("POST", PATH, json=asked) as answer:
        lines = answer.iter_lines()
        begun = events("\n".join([next(lines), next(lines), "", ""]))
        assert begun[0]["type"] == "response.created"
    return str(begun[0]["response"]["id"])


def idle(client: httpx.Client, patient: Runner) -> bool:
    """Whether soon nothing is done any more, and nothing counted as under way."""
    text = "mistralrs_answers_in_flight 0\n"
    return until(lambda: not busy(patient)) and until(lambda: text in client.get("/metrics").text)


def test_a_stream_that_nobody_reads_any_more_frees_its_row(
    client: httpx.Client, patient: Runner
) -> None:
    path = f"{PATH}/{left_alone(client)}"
    assert idle(client, patient)
    assert client.get(path).json()["status"] == "cancelled"


def test_a_stream_that_is_not_stored_leaves_nothing_behind(
    client: httpx.Client, patient: Runner
) -> None:
    id = left_alone(client, store=False)
    assert idle(client, patient)
    assert client.get(f"{PATH}/{id}").status_code == 404


def test_a_whole_response_that_nobody_awaits_frees_its_row(
    client: httpx.Client, patient: Runner
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(PATH, json={"input": "Hi", **ENDLESS}, timeout=0.5)
    assert idle(client, patient)


def test_a_stream_can_be_looked_at_while_it_goes_on(client: httpx.Client, patient: Runner) -> None:
    with client.stream("POST", PATH, json={"input": "Hi", "stream": True, **ENDLESS}) as answer:
        lines = answer.iter_lines()
        id = events("\n".join([next(lines), next(lines), "", ""]))[0]["response"]["id"]
        path = f"{PATH}/{id}"
        assert until(lambda: client.get(path).json()["output"] != [])
        seen = client.get(path).json()
        assert (seen["status"], seen["output"][0]["status"]) == ("in_progress", "in_progress")
        assert client.post(f"{path}/cancel").status_code == 400
        assert client.delete(path).json()["deleted"] is True
    assert idle(client, patient)
    assert client.get(path).status_code == 404


def test_a_response_in_the_background_is_canceled(client: httpx.Client, patient: Runner) -> None:
    path = f"{PATH}/{post(client, background=True, **ENDLESS).json()['id']}"
    assert until(lambda: client.get(path).json()["output"] != [])
    early = post(client, previous_response_id=path.rpartition("/")[2])
    assert (early.status_code, early.json()["error"]["param"]) == (400, "previous_response_id")
    canceled = client.post(f"{path}/cancel").json()
    assert (canceled["status"], canceled["output"][0]["status"]) == ("cancelled", "incomplete")
    assert idle(client, patient)
    assert client.post(f"{path}/cancel").json() == client.get(path).json() == canceled


def test_a_response_that_is_canceled_at_once_is_canceled_too(
    client: httpx.Client, patient: Runner
) -> None:
    for _ in range(10):
        path = f"{PATH}/{post(client, background=True, **ENDLESS).json()['id']}"
        assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert idle(client, patient)


def test_a_response_in_the_background_that_is_deleted_ends(
    client: httpx.Client, patient: Runner
) -> None:
    path = f"{PATH}/{post(client, background=True, **ENDLESS).json()['id']}"
    assert client.delete(path).status_code == 200
    assert idle(client, patient)
    assert client.get(path).status_code == 404


def test_a_stream_in_the_background_goes_on_when_its_reader_leaves(
    client: httpx.Client, patient: Runner
) -> None:
    path = f"{PATH}/{left_alone(client, background=True)}"
    grown = len(client.get(path).content)
    assert until(lambda: len(client.get(path).content) > grown)
    with client.stream("GET", path, params={"stream": True, "starting_after": 1}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: response.output_item.added"
        client.post(f"{path}/cancel")
        assert not any("response.completed" in line for line in lines)  # it just ends
    assert idle(client, patient)


def test_responses_in_the_background_have_places_like_all_others(
    client: httpx.Client, patient: Runner
) -> None:
    ids = [post(client, background=True, **ENDLESS).json()["id"] for _ in range(2)]
    for fields in ({}, {"stream": True}, {"background": True}):
        refused = post(client, **fields)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert refused.json()["error"]["code"] == "too_many_requests"
    for id in ids:
        client.post(f"{PATH}/{id}/cancel")
    assert idle(client, patient)
    assert post(client).status_code == 200


def test_what_is_in_the_background_ends_with_the_server(patient: Runner) -> None:
    asked = {"input": "Hi", "background": True, **ENDLESS}

    async def ended() -> str:
        app = application(patient)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            id = (await client.post(PATH, json=asked)).json()["id"]
        return str(app.state.responses.find(id).answer.status)

    assert asyncio.run(ended()) == "cancelled"
    assert until(lambda: not busy(patient))
