"""The network that tests cut is cut as they say, and heals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hub_process import until
from ports import free_port
from tcp_proxy import TcpProxy

PATIENCE_SECONDS = 0.3


class Echo:
    """Answers each line with itself, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line)
        writer.close()


class Caller:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def ask(self, line: bytes) -> bytes | None:
        """The answer, empty if the connection was reset, None if there is none for a while."""
        try:
            self.writer.write(line)
            return await asyncio.wait_for(self._reader.readline(), PATIENCE_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            return None
        except OSError:
            return b""


class Network:
    def __init__(self, echo: Echo, proxy: TcpProxy) -> None:
        self.echo, self.proxy = echo, proxy
        self._callers: list[Caller] = []

    async def caller(self) -> Caller:
        assert isinstance(self.proxy.address, Path)
        caller = Caller(*await asyncio.open_unix_connection(self.proxy.address))
        self._callers.append(caller)
        return caller

    def close(self) -> None:
        for caller in self._callers:
            caller.writer.close()


@pytest_asyncio.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    echo, port = Echo(), free_port()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", port)
    proxy = TcpProxy(tmp_path / "socket", lambda: ("127.0.0.1", port))
    await proxy.start()
    network = Network(echo, proxy)
    yield network
    network.close()
    await proxy.close()
    server.close()


async def test_it_passes_on_what_is_said_and_answered(network: Network) -> None:
    caller = await network.caller()
    assert [await caller.ask(b"one\n"), await caller.ask(b"two\n")] == [b"one\n", b"two\n"]


async def test_a_reset_ends_old_connections_and_takes_no_new_ones(network: Network) -> None:
    old = await network.caller()
    assert await old.ask(b"one\n") == b"one\n"
    network.proxy.cut("reset")
    assert await old.ask(b"two\n") == b""
    assert await (await network.caller()).ask(b"three\n") == b""
    assert network.echo.heard == [b"one\n"]


async def test_in_a_blackhole_nothing_is_heard_and_nothing_answered(network: Network) -> None:
    old = await network.caller()
    assert await old.ask(b"one\n") == b"one\n"
    network.proxy.cut("blackhole")
    assert await old.ask(b"two\n") is None
    assert await (await network.caller()).ask(b"three\n") is None
    assert network.echo.heard == [b"one\n"]


async def test_a_mute_network_loses_answers_only(network: Network) -> None:
    network.proxy.cut("mute")
    caller = await network.caller()
    assert await caller.ask(b"one\n") is None
    await until(lambda: network.echo.heard == [b"one\n"], "it was heard")


@pytest.mark.parametrize("manner", ["reset", "blackhole", "mute"])
async def test_a_healed_network_resets_what_has_lost_something(
    network: Network, manner: str
) -> None:
    old = await network.caller()
    assert await old.ask(b"one\n") == b"one\n"
    network.proxy.cut(manner)
    network.proxy.heal()
    assert await old.ask(b"two\n") == b""
    assert await (await network.caller()).ask(b"three\n") == b"three\n"


async def test_where_nobody_listens_a_connection_is_reset(tmp_path: Path) -> None:
    port = free_port()
    proxy = TcpProxy(tmp_path / "socket", lambda: ("127.0.0.1", port))
    await proxy.start()
    network = Network(Echo(), proxy)
    assert await (await network.caller()).ask(b"one\n") == b""
    network.close()
    await proxy.close()
