"""Listening, until told to stop."""

import asyncio
import logging
import socket
from typing import ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mistralrs_mlx import Runner

from .app import application
from .settings import Settings

__all__ = ["Server", "configuration", "serve"]

log = logging.getLogger(__name__)

GOODBYE_SECONDS = 3  # that answers under way have to end once Ctrl-C is pressed
CLEARING_SECONDS = 5  # that their ends may take when they are cut off then
IDLE_SECONDS = 30  # after which a connection that asks nothing is closed
BACKLOG = 128


def serve(runner: Runner, settings: Settings | None = None) -> None:
    """Answer requests until Ctrl-C or SIGTERM. Closing the runner is the caller's part."""
    settings = settings or Settings()
    if not settings.local and settings.api_key is None:
        log.warning("everyone who reaches %s may ask: there is no API key", settings.host)
    Server(configuration(runner, settings)).run()


def configuration(runner: Runner, settings: Settings) -> uvicorn.Config:
    """How uvicorn is to listen."""
    return uvicorn.Config(
        application(runner, settings),
        host=settings.host,
        port=settings.port,
        http=type("Protocol", (Impatient,), {"seconds": settings.head_seconds}),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GOODBYE_SECONDS + CLEARING_SECONDS,
    )


class Server(uvicorn.Server):
    """Hangs up on whoever is still being answered some time after it was told to stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self._hang_up)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # as if the client had left, which ends its answer


class Impatient(H11Protocol):
    """HTTP/1.1 that hangs up on those who do not finish a request's head; uvicorn waits forever."""

    seconds: ClassVar[float]
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._answers():
            self._rest()
        elif self._late is None:
            self._late = self.loop.call_later(self.seconds, self._hang_up)

    def _rest(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _hang_up(self) -> None:
        self._late = None
        if not self._answers():
            self.transport.close()
