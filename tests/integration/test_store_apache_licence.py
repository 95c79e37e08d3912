"""TimescaleDB of Apache licence: chunks as with the full one, and none is compressed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
from builders import event
from contents import contents, count_hours
from test_store_compression import (
    DAY,
    DAYS,
    FOR_EVER,
    GROWN,
    NOW,
    chunks,
    compress,
    everything,
    fill,
)

from jupyterhub_metrics.store import Store, actions
from jupyterhub_metrics.store.administration import read_status
from jupyterhub_metrics.store.report import status_lines

pytestmark = [
    pytest.mark.needs("node"),
    pytest.mark.needs("npm"),
    pytest.mark.parametrize("engine", ["timescale-apache"], indirect=True),
]


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(postgres_dsn)
    yield opened
    await opened.close()


async def test_the_engine_itself_refuses_to_compress(
    store: Store, connection: asyncpg.Connection
) -> None:
    assert store.capabilities.engine == "timescale-apache"
    assert str(store.capabilities).endswith("(apache licence)")
    with pytest.raises(asyncpg.FeatureNotSupportedError, match='current "apache" license'):
        await connection.execute("ALTER TABLE event_rows SET (timescaledb.compress)")


async def test_what_grows_is_in_chunks_and_none_is_ever_due(
    store: Store, connection: asyncpg.Connection, postgres_dsn: str
) -> None:
    await fill(store)
    await count_hours(connection, NOW)
    while any((done := await store.upkeep(FOR_EVER, NOW)).done.values()):
        assert done.done["compression"] == 0
        assert done.lag_seconds["compression"] == 0
    before = await everything(postgres_dsn)
    await compress(connection)
    states = await chunks(connection)
    assert set(states) == GROWN
    assert len(states["event_rows"]) > 2
    assert {state for of_table in states.values() for state in of_table} == {0}
    assert await everything(postgres_dsn) == before
    # late, for a chunk that closed long ago
    late = {"started": 9 * DAY, "username": "eve"}
    await store.ingest([event(kind, 9 * DAY, **late) for kind in ("requested", "failed")])
    assert not await store.verify(NOW)
    assert await store.rebuild(NOW) == 2 * DAYS + 1
    assert not await store.verify(NOW)


async def test_status_and_compress_say_that_nothing_is_compressed(
    store: Store, postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(store)
    before = await contents(postgres_dsn)
    # not as a process of its own, whose statements would have the names of ours in this backend
    assert await actions.compress(postgres_dsn) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    assert "(apache licence), which does not compress; expected TimescaleDB with" in said.out
    assert await contents(postgres_dsn) == before
    status = await read_status(postgres_dsn, FOR_EVER, NOW)
    assert status.lag_seconds["compression"] == 0
    told = "\n".join(status_lines(status))
    of_chunks = re.findall(r"^(\w+) .*  (\d+) of \d+ chunks$", told, re.MULTILINE)
    # the others have rows when upkeep has counted
    assert dict(of_chunks) == {"event_rows": "0", "observation_spans": "0"}
