"""Servers that the Hub calls ready while it waits for nothing of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from builders import T0, at
from hub_process import until
from jupyterhub.objects import Server
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from jupyterhub_metrics.hub import unwatched
from jupyterhub_metrics.hub.actor import HUB_POLL, current_actor
from jupyterhub_metrics.hub.unwatched import LOOKS, Unwatched

LOOK_SECONDS = 0.002


class HubsServer:
    """One that a Hub calls ready or pending; ``status`` is what its polls say."""

    def __init__(self, status: int | None) -> None:
        self.name = "work"
        self._log_name = "ada:work"
        self.server: Server | None = None
        self.status = status
        self.orm_spawner = SimpleNamespace(id=1, started=T0)
        self.active, self.pending = True, ""
        self._callbacks: list[Any] = []
        self.polls = 0
        self.ended_by: list[str | None] = []
        self.user = SimpleNamespace(stop=self._stop, settings={})

    async def poll(self) -> int | None:
        self.polls += 1
        return self.status

    async def _stop(self, server_name: str) -> None:
        assert server_name == self.name
        self.active = False
        self.ended_by.append(current_actor())


class Process:
    """What listens at the server's address, once it does."""

    def __init__(self) -> None:
        self._sockets = bind_sockets(0, "127.0.0.1")
        port = self._sockets[0].getsockname()[1]
        self.address = Server(ip="127.0.0.1", port=port, base_url="/user/ada/lab/")
        self._http = HTTPServer(Application([("/user/ada/lab/api", RequestHandler)]))

    def listen(self) -> None:
        """A 405 is an answer."""
        self._http.add_sockets(self._sockets)

    async def close(self) -> None:
        self._http.stop()
        for socket in self._sockets:
            socket.close()
        await self._http.close_all_connections()


class Found:
    def __init__(self) -> None:
        self.serving: list[Any] = []
        self.unwatched = Unwatched(self.serving.append, logging.getLogger("u"), LOOK_SECONDS)

    async def conclude(self, server: HubsServer) -> None:
        """Look after it until there is a conclusion."""
        self.unwatched.look_after(server)
        await until(lambda: not self.unwatched.looking, "it is concluded")


@pytest.fixture
def found() -> Found:
    return Found()


async def test_one_that_is_gone_is_ended_as_by_the_hubs_poll(found: Found) -> None:
    server = HubsServer(status=7)
    await found.conclude(server)
    assert server.ended_by == [HUB_POLL]
    assert not found.serving


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    made = Process()
    yield made
    await made.close()


async def test_one_that_answers_is_told_of(found: Found, process: Process) -> None:
    process.listen()
    server = HubsServer(status=None)
    server.server = process.address
    await found.conclude(server)
    assert found.serving == [server]
    assert not server.ended_by


async def test_one_that_is_there_and_does_not_answer_yet_is_looked_at_again(
    found: Found, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwatched, "ANSWER_SECONDS", 0.05)
    server = HubsServer(status=None)
    server.server = process.address
    found.unwatched.look_after(server)
    await until(lambda: server.polls > 1, "it was asked more than once")
    assert not found.serving
    process.listen()
    await until(lambda: not found.unwatched.looking, "it is concluded")
    assert found.serving == [server]


async def test_one_that_the_hub_waits_for_is_left_to_it(found: Found) -> None:
    server = HubsServer(status=7)
    server._callbacks = [print]
    await found.conclude(server)
    assert (server.polls, server.ended_by) == (0, [])


async def test_one_that_was_started_again_is_another(found: Found) -> None:
    server = HubsServer(status=7)
    found.unwatched.look_after(server)
    server.orm_spawner.started = at(10)
    await asyncio.sleep(0)
    server.orm_spawner.started = at(20)
    await found.conclude(server)
    assert (server.polls, server.ended_by) == (0, [])


async def test_nothing_is_concluded_while_the_hub_is_about_to(found: Found) -> None:
    """While it cancels a start it calls the server ready, and then it stops it."""
    server = HubsServer(status=7)
    server.pending = "spawn"
    found.unwatched.look_after(server)
    await asyncio.sleep(3 * LOOKS * LOOK_SECONDS)
    assert (server.polls, server.ended_by) == (0, [])
    server.pending = ""
    await found.conclude(server)
    assert server.ended_by == [HUB_POLL]


async def test_an_end_that_raises_is_logged(found: Found, caplog: pytest.LogCaptureFixture) -> None:
    server = HubsServer(status=7)

    async def refuses(_: str) -> None:
        raise OSError("no answer")

    server.user.stop = refuses
    await found.conclude(server)
    [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.exc_info
    assert "its next start" in error.getMessage()


async def test_a_hub_that_ends_looks_after_none(found: Found) -> None:
    server = HubsServer(status=7)
    server.pending = "spawn"
    found.unwatched.look_after(server)
    await asyncio.sleep(LOOK_SECONDS)
    await found.unwatched.close()
    assert not found.unwatched.looking
