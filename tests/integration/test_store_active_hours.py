"""What checks measured of activity, by the hour and the day, with the usage of its session."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import date, datetime

import asyncpg
import pytest
from builders import T0, at, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_store_fold import forget_everything

from jupyterhub_metrics.store import Activity, Store

HOUR, DAY = 3600, 86_400


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(postgres_dsn)
    yield opened
    await opened.close()


async def check(store: Store, polled: float, active: float, last: float | None = None) -> None:
    """A check that asked at ``polled`` and had then counted so many active seconds."""
    session = event("requested").session_id
    assert session is not None
    last_at = at(polled if last is None else last)
    await store.record_activity([Activity(session, None, at(polled), active, last_at, 300)])


async def by_hour(connection: asyncpg.Connection) -> dict[float, float | None]:
    """Active seconds by the beginning of the hour, in seconds after T0."""
    rows = await connection.fetch("SELECT hour, active_seconds FROM usage_hourly")
    return {(row["hour"] - T0).total_seconds(): row["active_seconds"] for row in rows}


async def close_days(connection: asyncpg.Connection) -> None:
    while await connection.fetchval("SELECT usage_close('2026-04-01')"):
        pass


async def test_activity_lies_in_the_hours_in_which_it_was(
    store: Store, connection: asyncpg.Connection
) -> None:
    await store.ingest([event("requested"), event("ready", 5)])
    await check(store, 1800, 600)
    await check(store, HOUR + 900, 600 + 1200, last=HOUR + 300)
    await check(store, 3 * HOUR, 600 + 1200, last=HOUR + 300)
    await store.ingest([event("stopped", 4 * HOUR + 60)])
    expected = {0: 1500, HOUR: 300, 2 * HOUR: 0, 3 * HOUR: None, 4 * HOUR: None}
    assert await by_hour(connection) == expected
    await close_days(connection)
    assert await by_hour(connection) == expected
    assert await connection.fetchval("SELECT active_seconds FROM usage_daily") == 1800


async def test_what_no_check_asked_is_unknown(store: Store, connection: asyncpg.Connection) -> None:
    await store.ingest([event("requested"), event("ready", 5), event("stopped", 60)])
    for _ in range(2):
        assert await by_hour(connection) == {0: None}
        window = (at(0), at(DAY))
        found = await connection.fetchrow(
            "SELECT seconds, active_seconds FROM usage_between($1, $2, '1 day')", *window
        )
        assert tuple(found) == (60, None)
        await close_days(connection)


async def test_what_a_late_check_measured_counts_on_closed_days(
    store: Store, connection: asyncpg.Connection
) -> None:
    await store.ingest([event("requested"), event("ready", 5), event("stopped", 2 * DAY)])
    await check(store, 300, 300)
    await close_days(connection)
    await check(store, DAY + 300, 400)
    rows = await connection.fetch("SELECT day, active_seconds FROM usage_daily ORDER BY day")
    assert [tuple(row) for row in rows] == [
        (date(2026, 3, 1), 300),
        (date(2026, 3, 2), 100),
        (date(2026, 3, 3), None),
    ]
    assert await connection.fetch("SELECT * FROM usage_differences()") == []


async def test_of_an_hour_that_a_window_cuts_its_share_counts(
    store: Store, connection: asyncpg.Connection
) -> None:
    await store.ingest([event("requested", 900, started=900), event("ready", 905, started=900)])
    session = event("requested", started=900).session_id
    assert session is not None
    await store.record_activity([Activity(session, None, at(2700), 90.0, at(2000), 300)])
    found = [
        await connection.fetchval(
            "SELECT active_seconds FROM usage_between($1, $2, '1 hour')", at(since), at(until)
        )
        for since, until in ((0, 1500), (1500, 2700), (2700, 3600), (0, 3600))
    ]
    assert found == [30, 60, 0, 90]


async def test_activity_is_never_more_than_there_was_to_run(
    store: Store, connection: asyncpg.Connection
) -> None:
    await store.ingest([event("requested"), event("ready", 5), event("stopped", 100)])
    await check(store, 600, 500)
    assert await by_hour(connection) == {0: 100}


async def test_a_rebuild_keeps_it(store: Store, connection: asyncpg.Connection) -> None:
    await store.ingest([event("requested"), event("ready", 5), event("stopped", 2 * HOUR)])
    await check(store, HOUR + 60, 240)
    before = await by_hour(connection)
    await store.rebuild(datetime.now(tz=T0.tzinfo))
    assert await by_hour(connection) == before
    assert set(before.values()) == {180, 60}


@st.composite
def checks(draw: st.DrawFn) -> list[tuple[float, float]]:
    """When checks asked, in whole seconds after the start, and how much of the time before each
    was active."""
    gaps = draw(st.lists(st.sampled_from([60, 300, 1799, 3600, 9000, 30000]), max_size=12))
    return [(gap, draw(st.sampled_from([0, 1, gap // 2, gap]))) for gap in gaps]


async def test_any_checks_add_up_to_what_they_measured(
    store: Store, connection: asyncpg.Connection
) -> None:
    loop = asyncio.get_running_loop()

    async def outcome(offset: float, told: list[tuple[float, float]], closed_after: int) -> None:
        await forget_everything(connection)
        await connection.execute(
            "TRUNCATE usage_days; UPDATE usage_closed SET before = '-infinity'"
        )
        who = {"started": offset}
        first = event("requested", offset, **who)
        await store.ingest([first, event("ready", offset, **who)])
        assert first.session_id is not None
        now, active = offset, 0.0
        expected: dict[float, float] = defaultdict(float)
        for number, (gap, stretch) in enumerate(told):
            if number == closed_after:
                await connection.fetchval("SELECT usage_close('2026-04-01', 2)")
            asked = now + gap
            last = now + stretch
            for second in range(int(now), int(last)):
                expected[second // HOUR * HOUR] += 1
            for second in range(int(now), int(asked)):
                expected[second // HOUR * HOUR] += 0
            active += stretch
            measured = Activity(first.session_id, None, at(asked), active, at(last), 300)
            await store.record_activity([measured])
            now = asked
        found = await by_hour(connection)
        assert {hour: value for hour, value in found.items() if value is not None} == expected
        assert await connection.fetch("SELECT * FROM usage_differences()") == []

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from([0.0, 1800.0, 57_000.0]), checks(), st.integers(0, 12))
    def try_all(offset: float, told: list[tuple[float, float]], closed_after: int) -> None:
        work = outcome(offset, told, closed_after)
        asyncio.run_coroutine_threadsafe(work, loop).result(60)

    await asyncio.to_thread(try_all)
