"""The hours under the names of sampled metrics are what sessions say, however they came to be."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import asyncpg
from builders import T0, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_store_fold import forget_everything, stored_rows
from test_store_usage import histories

from jupyterhub_metrics.model import Event, Session
from jupyterhub_metrics.store import Store
from jupyterhub_metrics.store.migrations import migrate
from jupyterhub_metrics.store.schema import read_schema

HOUR = timedelta(hours=1)
UNTIL = datetime(2026, 4, 2, tzinfo=timezone.utc)
"""Before it lie the histories; what runs goes on after it until now."""

AT_MOST = st.integers(1, 2000)


def reference_hours(sessions: Iterable[Session]) -> dict[tuple[Any, ...], tuple[int, int, float]]:
    """Users, servers and average age in hours of every hour and node."""
    users, servers = defaultdict(set), defaultdict(set)
    aged: dict[Any, float] = defaultdict(float)
    lasted: dict[Any, float] = defaultdict(float)
    for session in sessions:
        end = UNTIL if session.ended_at is None else min(session.ended_at, UNTIL)
        hour = session.started_at.replace(minute=0, second=0, microsecond=0)
        while session.state in ("running", "ended") and hour < end:
            begins, ends = max(hour, session.started_at), min(hour + HOUR, end)
            if begins < ends:
                key = hour, session.node
                users[key].add(session.username)
                servers[key].add((session.username, session.server_name))
                length = (ends - begins).total_seconds()
                lasted[key] += length
                middle = begins + (ends - begins) / 2
                aged[key] += length * ((middle - session.started_at) / HOUR)
            hour += HOUR
    return {
        key: (len(users[key]), len(servers[key]), round(aged[key] / lasted[key], 4))
        for key in users
    }


def reference_images(sessions: Iterable[Session]) -> dict[tuple[Any, ...], tuple[int, int]]:
    users, servers = defaultdict(set), defaultdict(set)
    for session in sessions:
        end = UNTIL if session.ended_at is None else min(session.ended_at, UNTIL)
        hour = session.started_at.replace(minute=0, second=0, microsecond=0)
        while session.state in ("running", "ended") and max(hour, session.started_at) < end:
            key = hour, session.image_name, session.image_tag
            users[key].add(session.username)
            servers[key].add((session.username, session.server_name))
            hour += HOUR
    return {key: (len(users[key]), len(servers[key])) for key in users}


async def test_any_history_and_any_counting_gives_the_hours_of_the_reference(
    postgres_dsn: str, store: Store, engine: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    loop = asyncio.get_running_loop()

    async def outcome(history: Sequence[list[Event] | int], at_most: Sequence[int]) -> None:
        await forget_everything(connection)
        await connection.execute(
            "TRUNCATE hourly_node_counts, hourly_image_counts, hourly_changed;"
            "UPDATE hourly_counted SET before = '-infinity'"
        )
        portions = iter(at_most)
        for step in history:
            if isinstance(step, list):
                await store.ingest(step)
            elif step:
                await connection.fetchval("SELECT hourly_count($1, $2)", UNTIL, next(portions))
        sessions = list((await stored_rows(connection)).values())
        nodes = await connection.fetch(
            "SELECT * FROM hourly_node_stats WHERE hour < $1 ORDER BY hour", UNTIL
        )
        assert len(nodes) == len({(row["hour"], row["node_name"]) for row in nodes})
        assert {
            (row["hour"], row["node_name"]): (
                row["unique_users"],
                row["total_containers"],
                round(float(row["avg_age_seconds"]) / 3600, 4),
            )
            for row in nodes
        } == reference_hours(sessions)
        images = await connection.fetch("SELECT * FROM hourly_image_stats WHERE hour < $1", UNTIL)
        assert len(images) == len({tuple(row)[:3] for row in images})
        assert {
            (row["hour"], row["container_base"], row["container_version"]): (
                row["unique_users"],
                row["total_containers"],
            )
            for row in images
        } == reference_images(sessions)

    # the engine of WebAssembly takes its time
    examples = 40 if engine == "plain" else 8

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(histories(), st.lists(AT_MOST, min_size=8, max_size=8))
    def check(history: list[list[Event] | int], at_most: list[int]) -> None:
        asyncio.run_coroutine_threadsafe(outcome(history, at_most), loop).result(60)

    await asyncio.to_thread(check)
    await connection.close()


async def test_what_comes_late_notes_only_the_hours_that_it_changes(
    postgres_dsn: str, store: Store
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await store.ingest([event("requested"), event("ready", 5)])
    while await connection.fetchval("SELECT hourly_count($1, 500)", T0 + 9 * HOUR):
        pass

    await store.ingest([event("stopped", 12 * 3600)])
    assert await noted(connection) == []

    await store.ingest([event("requested", 0, username="bob", started=3600)])
    assert await noted(connection) == []

    late = [event("ready", 3700, username="bob", started=3600)]
    late.append(event("stopped", 3 * 3600, username="bob", started=3600))
    await store.ingest(late)
    assert await noted(connection) == [T0 + HOUR, T0 + 2 * HOUR]

    assert await connection.fetchval("SELECT hourly_count($1, 500)", T0 + 9 * HOUR) == 2
    assert await noted(connection) == []
    await connection.close()


async def noted(connection: asyncpg.Connection) -> list[datetime]:
    rows = await connection.fetch("SELECT DISTINCT hour FROM hourly_changed ORDER BY hour")
    return [row["hour"] for row in rows]


async def test_two_hubs_with_a_user_of_one_name_stay_apart(postgres_dsn: str, store: Store) -> None:
    for hub in ("campus", "lab"):
        facts = {"node": "n1", "image": "lab:1"}
        await store.ingest(
            [
                event("requested", hub=hub, facts=facts),
                event("ready", 1, hub=hub),
                event("stopped", 1800, hub=hub),
            ]
        )
    connection = await asyncpg.connect(postgres_dsn)
    for before in (T0, T0 + HOUR):
        await connection.fetchval("SELECT hourly_count($1, 9)", before)
        for name in ("hourly_node_stats", "hourly_image_stats"):
            rows = await connection.fetch(f"SELECT hub, unique_users FROM {name} ORDER BY hub")
            assert [tuple(row) for row in rows] == [("campus", 1), ("lab", 1)]
    stats = await connection.fetch("SELECT hub, total_hours FROM user_session_stats ORDER BY hub")
    assert [(row["hub"], float(row["total_hours"])) for row in stats] == [
        ("campus", 0.5),
        ("lab", 0.5),
    ]
    await connection.close()


async def test_who_may_read_only_these_names_can_read_them(postgres_dsn: str, store: Store) -> None:
    facts = {"node": "n1", "image": "lab:1"}
    await store.ingest([event("requested", facts=facts), event("ready", 1), event("stopped", 60)])
    connection = await asyncpg.connect(postgres_dsn)
    names = ("users", "user_sessions", "user_session_stats", "hourly_node_stats")
    role = f"reader_{uuid.uuid4().hex[:12]}"
    schema = await connection.fetchval("SELECT current_schema()")
    await connection.execute(f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role}")
    await connection.execute(f"GRANT SELECT ON {', '.join(names)}, hourly_image_stats TO {role}")
    await connection.execute(f"SET ROLE {role}")
    for name in (*names, "hourly_image_stats"):
        assert await connection.fetchval(f"SELECT count(*) FROM {name}") == 1
    await connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")
    await connection.close()


AS_ROWS = """
INSERT INTO words (word) VALUES ('campus'), ('lab'), ('n1'), ('n2');
INSERT INTO descriptions (digest, image_name, image_tag)
    SELECT sha256(tag::bytea), 'reg/' || name, tag
    FROM (VALUES ('a', '1'), ('a', '2'), ('b', '3')) AS told (name, tag);
INSERT INTO hourly_node_rows (
    hour, hub_id, node_id, unique_users, total_containers, avg_age_seconds)
SELECT
    date_trunc('hour', now()) - number * interval '1 hour', hub.id, node.id,
    number % 9 * coalesce(node.id, 5) % 7, number + 1, number / 7.0 + coalesce(node.id, 0)
FROM generate_series(1, 700, 3) AS number
JOIN words AS hub ON hub.word IN ('campus', 'lab') AND length(hub.word) * number % 4 > 0
LEFT JOIN words AS node ON node.word LIKE 'n%' AND node.id * number % 5 > 2;
INSERT INTO hourly_image_rows (hour, hub_id, description_id, unique_users, total_containers)
SELECT
    date_trunc('hour', now()) - number * interval '1 hour', hub.id, image.id,
    number % 9 * image.id % 7, number + image.id
FROM generate_series(1, 700, 3) AS number
JOIN words AS hub ON hub.word IN ('campus', 'lab') AND length(hub.word) * number % 4 > 0
JOIN descriptions AS image ON image.id * number % 5 > 1;
UPDATE hourly_counted SET before = date_trunc('hour', now());
INSERT INTO polls (id, block, hub_id, at)
    SELECT id, id, hub_id, now() - (9000 - id) * interval '5 minutes'
    FROM (VALUES (1, 1), (2, 2), (8000, 1)) AS poll (id, hub_id);
INSERT INTO observation_spans (block, first_poll, last_poll, user_id, image_id)
    SELECT id, id, id, 1, 1 FROM polls;
INSERT INTO observation_spans (block, first_poll, last_poll, user_id, image_id)
    SELECT id, id, 2147483647, 2, 1 FROM polls WHERE id > 1;
"""
"""Hours that a schema of rows had counted, some without a node, some of one Hub alone; polls of
two Hubs, of each of which the latest saw two servers, one of them for the last time."""


async def test_hours_that_were_counted_as_rows_are_carried_over(
    postgres_dsn: str, engine: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    known = (await read_schema(connection)).known
    packed = next(one.version for one in known if one.name == "packed_hours")
    await migrate(connection, known[: packed - 1])
    await connection.execute(AS_ROWS)
    compressed = await connection.fetchval("SELECT compress_chunks(now(), 1000)")
    assert (compressed >= 3) is (engine == "timescale")
    nodes = (
        "SELECT hour, node_name, unique_users, total_containers, "
        "round(avg_age_seconds, 6) AS avg_age_seconds, hub FROM hourly_node_stats "
        "ORDER BY hour, hub, node_name"
    )
    images = "SELECT * FROM hourly_image_stats ORDER BY 1, 2, 3, hub"
    seen = "SELECT * FROM container_observations ORDER BY timestamp, age_seconds"
    before = [await connection.fetch(asked) for asked in (nodes, images, seen)]
    assert {row["node_name"] for row in before[0]} == {"n1", "n2", None}
    assert {row["hub"] for row in before[1]} == {"campus", "lab"}
    assert len(before[2]) == 5
    await migrate(connection, known)
    after = [await connection.fetch(asked) for asked in (nodes, images, seen)]
    assert after == before
    still_open = await connection.fetch("SELECT block, last_poll FROM open_spans ORDER BY block")
    assert [tuple(row) for row in still_open] == [(2, 2147483647), (8000, 2147483647)]
    ended = await connection.fetch("SELECT last_poll FROM observation_spans ORDER BY block")
    assert [row["last_poll"] for row in ended] == [1, 2, 8000]
    assert await connection.fetchval("SELECT count(*) FROM hourly_node_counts") == len(
        {(row["hour"], row["hub"]) for row in before[0]}
    )
    await connection.close()
