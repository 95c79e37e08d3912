"""Sessions are computed again from events, whatever was done to them; to look changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timezone

import asyncpg
import pytest
from builders import at, event
from contents import contents, fill

from jupyterhub_metrics.store import Activity, Store, open_store
from jupyterhub_metrics.store.rebuild import rebuild, silent

NOW = datetime(2026, 7, 1, tzinfo=timezone.utc)


@pytest.fixture
async def filled(postgres_dsn: str) -> str:
    await fill(postgres_dsn, sessions=9)
    return postgres_dsn


@pytest.fixture
async def checked(filled: str) -> AsyncIterator[Store]:
    store = await open_store(filled)
    yield store
    await store.close()


async def run(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


DAMAGE = {
    "another end": ("UPDATE ended_sessions SET ended_at = ended_at + interval '1 second'"),
    "another image": (
        "UPDATE open_sessions SET description_id = (SELECT max(id) FROM descriptions) + 1"
    ),
    "lost open ones": ("DELETE FROM open_sessions"),
    "lost ended ones": ("DELETE FROM ended_sessions"),
    "made up": (
        "INSERT INTO ended_sessions (id, started_at, ended_at, server_id, description_id, "
        "request_id, state, simulated, inferred) SELECT gen_random_uuid(), started_at, ended_at, "
        "server_id, description_id, request_id, state, false, false FROM ended_sessions LIMIT 1"
    ),
    "made up on a day without events": (
        "INSERT INTO open_sessions (id, started_at, server_id, description_id, request_id, state, "
        "simulated, inferred) VALUES (gen_random_uuid(), '2020-01-01Z', 1, 1, 1, 'running', "
        "false, false)"
    ),
}


async def test_what_is_right_is_found_right_and_stays(filled: str, checked: Store) -> None:
    before = await contents(filled)
    assert not await checked.verify(NOW)
    assert await checked.rebuild(NOW) == 9
    assert await contents(filled) == before


@pytest.mark.parametrize("what", DAMAGE)
async def test_every_damage_is_found_and_put_right(filled: str, checked: Store, what: str) -> None:
    before = await contents(filled)
    await run(filled, DAMAGE[what])
    damaged = await contents(filled)
    assert damaged != before
    assert (await checked.verify(NOW)).sessions
    assert await contents(filled) == damaged
    await checked.rebuild(NOW)
    assert not await checked.verify(NOW)
    after = await contents(filled)
    for name in ("events", "container_observations", "group_memberships"):
        assert after[name] == before[name]


async def test_activity_is_kept(filled: str, checked: Store) -> None:
    before = (await contents(filled))["session_activity"]
    await run(filled, "UPDATE open_sessions SET node_id = NULL")
    await checked.rebuild(NOW)
    assert (await contents(filled))["session_activity"] == before != []


async def test_hours_that_were_counted_wrongly_are_counted_again(
    filled: str, checked: Store
) -> None:
    connection = await asyncpg.connect(filled)
    asked = (
        "SELECT hour, node_name, unique_users, total_containers FROM hourly_node_stats "
        "WHERE hour < '2026-04-01Z' ORDER BY hour, node_name"
    )
    before = await connection.fetch(asked)
    await connection.fetchval("SELECT hourly_count('2026-04-01Z', 10000)")
    await connection.execute(
        "UPDATE hourly_node_counts "
        "SET unique_users = array_fill(99, ARRAY[cardinality(unique_users)])"
    )
    assert {row["unique_users"] for row in await connection.fetch(asked)} == {99}
    await checked.rebuild(NOW)
    assert await connection.fetch(asked) == before != []
    await connection.fetchval("SELECT hourly_count('2026-04-01Z', 10000)")
    assert await connection.fetch(asked) == before
    await connection.close()


async def test_what_was_measured_is_looked_up_session_by_session(
    store: Store, postgres_dsn: str
) -> None:
    count = 300
    users = [{"username": f"user-{number}", "started": number} for number in range(count)]
    told = [event("requested", user["started"], **user) for user in users]
    await store.ingest(told + [event("stopped", 900, **user) for user in users])
    await store.record_activity(
        [Activity(one.session_id, at(500), at(500), 12.5, at(500), 300) for one in told]
    )
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("ANALYZE")
    async with connection.transaction():
        # what a planner chooses that takes the folded for very few
        await connection.execute("SET LOCAL enable_hashjoin = off")
        await connection.execute("SET LOCAL enable_mergejoin = off")
        assert await rebuild(connection, NOW, silent) == count
        read = await connection.fetchval(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_all_tables "
            "WHERE relname = 'activity_to_keep'"
        )
    await connection.close()
    # once for each session and for each index, not once for each pair of sessions
    assert count <= read < 10 * count
