"""Usage of a group is what its members used while they were in it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import asyncpg
from builders import T0, at, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_usage import reference_usage
from test_store_fold import stored_rows
from test_store_usage import (
    MOMENTS,
    STEPS,
    WINDOWS,
    ZONES,
    bucket_in,
    histories,
    live_through,
)

from jupyterhub_metrics.model import Event
from jupyterhub_metrics.store import Store

Membership = tuple[str, str, datetime, datetime | None]
"""Group, user, and from when to when."""

Found = dict[tuple[datetime, str], tuple[int, int, int, int, int]]
"""Users, running and waiting microseconds, starts and failures by bucket and group."""

MEMBERSHIPS = st.lists(
    st.builds(
        lambda group, user, pair, ends: (
            group,
            user,
            T0 + timedelta(seconds=min(pair) - 0.5),
            T0 + timedelta(seconds=max(pair)) if ends else None,
        ),
        st.sampled_from(["staff", "students"]),
        st.sampled_from(["ada", "bob", "grace"]),
        st.tuples(MOMENTS, MOMENTS),
        st.booleans(),
    ),
    max_size=5,
    unique_by=lambda one: one[:2],
)


async def usage_of_groups(
    connection: asyncpg.Connection, since: datetime, until: datetime, step: timedelta, zone: str
) -> Found:
    rows = await connection.fetch(
        "SELECT * FROM usage_by_group($1, $2, $3, $4)", since, until, step, zone
    )
    return {
        (row["bucket"], row["group_name"]): (
            row["users"],
            round(row["seconds"] * 10**6),
            round(row["waiting_seconds"] * 10**6),
            row["starts"],
            row["failures"],
        )
        for row in rows
    }


async def test_any_memberships_have_what_their_members_used_meanwhile(
    postgres_dsn: str, store: Store
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    loop = asyncio.get_running_loop()

    async def outcome(
        history: Sequence[list[Event] | int],
        memberships: Sequence[Membership],
        window: tuple[datetime, datetime],
        step: timedelta,
        zone: str,
    ) -> None:
        await live_through(store, connection, history)
        await connection.execute("TRUNCATE group_memberships")
        await connection.executemany(
            "INSERT INTO group_memberships VALUES ('campus', $1, $2, $3, $4)", memberships
        )
        sessions = list((await stored_rows(connection)).values())
        amounts: dict[tuple[datetime, str], list[int]] = defaultdict(lambda: [0] * 4)
        users: dict[tuple[datetime, str], set[str]] = defaultdict(set)
        since, until = window
        for group, user, begins, ends in memberships:
            of_user = [session for session in sessions if session.username == user]
            begin, end = max(begins, since), min(ends or until, until)
            found = reference_usage(of_user, begin, end, bucket_in(step, ZoneInfo(zone)))
            for (bucket, *_), used in found.items():
                key = (bucket, group)
                told = (used.running, used.waiting, used.starts, used.failures)
                amounts[key] = [sum(pair) for pair in zip(amounts[key], told, strict=True)]
                if used.running:
                    users[key].add(user)
        expected = {
            key: (len(users[key]), *values)
            for key, values in amounts.items()
            if values[0] or values[2]
        }
        assert await usage_of_groups(connection, *window, step, zone) == expected

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(histories(), MEMBERSHIPS, WINDOWS, STEPS, ZONES)
    def check(
        history: list[list[Event] | int],
        memberships: list[Membership],
        window: tuple[datetime, datetime],
        step: timedelta,
        zone: str,
    ) -> None:
        work = outcome(history, memberships, window, step, zone)
        asyncio.run_coroutine_threadsafe(work, loop).result(60)

    await asyncio.to_thread(check)
    await connection.close()


async def test_a_group_has_resources_and_activity_of_its_members_time(
    postgres_dsn: str, store: Store
) -> None:
    facts = {"memory_guarantee_bytes": 2**31, "gpus": 3}
    await store.ingest([event("requested", facts=facts), event("stopped", 7200), event("ready", 9)])
    await store.record_memberships("campus", {"staff": ["ada"]}, at(0))
    await store.record_memberships("campus", {"students": ["ada"]}, at(3600))
    connection = await asyncpg.connect(postgres_dsn)
    rows = await connection.fetch(
        "SELECT group_name, seconds, gib_hours, core_hours, gpu_hours, starts "
        "FROM usage_by_group($1, $2, '1 day') ORDER BY group_name",
        at(0),
        datetime(2026, 3, 5, tzinfo=timezone.utc),
    )
    assert [tuple(row) for row in rows] == [
        ("staff", 3600, 2, None, 3, 1),
        ("students", 3600, 2, None, 3, 0),
    ]
    await connection.close()
