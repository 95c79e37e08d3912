"""TimescaleDB whose catalog has another shape than that of the engine the other tests have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from builders import at, event
from contents import check_functions, count_hours
from test_store_upkeep import all_rounds

from jupyterhub_metrics.errors import SchemaMismatch
from jupyterhub_metrics.store import EmbeddedServer, Store, UpkeepRules, open_store

DRESS = Path(__file__).parents[1] / "newer_timescale.sql"
DAY = 86_400.0
STATUS = "SELECT status FROM _timescaledb_catalog.chunk WHERE relid = 'event_rows'::regclass"


@pytest.fixture
async def newer_dsn(short_dir: Path) -> AsyncIterator[str]:
    """DSN of a plain PostgreSQL that has the catalog of TimescaleDB 2.30, and no schema of ours."""
    server = EmbeddedServer(short_dir)
    dsn = await server.start()
    connection = await asyncpg.connect(dsn)
    await connection.execute(DRESS.read_text())
    await connection.close()
    yield dsn
    await server.stop()


async def compressed_by_upkeep(store: Store) -> int:
    """How many chunks all upkeep of a month later compresses."""
    rounds = await all_rounds(store, UpkeepRules(), at(30 * DAY))
    assert rounds[-1].lag_seconds["compression"] == 0
    return sum(one.done["compression"] for one in rounds)


async def test_chunks_are_found_in_the_catalog_of_a_newer_version(newer_dsn: str) -> None:
    store = await open_store(newer_dsn)
    connection = await asyncpg.connect(newer_dsn)
    try:
        assert store.capabilities.engine == "timescale"
        assert store.capabilities.timescaledb_version == "2.30.0"
        await check_functions(connection)
        await store.ingest([event("requested"), event("stopped", 60)])
        assert await connection.fetchval("SELECT uncompressed_from($1)", at(-DAY)) is None
        assert await connection.fetchval("SELECT uncompressed_from($1)", at(30 * DAY)) is not None
        await count_hours(connection, at(30 * DAY))
        assert await compressed_by_upkeep(store) > 1
        assert await connection.fetchval(STATUS) == 1
        # rows that came since
        await connection.execute("UPDATE _timescaledb_catalog.chunk SET status = status | 8")
        assert await compressed_by_upkeep(store) > 1
        assert await connection.fetchval(STATUS) == 1
    finally:
        await connection.close()
        await store.close()


async def test_compressed_chunks_are_counted_in_a_newer_version(newer_dsn: str) -> None:
    store = await open_store(newer_dsn)
    await store.ingest([event("requested"), event("stopped", 60)])
    connection = await asyncpg.connect(newer_dsn)
    await count_hours(connection, at(30 * DAY))
    compressed = await compressed_by_upkeep(store)
    await store.close()
    await connection.execute("SELECT become_licensed('apache')")
    await connection.close()
    with pytest.raises(SchemaMismatch, match=f"^found {compressed} compressed chunks"):
        await open_store(newer_dsn)
