"""What people ask of the views is answered by indexes, and costs only what is asked for."""

from __future__ import annotations

import asyncpg
import pytest
from builders import at, event

from jupyterhub_metrics.store import Store

INDEXED = [
    ("hub = 'campus' AND username = 'u7'", "ended_sessions_server_started_at"),
    ("id = '{id}'", "ended_sessions_pkey"),
    ("started_at >= '{late}'", "ended_sessions_started_at"),
    ("ended_at >= '{late}'", "ended_sessions_ended_at"),
    (
        "started_at < '{later}' AND (ended_at IS NULL OR ended_at > '{late}')",
        "ended_sessions_ended_at",
    ),
]


@pytest.fixture
async def connection(store: Store, postgres_dsn: str):
    opened = await asyncpg.connect(postgres_dsn)
    for user in range(40):
        batch = []
        for number in range(25):
            start = 1000.0 * number + user
            batch.append(event("requested", start, username=f"u{user}", started=start))
            batch.append(event("stopped", start + 500, username=f"u{user}", started=start))
        await store.ingest(batch)
    for table in ("open_sessions", "ended_sessions", "servers"):
        await opened.execute(f"ANALYZE {table}")
    # of a few pages, reading all would be cheaper
    await opened.execute("SET enable_seqscan = off")
    yield opened
    await opened.close()


async def plan_of(connection: asyncpg.Connection, query: str) -> str:
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}"))


@pytest.mark.parametrize(("condition", "index"), INDEXED)
async def test_a_condition_on_sessions_uses_an_index(
    condition: str, index: str, connection
) -> None:
    one = event("requested", username="u7", started=7)
    moments = {"late": at(24_000).isoformat(), "later": at(24_100).isoformat()}
    condition = condition.format(id=one.session_id, **moments)
    plan = await plan_of(connection, f"SELECT username, image FROM sessions WHERE {condition}")
    assert index in plan
    assert "Seq Scan on ended_sessions" not in plan


async def test_a_query_pays_only_for_the_columns_it_asks_for(connection) -> None:
    plan = await plan_of(connection, "SELECT started_at, ended_at FROM sessions")
    for table in ("servers", "descriptions", "requests", "circumstances", "words"):
        assert table not in plan


async def test_totals_compute_only_what_is_asked_for(connection) -> None:
    question = (
        "(VERBOSE) SELECT server_id, sum({}) "
        "FROM usage_totals(now() - interval '1 day', now()) GROUP BY server_id"
    )
    assert "active_hours" in await plan_of(connection, question.format("active"))
    assert "active_hours" not in await plan_of(connection, question.format("running"))
