"""Each check's rows come back as they were written, however few of them are stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import asyncpg
import pytest
from builders import at

from jupyterhub_metrics.store import Observation, Store, open_store

POLL = 300.0


def seen(user: str, since: float, now: float, **other: object) -> Observation:
    of = Observation(
        namespace="jhub",
        pod_name=f"jupyter-{user}",
        session_id=None,
        user_email=f"{user}@campus.example",
        user_name=user,
        node_name="n1",
        container_image="reg:5000/lab:1",
        container_base="lab",
        container_version="1",
        age_seconds=now - since,
    )
    return replace(of, **other)  # type: ignore[arg-type]


@pytest.fixture
async def connection(postgres_dsn: str):
    opened = await asyncpg.connect(postgres_dsn)
    yield opened
    await opened.close()


async def shown(connection: asyncpg.Connection, hub: str = "campus") -> list[tuple]:
    rows = await connection.fetch(
        "SELECT * FROM container_observations WHERE hub = $1 ORDER BY timestamp, user_name", hub
    )
    return [as_row(row["timestamp"], row) for row in rows]


def as_row(moment: object, values: object) -> tuple:
    told = dict(values)  # type: ignore[call-overload]
    age = told["age_seconds"]
    told["age_seconds"] = None if age is None else round(age)
    return (moment, *(told[name] for name in sorted(Observation.__annotations__)))


def expected(polls: Sequence[tuple[float, Sequence[Observation]]]) -> list[tuple]:
    return [
        as_row(at(moment), asdict(one))
        for moment, all_seen in polls
        for one in sorted(all_seen, key=lambda one: one.user_name)
    ]


async def test_each_check_shows_what_it_saw(store: Store, connection) -> None:
    polls = []
    for number in range(400):
        now = number * POLL
        running = [seen("ada", 7.123456, now)] if number % 7 else []
        if 20 < number < 300:
            running.append(seen("bob", 6000, now, node_name="n2" if number > 100 else "n1"))
        if number == 200:
            running.append(seen("cy", 5, now, container_image=None, age_seconds=None))
        polls.append((now, running))
        await store.record_observations("campus", at(now), running)
    assert await shown(connection) == expected(polls)


async def test_what_runs_on_unchanged_writes_nothing(store: Store, connection) -> None:
    for number in range(60):
        now = number * POLL
        await store.record_observations("campus", at(now), [seen("ada", 0, now)])
    assert await connection.fetchval("SELECT count(*) FROM container_observations") == 60
    assert await connection.fetchval("SELECT count(*) FROM open_spans") == 1
    assert await connection.fetchval("SELECT count(*) FROM observation_spans") == 0


async def test_the_same_moment_again_adds_nothing(store: Store, connection) -> None:
    first = [seen("ada", 0, 10), seen("bob", 0, 10)]
    await store.record_observations("campus", at(10), first)
    await store.record_observations("campus", at(10), [seen("cy", 0, 10)])
    assert await shown(connection) == expected([(10, first)])


async def test_a_clock_that_steps_back_loses_no_check(store: Store, connection) -> None:
    polls = [
        (POLL, [seen("ada", 0, POLL)]),
        (2 * POLL, [seen("ada", 0, 2 * POLL), seen("bob", 0, 2 * POLL)]),
        (POLL + 7, [seen("bob", 0, POLL + 7)]),
    ]
    for moment, running in polls:
        await store.record_observations("campus", at(moment), running)
    assert await shown(connection) == expected(sorted(polls, key=lambda poll: poll[0]))


async def test_a_clock_that_was_far_ahead_leaves_no_block_without_end(
    store: Store, connection
) -> None:
    for hours in (1000, 0, 11, 13):
        await store.record_observations("campus", at(hours * 3600), [seen("ada", 0, 0)])
    blocks = "SELECT count(*) FROM polls GROUP BY block ORDER BY block"
    assert [row[0] for row in await connection.fetch(blocks)] == [1, 2, 1]


async def test_checks_of_two_services_at_once_do_not_mix(
    store: Store, postgres_dsn: str, connection
) -> None:
    other = await open_store(postgres_dsn)
    # connections that are open already, so that all begin at once
    await asyncio.gather(*(one.ping() for one in (store, other) for _ in range(5)))
    polls = [
        (now, [seen(user, 0, now) for user in ("ada", "bob", "cy")[number % 3 :]])
        for number, now in enumerate(POLL * step for step in range(60))
    ]
    await asyncio.gather(
        *(
            (store, other)[number % 2].record_observations("campus", at(now), running)
            for number, (now, running) in enumerate(polls)
        )
    )
    assert await shown(connection) == expected(polls)
    await other.close()


async def test_names_that_no_row_can_hold_cost_one_check_and_no_more(
    store: Store, connection
) -> None:
    await store.record_observations("campus", at(0), [seen("ada", 0, 0, user_name="a\0b")])
    await store.record_observations("campus", at(POLL), [seen("ada", 0, POLL)])
    assert await shown(connection) == expected([(POLL, [seen("ada", 0, POLL)])])


async def test_hubs_that_are_checked_in_turn_do_not_mix(store: Store, connection) -> None:
    for number in range(5):
        now = number * POLL
        await store.record_observations("campus", at(now), [seen("ada", 0, now)])
        await store.record_observations("other", at(now), [seen("ada", 0, now), seen("x", 0, now)])
    assert len(await shown(connection)) == 5
    assert len(await shown(connection, "other")) == 10


async def test_what_checks_saw_is_read_from_an_index_alone(store: Store, connection) -> None:
    for number in range(60):
        now = number * POLL
        running = [seen(f"u{user}", 0, now) for user in range(number, number + 20)]
        await store.record_observations("campus", at(now), running)
    for name in ("observation_spans", "open_spans"):
        await connection.execute(f"VACUUM ANALYZE {name}")
    # of a few pages, reading all would be cheaper
    await connection.execute(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off"
    )
    plan = [
        row[0].strip()
        for row in await connection.fetch(
            "EXPLAIN ANALYZE SELECT count(DISTINCT user_email), count(DISTINCT node_name), "
            "count(DISTINCT container_base) FROM container_observations WHERE timestamp > $1",
            at(30 * POLL),
        )
    ]
    assert any("Index Only Scan" in line and "observation_spans_block" in line for line in plan)
    assert {line for line in plan if line.startswith("Heap Fetches")} == {"Heap Fetches: 0"}


async def test_the_latest_rows_cost_nothing_of_all_before(store: Store, connection) -> None:
    for number in range(300):
        now = number * POLL
        running = [seen(f"u{user}", 0, now) for user in range(number // 10, number // 10 + 8)]
        await store.record_observations("campus", at(now), running)
    for table in ("polls", "observation_spans", "open_spans", "observed_users"):
        await connection.execute(f"VACUUM ANALYZE {table}")
    # of a few pages, reading all would be cheaper
    await connection.execute("SET enable_seqscan = off; SET enable_sort = off")
    # TimescaleDB would sort all chunks of a question without a bound
    bound = "" if await is_plain(connection) else f"WHERE timestamp > '{at(295 * POLL)}'"
    [(plan,)] = await connection.fetch(
        "EXPLAIN (ANALYZE, FORMAT JSON) SELECT timestamp, user_email FROM container_observations "
        f"{bound} ORDER BY timestamp DESC LIMIT 10"
    )
    [top] = json.loads(plan)
    assert top["Plan"]["Actual Rows"] == 10
    assert 0 < read_from(top["Plan"], "polls") <= 10


async def test_whoever_adds_up_by_user_is_planned_by_how_many_there_are(
    store: Store, connection
) -> None:
    users = 30
    for number in range(300):
        now = number * POLL
        running = [seen(f"u{user}", 0, now) for user in range(users - number % 2 * 20)]
        await store.record_observations("campus", at(now), running)
    for table in ("polls", "observation_spans", "open_spans", "observed_users"):
        await connection.execute(f"VACUUM ANALYZE {table}")
    [(plan,)] = await connection.fetch(
        "EXPLAIN (FORMAT JSON) SELECT user_email, user_name, pod_name, max(age_seconds) "
        "FROM container_observations GROUP BY user_email, user_name, pod_name"
    )
    [top] = json.loads(plan)
    # behind TimescaleDB's union of joins it knows of none
    assert not await is_plain(connection) or top["Plan"]["Plan Rows"] == users


async def is_plain(connection: asyncpg.Connection) -> bool:
    found = await connection.fetch("SELECT FROM pg_extension WHERE extname = 'timescaledb'")
    return not found


def read_from(node: dict[str, Any], relation: str) -> float:
    """Rows that scans of it came by, also those that they left out."""
    here = 0.0
    if node.get("Relation Name") == relation:
        here = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return here + sum(read_from(one, relation) for one in node.get("Plans", []))


async def test_closed_blocks_are_soon_known_to_be_seen_by_all(store: Store, connection) -> None:
    await store.record_observations("campus", at(0), [seen("ada", 0, 0)])
    await store.record_observations("campus", at(POLL), [])
    # a hypertable's rows are in its chunks
    options = await connection.fetch(
        "SELECT unnest(reloptions) AS option FROM pg_class WHERE oid IN ("
        "SELECT tableoid FROM observation_spans)"
    )
    assert {row["option"] for row in options} >= {
        "autovacuum_vacuum_insert_threshold=1000",
        "autovacuum_vacuum_insert_scale_factor=0",
    }
