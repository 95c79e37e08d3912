"""Facts about where the service's database comes from, over real servers."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
from hub_process import until

from jupyterhub_metrics.service.source import ConfiguredSource
from jupyterhub_metrics.store import EmbeddedServer


def postmasters() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [one for one in found if one.name() == "postgres" and one.status() != "zombie"]


async def runs(folder: Path) -> None:
    """Another server takes over the folder without waiting for its lock."""
    server = EmbeddedServer(folder)
    await asyncio.wait_for(server.start(), 10)
    await server.stop()


async def test_an_embedded_server_that_ended_gives_way_to_a_configured_one(
    short_dir: Path, postgres_dsn: str
) -> None:
    before = {one.pid for one in postmasters()}
    configured: list[str | None] = [None]
    source = ConfiguredSource(lambda: configured[0], short_dir, pool_connections=2)
    await (await source.open()).close()
    [embedded] = [one for one in postmasters() if one.pid not in before]
    os.kill(embedded.pid, signal.SIGKILL)
    await until(source.stale, "it has ended")
    configured[0] = postgres_dsn
    store = await source.open()
    await store.ping()
    assert not source.stale()
    await store.close()
    await source.close()
    await runs(short_dir)
