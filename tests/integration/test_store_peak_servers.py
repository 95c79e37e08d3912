"""The most servers that ran at once, in each bucket of any window."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
from hypothesis import HealthCheck, given, settings
from test_store_fold import stored_rows
from test_store_usage import STEPS, WINDOWS, ZONES, bucket_in, histories, live_through

from jupyterhub_metrics.model import Event, Session
from jupyterhub_metrics.store import Store


def expected_peaks(
    sessions: Sequence[Session], since: datetime, until: datetime, step: timedelta, zone: str
) -> dict[datetime, int]:
    """Asked at every start, and at every quarter of an hour, where buckets begin."""
    ran = [session for session in sessions if session.state in ("running", "ended")]
    moments = {since, *(session.started_at for session in ran if session.started_at > since)}
    quarter = timedelta(minutes=15)
    first = since - (since - datetime(2025, 1, 1, tzinfo=since.tzinfo)) % quarter
    moments |= {first + number * quarter for number in range(1, (until - first) // quarter + 1)}
    found: dict[datetime, int] = {}
    bucket_of = bucket_in(step, ZoneInfo(zone))
    for moment in moments:
        running = sum(
            session.started_at <= moment and (session.ended_at is None or session.ended_at > moment)
            for session in ran
        )
        if running and moment < until:
            bucket = bucket_of(moment)
            found[bucket] = max(found.get(bucket, 0), running)
    return found


async def test_any_window_has_the_peaks_that_sessions_say(postgres_dsn: str, store: Store) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    loop = asyncio.get_running_loop()

    async def outcome(
        history: Sequence[list[Event] | int],
        window: tuple[datetime, datetime],
        step: timedelta,
        zone: str,
    ) -> None:
        await live_through(store, connection, history)
        sessions = list((await stored_rows(connection)).values())
        rows = await connection.fetch(
            "SELECT * FROM peak_servers_over_time($1, $2, $3, $4)", *window, step, zone
        )
        found = {row["bucket"]: row["servers"] for row in rows}
        assert found == expected_peaks(sessions, *window, step, zone)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(histories(), WINDOWS, STEPS, ZONES)
    def check(
        history: list[list[Event] | int],
        window: tuple[datetime, datetime],
        step: timedelta,
        zone: str,
    ) -> None:
        asyncio.run_coroutine_threadsafe(outcome(history, window, step, zone), loop).result(60)

    await asyncio.to_thread(check)
    await connection.close()
