"""The service while it runs: what starts and what ends, in which order. Called by ``app``."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application

from .._lifetime import ask_to_end_with_parent
from .._tasks import end
from . import lifetime
from .listening import Address, take_port
from .routes import make_open_application
from .wiring import Wiring

log = logging.getLogger(__name__)

BODY_TIMEOUT_SECONDS = 60.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server:
    """One listening service. Made, opened and closed once, in one event loop."""

    def __init__(
        self,
        wiring: Wiring,
        application: Application,
        address: Address,
        *,
        open_address: Address | None = None,
        graceful_stop_seconds: float,
    ) -> None:
        """``open_address`` is where metrics need no token, None for nowhere."""
        self.wiring = wiring
        self._application = application
        self._address = address
        self._open_address = open_address
        self._graceful_stop_seconds = graceful_stop_seconds
        self._http: HTTPServer | None = None
        self._open_http: HTTPServer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, parent_pid: int | None) -> None:
        """Serves until SIGTERM, SIGINT or the end of ``parent_pid``, then stops in order.

        Raises ConfigurationError if the address cannot be bound.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        endings = [_task("stop-signal", stop.wait())]
        if parent_pid is not None:
            ask_to_end_with_parent(signal.SIGTERM)
            endings.append(_task("parent-watch", lifetime.parent_gone(parent_pid)))
        opening = _task("open", self.open())
        try:
            await asyncio.wait([opening, *endings], return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
                await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end([opening, *endings])
            await self.close()

    async def open(self) -> None:
        """Listens as soon as the port is free; opens the database, keeps it up and checks in the
        background."""
        sockets = await take_port(self._address)
        self._http = HTTPServer(self._application, body_timeout=BODY_TIMEOUT_SECONDS)
        self._http.add_sockets(sockets)
        log.info(
            "Listening on %s port %s under %s",
            self._address.host,
            self._address.port,
            self.wiring.prefix,
        )
        self._tasks = [
            _task("keep-database-open", self.wiring.database.keep_open()),
            _task("snapshots", self.wiring.snapshots.run()),
            _task("upkeep", self.wiring.upkeeper.run()),
        ]
        if self.wiring.checker is not None:
            self.wiring.checker.open()
            self._tasks.append(_task("check", self.wiring.checker.run()))
        if self.wiring.directory is not None:
            self._tasks.append(_task("directory", self.wiring.directory.run()))
        if self.wiring.homes is not None:
            self._tasks.append(_task("homes", self.wiring.homes.run()))
        if self._open_address is not None:
            sockets = await take_port(self._open_address)
            self._open_http = HTTPServer(make_open_application(self.wiring))
            self._open_http.add_sockets(sockets)

    async def close(self) -> None:
        """Stops accepting, lets the posts under way finish, closes the database."""
        if self._http is not None:
            log.info("Stopping")
            self._http.stop()
            try:
                await asyncio.wait_for(self.wiring.requests.finished(), self._graceful_stop_seconds)
            except asyncio.TimeoutError:
                log.warning("A post of events was cut off; its Hub will send it again")
            await self._http.close_all_connections()
            self._http = None
        if self._open_http is not None:
            self._open_http.stop()
            await self._open_http.close_all_connections()
            self._open_http = None
        self.wiring.scrape_access.close()
        self.wiring.server_tokens.close()
        await end(self._tasks)
        self._tasks = []
        if self.wiring.checker is not None:
            await self.wiring.checker.close()
        if self.wiring.directory is not None:
            self.wiring.directory.close()
        if self.wiring.homes is not None:
            self.wiring.homes.close()
        await self.wiring.database.close()


def _task(name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)
