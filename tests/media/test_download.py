"""Downloads: limits of size, time and redirects, and no way into private networks."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.media import public
from mistralrs_mlx.media.download import download
from mistralrs_mlx.media.limits import Limits

BODY = b"0123456789"


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        _, verb, rest = self.path.split("/", 2)
        if verb == "to":
            self.answer(302, Location=f"http://{rest}:{self.server.server_port}/ok/")
        elif verb == "round":
            self.answer(307, Location="/round/")
        elif verb == "as":
            self.answer(302, Location=f"{rest}:///etc/hosts")
        elif verb == "short":
            self.answer(200, **{"Content-Length": "99"})
        elif verb == "slow":
            self.server.released.wait(5)
        elif verb == "ok":
            self.answer(200)
        else:
            self.answer(404)

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.released = threading.Event()


@pytest.fixture
def base() -> Iterator[str]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["ok/", "ok/a b ü?q=ä b", "to/127.0.0.1"])
def test_an_address_that_the_user_wrote_may_be_private(base: str, path: str) -> None:
    assert download(f"{base}/{path}", Limits()) == BODY


def test_a_redirect_does_not_lead_into_private_networks(base: str) -> None:
    with pytest.raises(RequestError, match=r"localhost is at .*, in a private network"):
        download(f"{base}/to/localhost", Limits())


def test_a_redirect_leads_to_public_hosts(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "refuse_private_address", lambda host, text: None)
    assert download(f"{base}/to/localhost", Limits()) == BODY


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("missing/", "answered 404"),
        ("round/", "redirects more than 5 times"),
        ("as/file", "not an http:// or https:// address"),
        ("as/ftp", "not an http:// or https:// address"),
        ("short/", "89 bytes too early"),
    ],
)
def test_a_failed_download_says_why(base: str, path: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        download(f"{base}/{path}", Limits())


@pytest.mark.parametrize(("path", "words"), [("ok/", "more than 5"), ("short/", "has 99 bytes")])
def test_a_large_download_is_given_up(base: str, path: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        download(f"{base}/{path}", Limits(bytes=5))


@pytest.mark.parametrize("path", ["ok/", "slow/"])
def test_a_slow_download_is_given_up(base: str, path: str) -> None:
    with pytest.raises(RequestError, match=r"longer|timed out"):
        download(f"{base}/{path}", Limits(download_seconds=1e-9 if path == "ok/" else 0.05))


def test_a_server_that_is_not_there_is_a_request_error(base: str) -> None:
    with pytest.raises(RequestError, match="could not be downloaded"):
        download("http://127.0.0.1:1/", Limits())


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1", "169.254.169.254", "::ffff:192.168.0.1", "fd00::1", "64:ff9b::a9fe:a9fe",
     "2002:7f00:1::", "::127.0.0.1"],
)  # fmt: skip
def test_addresses_of_private_networks_are_known(text: str) -> None:
    with pytest.raises(RequestError, match="private network"):
        public.refuse_private_address("x", text)
    for known in ("8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111"):
        public.refuse_private_address("x", known)
