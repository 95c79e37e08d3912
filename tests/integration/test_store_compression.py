"""What grows by the day is compressed when it has closed, and reads and changes as before."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from builders import at, event
from contents import contents, count_hours

from jupyterhub_metrics.store import Observation, Store, UpkeepRules

DAY = 86_400.0
DAYS = 21
NOW = at(26 * DAY)
FOR_EVER = UpkeepRules(keep_observations=None)
GROWN = {
    "event_rows",
    "hourly_image_counts",
    "hourly_node_counts",
    "observation_spans",
    "usage_days",
    "usage_months",
    "usage_summary",
}
PLACED = {"image": "lab:1", "node": "n1"}


def seen(user: str, age: float) -> Observation:
    return Observation(
        "jhub", f"jupyter-{user}", None, user, user, "n1", "lab:1", "lab", "1", age_seconds=age
    )


async def fill(store: Store) -> None:
    moments = {"requested": 0.0, "ready": 60.0}
    await store.ingest(
        [
            event(kind, day * DAY + later, started=day * DAY, username=user, facts=PLACED)
            for day in range(DAYS)
            for user in ("ada", "bob")
            for kind, later in {**moments, "stopped": 30_000.0 + 500 * day}.items()
        ]
    )
    for half_day in range(2 * DAYS):
        moment = at(half_day * (DAY / 2 + 1))
        await store.record_observations("campus", moment, [seen("ada", half_day), seen("bob", 5.0)])


async def everything(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """What people read, usage included, of all days."""
    found = await contents(dsn)
    connection = await asyncpg.connect(dsn)
    for name, by in (
        ("usage_hourly", "hour"),
        ("usage_daily", "day"),
        ("hourly_node_stats", "hour"),
        ("hourly_image_stats", "hour"),
    ):
        rows = await connection.fetch(f"SELECT * FROM {name} WHERE {by} < $1", NOW.date())
        found[name] = sorted(tuple(row) for row in rows)
        assert found[name]
    await connection.close()
    return found


async def work_off(store: Store, rules: UpkeepRules = FOR_EVER) -> None:
    while any((await store.upkeep(rules, NOW)).done.values()):
        pass


async def compress(connection: asyncpg.Connection) -> None:
    """As months later: all is counted, and no chunk is open but that of the polls to come."""
    await count_hours(connection, at(122 * DAY))
    await connection.execute("SELECT usage_close('2026-07-01', 200)")
    while await connection.fetchval("SELECT usage_summarise()"):
        pass
    await connection.execute("SELECT compress_chunks('2027-01-01Z', 1000)")


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(postgres_dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def settled(store: Store, connection: asyncpg.Connection) -> Store:
    """Three weeks of two users, all upkeep done, each chunk compressed that later rows closed."""
    await fill(store)
    await count_hours(connection, NOW)
    await work_off(store)
    await compress(connection)
    return store


async def chunks(connection: asyncpg.Connection) -> dict[str, list[int]]:
    """Of each table the states of its chunks, the oldest first: 1 compressed, 9 with rows that
    came since, 0 not compressed."""
    found: dict[str, list[int]] = {}
    for row in await connection.fetch(
        "SELECT hypertable_name AS name, known.status FROM timescaledb_information.chunks "
        # named by schema and table, or by regclass: that depends on the version
        "JOIN (SELECT status, to_jsonb(chunk) AS row FROM _timescaledb_catalog.chunk) AS known "
        "ON coalesce(row ->> 'relid', format('%I.%I', row ->> 'schema_name', row ->> 'table_name'))"
        "::regclass = format('%I.%I', chunk_schema, chunk_name)::regclass "
        "WHERE hypertable_schema = current_schema() "
        "ORDER BY hypertable_name, range_start, range_start_integer"
    ):
        found.setdefault(row["name"], []).append(row["status"])
    return found


async def test_all_that_grows_is_compressed_and_reads_as_before(
    settled: Store, connection: asyncpg.Connection, postgres_dsn: str
) -> None:
    before = await everything(postgres_dsn)
    assert len(before["container_observations"]) == 4 * DAYS
    if settled.capabilities.engine != "timescale":
        return
    states = await chunks(connection)
    # the newest polls may be in a chunk that no later poll has closed
    assert states.pop("observation_spans")[:-1] == []
    assert set(states) == GROWN - {"observation_spans"}
    assert {state for of_table in states.values() for state in of_table} == {1}
    await connection.execute(
        "SELECT decompress_chunk(chunk) FROM unnest($1::text[]) AS name "
        "CROSS JOIN LATERAL show_chunks(name::regclass) AS chunk",
        list(states),
    )
    assert await everything(postgres_dsn) == before


async def test_polls_are_compressed_when_later_ones_have_closed_their_chunk(
    settled: Store, connection: asyncpg.Connection, postgres_dsn: str
) -> None:
    before = (await contents(postgres_dsn))["container_observations"]
    await connection.execute("SELECT setval(pg_get_serial_sequence('polls', 'id'), 5000)")
    for hour in range(4):
        moment = at((DAYS + 1) * DAY + hour * 3600)
        await settled.record_observations("campus", moment, [seen("ada", 3600.0 * hour)])
    await work_off(settled)
    await compress(connection)
    if settled.capabilities.engine == "timescale":
        assert (await chunks(connection))["observation_spans"] == [1]
    assert (await contents(postgres_dsn))["container_observations"][: len(before)] == before
    await work_off(settled, UpkeepRules(keep_observations=NOW - at(10.5 * DAY)))
    left = (await contents(postgres_dsn))["container_observations"]
    assert left[:-4] == [row for row in before if row[0] >= at(10.5 * DAY)]
    if settled.capabilities.engine == "timescale":
        assert (await chunks(connection))["observation_spans"] == [1]
    await work_off(settled, UpkeepRules(keep_observations=NOW - at((DAYS + 1) * DAY)))
    assert (await contents(postgres_dsn))["container_observations"] == left[-4:]
    if settled.capabilities.engine == "timescale":
        assert "observation_spans" not in await chunks(connection)


async def test_what_comes_late_changes_only_the_chunks_of_its_time(
    settled: Store, connection: asyncpg.Connection, postgres_dsn: str
) -> None:
    late = 9 * DAY
    await settled.ingest(
        [
            event(kind, late + later, started=late, username="eve", facts=PLACED)
            for kind, later in {"requested": 0.0, "ready": 10.0, "stopped": 4000.0}.items()
        ]
    )
    # ada's server of this day was ready before it was told to have been
    await settled.ingest([event("ready", late + 30, started=late, username="ada")])
    assert not await settled.verify(NOW)
    if settled.capabilities.engine == "timescale":
        states = await chunks(connection)
        for name in ("usage_days", "event_rows"):
            assert states[name].count(9) == 1, name
            assert states[name].count(1) == len(states[name]) - 1, name
    await work_off(settled)
    await compress(connection)
    if settled.capabilities.engine == "timescale":
        states = await chunks(connection)
        assert {state for name in GROWN - {"observation_spans"} for state in states[name]} == {1}
    assert not await settled.verify(NOW)
    rows = await connection.fetch(
        "SELECT username, seconds FROM usage_daily WHERE day = $1 ORDER BY username",
        at(late).date(),
    )
    assert [row["username"] for row in rows] == ["ada", "bob", "eve"]
    assert rows[2]["seconds"] == timedelta(seconds=4000).total_seconds()


async def test_who_may_only_write_rows_compresses_with_the_rights_of_the_owner(
    store: Store, connection: asyncpg.Connection
) -> None:
    await fill(store)
    writer, reader = (f"t{uuid.uuid4().hex[:8]}_{role}" for role in ("writer", "reader"))
    ours = await connection.fetchval("SELECT current_schema()")
    call = "SELECT compress_chunks('2027-01-01Z', 1000)"
    # as the command makes them, which this engine's one database does not let it do
    await connection.execute(
        f"CREATE ROLE {writer}; CREATE ROLE {reader};"
        f"GRANT USAGE ON SCHEMA {ours} TO {writer}, {reader};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {ours} TO {writer};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {ours} TO {writer};"
        "ALTER ROUTINE compress_chunks(timestamptz, integer) "
        f"SET search_path TO {ours}, pg_temp;"
        "REVOKE ALL ON ROUTINE compress_chunks(timestamptz, integer) FROM PUBLIC;"
        f"GRANT EXECUTE ON ROUTINE compress_chunks(timestamptz, integer) TO {writer}"
    )
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {writer}")
            await connection.execute("SELECT usage_close('2026-07-01', 200)")
            while await connection.fetchval("SELECT usage_summarise()"):
                pass
            assert (await connection.fetchval(call) > 0) is (
                store.capabilities.engine == "timescale"
            )
            # a day of a compressed chunk is counted again
            server = await connection.fetchval("SELECT min(server_id) FROM usage_days")
            span = f"ROW({server}, '{at(0)}', '{at(3600)}')::usage_span"
            await connection.execute(f"SELECT usage_count_again(ARRAY[{span}])")
        assert not await store.verify(NOW)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute(f"SET LOCAL ROLE {reader}")
                await connection.execute(call)
    finally:
        for role in (writer, reader):
            await connection.execute(f"DROP OWNED BY {role} CASCADE")
            await connection.execute(f"DROP ROLE {role}")
