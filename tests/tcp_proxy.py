"""A network that tests cut and heal: passes connections on, TCP or Unix, until told not to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path

Address = tuple[str, int] | Path
"""A host and port, or the path of a Unix socket."""

CUTS = ("reset", "blackhole", "mute")
"""Connections are reset, old and new; everything sent is lost; only what is answered is lost."""

CHUNK_BYTES = 65536


class TcpProxy:
    """Listens on ``address`` and passes on to whatever ``target()`` is when a connection comes."""

    def __init__(self, address: Address, target: Callable[[], Address]) -> None:
        self.address = address
        self._target = target
        self._cut: str | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        if isinstance(self.address, Path):
            self._server = await asyncio.start_unix_server(self._accept, self.address)
        else:
            self._server = await asyncio.start_server(self._accept, *self.address)

    def cut(self, manner: str) -> None:
        """From now on, and for the connections there are; ``manner`` is one of ``CUTS``."""
        self._cut = manner
        if manner == "reset":
            self._reset_all()

    def heal(self) -> None:
        """New connections pass; the old ones have lost something, and are reset."""
        self._cut = None
        self._reset_all()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer), name="tcp-proxy-connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            if self._cut == "reset":
                return
            answers, onward = await _connect(self._target())
            self._writers.add(onward)
            if self._cut == "reset":
                return
            # whichever side ends first ends both
            pumps = [
                asyncio.create_task(self._pump(reader, onward, ("blackhole",)), name="asking"),
                asyncio.create_task(
                    self._pump(answers, writer, ("blackhole", "mute")), name="answering"
                ),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            # nobody listens there now: to the caller, a connection that is reset
            return
        finally:
            for one in (writer, onward):
                if one is not None:
                    self._writers.discard(one)
                    _reset(one)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost_in: tuple[str, ...]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._cut not in lost_in:
                    writer.write(data)
                    await writer.drain()


async def _connect(target: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a dying peer does, with what it had not sent yet."""
    found = writer.get_extra_info("socket")
    if found is not None and found.family != socket.AF_UNIX and not writer.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
