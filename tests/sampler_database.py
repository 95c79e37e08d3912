"""The database that a sampler's manifests name, as the documentation has an operator make it.

Loaded by the tests of those manifests: database ``jupyterhub_metrics``, its role
``jupyterhub_metrics_sampler``, port 5432; the host is the folder of a socket that every account of
this machine may speak to.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
from tcp_proxy import TcpProxy

from jupyterhub_metrics.store import EmbeddedServer, open_store
from jupyterhub_metrics.store.roles import create_roles

SOCKET = ".s.PGSQL.5432"


@dataclass(frozen=True)
class SamplerDatabase:
    """Where it is for a sampler, and a connection of the owner's to see what arrives."""

    host: str
    password: str
    connection: asyncpg.Connection

    async def rows_where(self, condition: str, *values: object) -> list[asyncpg.Record]:
        return await self.connection.fetch(
            f"SELECT * FROM monitor_samples_ring WHERE {condition} ORDER BY id", *values
        )


@asynccontextmanager
async def sampler_database(folder: Path) -> AsyncIterator[SamplerDatabase]:
    """An embedded PostgreSQL in ``folder``, migrated, with the roles."""
    server = EmbeddedServer(folder)
    dsn = await server.start()
    relay_folder = folder / "relay"
    relay_folder.mkdir(mode=0o755)
    target = Path(parse_qs(urlsplit(dsn).query)["host"][0]) / SOCKET
    relay = TcpProxy(relay_folder / SOCKET, lambda: target)
    try:
        await (await open_store(dsn)).close()
        password = secrets.token_hex(24)
        await create_roles(dsn, "jupyterhub_metrics_", passwords={"sampler": password})
        await relay.start()
        (relay_folder / SOCKET).chmod(0o777)
        connection = await asyncpg.connect(dsn)
        yield SamplerDatabase(str(relay_folder), password, connection)
        await connection.close()
    finally:
        await relay.close()
        await server.stop()


async def until(fact: Callable[[], Awaitable[object]], what: str, *, seconds: float = 60) -> None:
    """Waits for a fact."""
    for _ in range(int(seconds / 0.1)):
        if await fact():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")
