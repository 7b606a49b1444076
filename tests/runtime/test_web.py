"""Reading pages: redirects are followed, and checked like the first address."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mistralrs_mlx.media import public
from mistralrs_mlx.runtime import web


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        moved = self.path.startswith("/to/")
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", f"http://{self.path[4:]}:{self.server.server_port}/")
        self.send_header("Content-Type", "text/html; charset=latin-1")
        self.end_headers()
        self.wfile.write("Ø".encode("latin-1"))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server whose name `localhost`, and only that, counts as public."""
    refuse = public.refuse_private_address

    def but_not_localhost(host: str, text: str) -> None:
        if host != "localhost":
            refuse(host, text)

    monkeypatch.setattr(public, "refuse_private_address", but_not_localhost)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["", "to/localhost"])
def test_a_public_page_is_read_also_after_a_redirect(port: int, path: str) -> None:
    reply = web.read_public(f"http://localhost:{port}/{path}")
    assert reply == web.Reply(kind="text/html", text="Ø")


def test_a_redirect_does_not_lead_into_private_networks(port: int) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1, in a private network"):
        web.read_public(f"http://localhost:{port}/to/127.0.0.1")


@pytest.mark.parametrize("text", ["10.0.0.1", "169.254.169.254", "::ffff:192.168.0.1", "fd00::1"])
def test_addresses_of_private_networks_are_known(text: str) -> None:
    with pytest.raises(ValueError, match="private network"):
        public.refuse_private_address("x", text)
    public.refuse_private_address("x", "8.8.8.8")


def test_an_unknown_encoding_is_read_as_utf8() -> None:
    assert web.text_of("Ø".encode(), "no-such") == "Ø"
