"""Questions written for sampled container metrics run unchanged and get the truth."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from builders import T0, event
from seed_history import HUB, PEOPLE, World, lives, world
from seed_queries import as_grafana_sends, seed_queries
from seed_truth import TRUTH

from jupyterhub_metrics.model import PERSON_FIELDS
from jupyterhub_metrics.store import Observation, Statement, Store

OURS_ALONE = {"hub", "namespace", "session_id"}
"""Columns of container_observations that an export has besides."""


def in_order(rows: Iterable[Iterable[Any]]) -> list[tuple[Any, ...]]:
    """By what is no number first; numbers as floats."""
    plain = [
        tuple(float(v) if isinstance(v, Decimal | float | int) else v for v in row) for row in rows
    ]
    return sorted(
        plain,
        key=lambda row: (
            [repr(v) for v in row if not isinstance(v, float)],
            [v for v in row if isinstance(v, float)],
        ),
    )


def nearly(rows: Iterable[Iterable[Any]]) -> list[tuple[Any, ...]]:
    """Equal to rows in order whose numbers differ by no more than rounding."""
    return [
        tuple(pytest.approx(v, abs=1e-4) if isinstance(v, float) else v for v in row)
        for row in in_order(rows)
    ]


async def live_through(store: Store, base: datetime) -> None:
    history = world(base, base)
    await store.ingest([event for life in lives(base) for event in life.events()])
    said = [
        Statement(
            HUB,
            human.name,
            "file",
            base,
            {name: getattr(human, name) for name in PERSON_FIELDS},
        )
        for human in PEOPLE
        if human.email
    ]
    await store.record_people(said)
    for at in sorted({one.at for one in history.seen}):
        seen = [
            Observation(
                namespace="jhub",
                pod_name=one.life.pod,
                session_id=None,
                user_email=one.life.human.shown,
                user_name=one.life.human.full_name or one.life.human.name,
                node_name=one.life.node,
                container_image=one.life.image,
                container_base=one.life.base,
                container_version=one.life.version,
                age_seconds=float(one.age),
            )
            for one in history.seen
            if one.at == at
        ]
        await store.record_observations(HUB, at, seen)


async def answers(connection: asyncpg.Connection, name: str, text: str, w: World) -> list[Any]:
    sent = as_grafana_sends(text, w.since, w.now, user="ada@uni.example")
    rows = await connection.fetch(sent)
    if name == "readme_export_observations":
        order = (
            "timestamp user_email user_name node_name container_image container_base "
            "container_version age_seconds pod_name"
        )
        assert {key for row in rows for key, _ in row.items()} == {*order.split(), *OURS_ALONE}
        return [tuple(row[key] for key in order.split()) for row in rows]
    return [tuple(row.values()) for row in rows]


def test_every_question_has_its_truth() -> None:
    assert list(TRUTH) == list(seed_queries())


@pytest.mark.parametrize("counted", [False, True], ids=["live", "counted"])
async def test_every_question_gets_the_truth(
    store: Store, postgres_dsn: str, counted: bool
) -> None:
    base = datetime.now(timezone.utc).replace(microsecond=0)
    await live_through(store, base)
    connection = await asyncpg.connect(postgres_dsn, server_settings={"timezone": "UTC"})
    while counted and await connection.fetchval("SELECT hourly_count(now(), 500)"):
        pass
    wrong = {}
    async with connection.transaction(isolation="repeatable_read"):
        w = world(base, await connection.fetchval("SELECT now()"))
        for name, text in seed_queries().items():
            found = in_order(await answers(connection, name, text, w))
            expected = nearly(TRUTH[name](w))
            if found != expected:
                wrong[name] = {
                    "only found": [row for row in found if row not in expected],
                    "only expected": [row for row in expected if row not in found],
                }
    await connection.close()
    assert wrong == {}


async def plan(connection: asyncpg.Connection, text: str) -> str:
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {text}"))


async def test_bounds_of_a_question_reach_an_index(store: Store, postgres_dsn: str) -> None:
    told = []
    for number in range(400):
        who: dict[str, Any] = {"started": number * 3600, "username": f"user-{number % 50}"}
        told.append(event("requested", number * 3600, facts={"node": "n", "image": "a:1"}, **who))
        told.append(event("stopped", number * 3600 + 1800, **who))
    await store.ingest(told)
    said = [Statement("campus", f"user-{n}", "file", T0, {"email": f"{n}@x"}) for n in range(40)]
    await store.record_people(said)
    connection = await asyncpg.connect(postgres_dsn)
    while await connection.fetchval("SELECT hourly_count($1, 500)", T0 + timedelta(hours=390)):
        pass
    # tables this small would be read as a whole
    await connection.execute("SET enable_seqscan = off; ANALYZE")
    day = f"timestamptz '{T0 + timedelta(hours=380)}'"
    for question, index in (
        (f"SELECT session_end FROM user_sessions WHERE session_start > {day}", "started_at"),
        (f"SELECT session_start FROM user_sessions WHERE session_end > {day}", "ended_at"),
        ("SELECT runtime_hours FROM user_sessions WHERE user_email = 'x'", "server_started_at"),
        (
            "SELECT runtime_hours FROM user_sessions WHERE user_email = 'x'",
            "server_owners_user_email",
        ),
        (
            "SELECT total_hours FROM user_session_stats WHERE user_email = 'x'",
            "server_owners_user_email",
        ),
        ("SELECT last_seen FROM users WHERE email = 'x'", "people_history_email"),
        (f"SELECT node_name FROM hourly_node_stats WHERE hour > {day}", "hourly_node_counts_hour"),
        (
            f"SELECT unique_users FROM hourly_image_stats WHERE hour > {day}",
            "hourly_image_counts_hour",
        ),
    ):
        found = await plan(connection, question)
        assert any(index in line and "Index" in line for line in found.splitlines()), (
            f"{question}\n{found}"
        )
    await connection.close()


async def test_who_does_not_ask_for_session_id_does_not_pay_for_it(
    store: Store, postgres_dsn: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    asked = await plan(connection, "SELECT user_email, session_id FROM user_sessions")
    unasked = await plan(connection, "SELECT user_email, runtime_hours FROM user_sessions")
    assert "requests" in asked
    assert "requests" not in unasked
    await connection.close()


async def test_hours_that_a_question_leaves_out_are_not_counted_for_it(
    store: Store, postgres_dsn: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await store.ingest([event("requested"), event("ready", 1)])
    await connection.fetchval("SELECT hourly_count($1, 500)", T0 + timedelta(hours=8))
    await connection.execute(
        "UPDATE hourly_counted SET before = date_trunc('hour', now());"
        "INSERT INTO hourly_changed VALUES (date_trunc('hour', now()) - interval '5 hours')"
    )
    for of, name in (("node", "hourly_nodes"), ("image", "hourly_images")):
        for condition, calls in (
            (f"hour < '{T0 + timedelta(hours=8)}'", "never executed"),
            ("hour > now() - interval '1 hour'", "loops=1)"),
            ("hour > now() - interval '1 day'", "loops=2)"),
        ):
            found = await connection.fetch(
                f"EXPLAIN ANALYZE SELECT * FROM hourly_{of}_stats WHERE {condition}"
            )
            [call] = [row[0] for row in found if f"Function Scan on {name} " in row[0]]
            assert calls in call, condition
    await connection.close()
