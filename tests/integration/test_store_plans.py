"""What people ask of the views is answered by indexes, and costs only what is asked for."""

from __future__ import annotations

import json
from typing import Any

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


async def test_what_a_server_ran_lately_costs_nothing_of_its_history(
    store: Store, connection: asyncpg.Connection
) -> None:
    day, batch = 86400.0, []
    for number in range(80):
        # every other one is longer than a day
        start, length = 2 * day * number, 30 * 3600 if number % 2 else 3600
        batch.append(event("requested", start, username="old", started=start))
        batch.append(event("ready", start + 9, username="old", started=start))
        batch.append(event("stopped", start + length, username="old", started=start))
    await store.ingest(batch)
    await connection.execute("ANALYZE ended_sessions")
    server = await connection.fetchval("SELECT id FROM servers WHERE username = 'old'")
    since, until = at(2 * day * 75 + 10), at(2 * day * 79 + 10)
    [(plan,)] = await connection.fetch(
        "EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM sessions_of_span("
        f"ROW({server}, '{since.isoformat()}', '{until.isoformat()}')::usage_span)"
    )

    def read(node: dict[str, Any]) -> float:
        """Rows that scans came by, also those that they left out."""
        inner = sum(read(one) for one in node.get("Plans", []))
        left_out = node.get("Rows Removed by Filter", 0)
        return inner or float(node["Actual Rows"]) + left_out

    [top] = json.loads(plan)
    assert top["Plan"]["Actual Rows"] == 5
    assert read(top["Plan"]) <= 10
