"""Who is let in, and how much of what."""

import json
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from mistralrs_mlx import Runner
from mistralrs_mlx.server import Settings

from .asking import CHAT, chat, until
from .conftest import live

ASKED = b'{"messages": "Hi", "max_tokens": 1}'
JSON = {"Content-Type": "application/json"}


def connected(url: str, *, buffer: int | None = None) -> socket.socket:
    """A bare connection, if wanted with a small buffer for what comes."""
    place, line = urlsplit(url), socket.socket()
    if buffer is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    line.settimeout(10)
    line.connect((place.hostname, place.port))
    return line


def test_without_the_key_nothing_but_the_health_is_told(runner: Runner) -> None:
    with live(runner, Settings(api_key="sesame")) as url, httpx.Client(base_url=url) as client:
        assert client.get("/health").status_code == 200
        for path in ("/v1/models", "/metrics", "/nothing"):
            assert client.get(path).status_code == 401
        refused = chat(client)
        assert refused.json()["error"]["code"] == "invalid_api_key"
        wrong = client.get("/v1/models", headers={"Authorization": "Bearer other"})
        assert wrong.status_code == 401


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer sesame"}, {"x-api-key": "sesame"}])
def test_a_key_may_be_shown_as_openai_or_as_anthropic_do(
    runner: Runner, headers: dict[str, str]
) -> None:
    with live(runner, Settings(api_key="sesame")) as url:
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200


def test_pages_of_other_origins_may_not_ask_unless_named(client: httpx.Client, runner: Runner):
    origin = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
    settings = Settings(cors_origins=("https://example.org",), api_key="sesame")
    with live(runner, settings) as url:
        wanted = origin | {"Access-Control-Request-Method": "POST"}
        answer = httpx.options(url + CHAT, headers=wanted)
    assert answer.headers["access-control-allow-origin"] == "https://example.org"


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1234", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("[::1]", 200),
     ("evil.example:1234", 403), ("127.0.0.1.evil.example", 403), ("localhost.", 403)],
)  # fmt: skip
def test_a_foreign_name_that_leads_here_is_refused(
    client: httpx.Client, host: str, status: int
) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == status


def test_any_name_will_do_where_there_is_a_key(runner: Runner) -> None:
    with live(runner, Settings(api_key="sesame")) as url:
        headers = {"Host": "models.example", "x-api-key": "sesame"}
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_foreign_page_may_send_unasked_is_refused(client: httpx.Client, kind: str) -> None:
    answer = client.post(CHAT, content=ASKED, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["type"]) == (415, "invalid_request_error")


def test_a_body_may_be_only_so_large_declared_or_not(runner: Runner) -> None:
    with live(runner, Settings(max_body=100)) as url, httpx.Client(base_url=url) as client:
        assert client.post(CHAT, content=ASKED, headers=JSON).status_code == 200
        large = ASKED + b" " * 100
        assert client.post(CHAT, content=large, headers=JSON).status_code == 413
        assert client.post(CHAT, content=iter([large]), headers=JSON).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(runner: Runner) -> None:
    with live(runner, Settings(body_seconds=0.2)) as url:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with connected(url) as slow:
            slow.sendall(f"{head}Content-Length: 99\r\n\r\n{{".encode())
            assert b"408" in slow.recv(1000)


def test_a_head_that_does_not_come_is_not_waited_for(runner: Runner) -> None:
    with (
        live(runner, Settings(head_seconds=0.2)) as url,
        connected(url) as silent,
        connected(url) as slow,
        connected(url) as again,
    ):
        slow.sendall(b"GET /health HTT")
        again.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not again.recv(1000).endswith(b"OK"):
            pass
        again.sendall(b"GET /hea")
        assert [each.recv(1000) for each in (silent, slow, again)] == [b"", b"", b""]


def test_a_client_that_does_not_read_keeps_no_place(patient: Runner) -> None:
    long = {"messages": "x", "max_tokens": 50_000, "ignore_eos": True, "logprobs": True}
    body = json.dumps(long | {"stream": True, "top_logprobs": 20}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with (
        live(patient, Settings(answer_seconds=2, max_requests=1)) as url,
        connected(url, buffer=4096) as deaf,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        deaf.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert until(lambda: chat(client, max_tokens=1).status_code == 429)
        assert until(lambda: chat(client, max_tokens=1).status_code == 200)


def test_an_answer_may_take_only_so_long(patient: Runner) -> None:
    settings = Settings(answer_seconds=0.3)
    with live(patient, settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        endless = {"max_tokens": 50_000, "ignore_eos": True}
        assert chat(client, **endless).status_code == 504
        streamed = chat(client, stream=True, **endless).text
    assert "took longer than 0.3 s" in streamed
    assert streamed.endswith("data: [DONE]\n\n")


def test_a_long_prompt_keeps_the_connection_alive(patient: Runner) -> None:
    settings = Settings(keep_alive_seconds=0.02)
    with live(patient, settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        text = chat(client, messages="word " * 400, stream=True, max_tokens=2).text
    assert text.startswith(": alive\n\n")
    assert text.count('"finish_reason":"') == 1


def test_one_too_many_is_asked_to_come_again(patient: Runner) -> None:
    settings = Settings(max_requests=2, max_choices=2)
    endless = {"messages": "x", "max_tokens": 50_000, "ignore_eos": True, "stream": True, "n": 2}
    with live(patient, settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        with client.stream("POST", CHAT, json=endless) as first:
            assert first.status_code == 200
            refused = chat(client)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert chat(client, n=3).status_code == 400  # whoever asks again gets no further
        end = time.monotonic() + 10
        while (again := chat(client)).status_code == 429 and time.monotonic() < end:
            time.sleep(0.05)
        assert again.status_code == 200


@pytest.mark.parametrize("wrong", [{"port": 70_000}, {"max_requests": 0}, {"body_seconds": 0.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)  # type: ignore[arg-type]
