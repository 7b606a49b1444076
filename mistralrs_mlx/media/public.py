"""Connecting to the public internet, and never to an address in a private network."""

import ipaddress
import socket
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from urllib.request import BaseHandler, HTTPHandler, HTTPSHandler, Request

from mistralrs_mlx.errors import RequestError

__all__ = ["public_handlers", "refuse_private_address"]

TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4, as networks that only have IPv6 see it


def public_handlers() -> tuple[BaseHandler, ...]:
    """What opens http and https addresses for urllib; it raises `RequestError` for private ones."""
    return _PublicHandler(), _PublicSecureHandler()


def refuse_private_address(host: str, text: str) -> None:
    """Raise for an address that is not on the public internet."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        address = _within(address) or address
    if not address.is_global or address.is_multicast:
        raise RequestError(
            f"{host} is at {text}, in a private network, where neither searches nor redirects may "
            "lead; if it is meant, read it yourself or give that address itself"
        )


def _within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a gateway, or this machine, takes out of it."""
    number = int(address)
    if address in TRANSLATED or 1 < number < 1 << 32:
        return ipaddress.IPv4Address(number & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _refuse_private(host: str) -> None:
    """Raise for a host with an address that is not on the public internet."""
    for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        refuse_private_address(host, str(address[0]))


class _PublicConnection(HTTPConnection):
    """Refuses private addresses, before connecting and, should names change, right after."""

    def connect(self) -> None:
        _refuse_private(self.host)
        super().connect()
        refuse_private_address(self.host, self.sock.getpeername()[0])


class _PublicSecureConnection(HTTPSConnection):
    """The same for https."""

    def connect(self) -> None:
        _refuse_private(self.host)
        super().connect()
        refuse_private_address(self.host, self.sock.getpeername()[0])


class _PublicHandler(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_PublicConnection, request)


class _PublicSecureHandler(HTTPSHandler):
    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_PublicSecureConnection, request)
