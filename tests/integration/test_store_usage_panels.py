"""What dashboards draw is exact in any window, whatever is summarised and whatever is not."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from builders import T0, at, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_store_fold import stored_rows
from test_store_usage import MOMENTS, WINDOWS, histories, live_through

from jupyterhub_metrics.model import Event, Session
from jupyterhub_metrics.store import Store

MICROSECOND = timedelta(microseconds=1)
Window = tuple[datetime, datetime]

PANEL_WINDOWS = WINDOWS | st.tuples(MOMENTS, st.integers(1, 60 * 30)).map(
    lambda pair: (T0 + timedelta(seconds=pair[0]), T0 + timedelta(seconds=pair[0], minutes=pair[1]))
)
STEPS = st.sampled_from([timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)])
DIMENSIONS = st.sampled_from(["hub", "node", "image", "profile", "gpus"])


def value_of(session: Session, dimension: str) -> str | None:
    if dimension == "gpus":
        return None if session.gpus is None else f"{session.gpus:g}"
    if dimension == "image_base":
        return session.image and session.image.partition(":")[0]
    return None if dimension == "hub" else getattr(session, dimension)


def expected_over_time(
    sessions: Sequence[Session], window: Window, step: timedelta, dimension: str
) -> dict[tuple[datetime, str | None], tuple[int, int]]:
    """Users and microseconds by bucket and value; steps divide a day, buckets are those of UTC."""
    since, until = window
    users = defaultdict(set)
    running: defaultdict[tuple[datetime, str | None], int] = defaultdict(int)
    for session in served(sessions):
        begins = max(session.started_at, since)
        ends = min(session.ended_at or until, until)
        while begins < ends:
            midnight = begins.replace(hour=0, minute=0, second=0, microsecond=0)
            bucket = midnight + (begins - midnight) // step * step
            key = (bucket, value_of(session, dimension))
            users[key].add(session.username)
            running[key] += (min(bucket + step, ends) - begins) // MICROSECOND
            begins = bucket + step
    return {key: (len(users[key]), running[key]) for key in users}


def served(sessions: Sequence[Session]) -> list[Session]:
    return [session for session in sessions if session.state in ("running", "ended")]


def inside(session: Session, window: Window) -> int:
    until = min(session.ended_at or window[1], window[1])
    return max(0, (until - max(session.started_at, window[0])) // MICROSECOND)


def expected_users(sessions: Sequence[Session], window: Window) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for session in served(sessions):
        found[session.username] += inside(session, window)
    return {username: amount for username, amount in found.items() if amount}


def expected_images(
    sessions: Sequence[Session], window: Window
) -> dict[str | None, tuple[int, int, int]]:
    users = defaultdict(set)
    running: defaultdict[str | None, int] = defaultdict(int)
    starts: defaultdict[str | None, int] = defaultdict(int)
    for session in sessions:
        starts[session.image] += window[0] <= session.started_at < window[1]
    for session in served(sessions):
        if inside(session, window):
            users[session.image].add(session.username)
            running[session.image] += inside(session, window)
    return {
        image: (len(users[image]), running[image], starts[image])
        for image in starts
        if running[image] or starts[image]
    }


async def found_over_time(
    connection: asyncpg.Connection, window: Window, step: timedelta, dimension: str
) -> dict[Any, tuple[int, int]]:
    rows = await connection.fetch(
        "SELECT * FROM usage_over_time($1, $2, $3, $4)", *window, step, dimension
    )
    found = {(row["bucket"], row["value"]): microseconds(row["users"], row) for row in rows}
    assert len(found) == len(rows)
    return found


def microseconds(users: int, row: asyncpg.Record) -> tuple[int, int]:
    return users, round(row["seconds"] * 10**6)


async def test_any_panel_of_any_window_is_what_sessions_say(
    postgres_dsn: str, store: Store
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    loop = asyncio.get_running_loop()

    async def outcome(
        history: Sequence[list[Event] | int],
        summaries: int,
        window: Window,
        step: timedelta,
        dimension: str,
    ) -> None:
        await live_through(store, connection, history)
        for _ in range(summaries):
            await connection.fetchval("SELECT usage_summarise()")
        sessions = list((await stored_rows(connection)).values())
        if step < timedelta(hours=1):
            window = (window[0], min(window[1], window[0] + timedelta(hours=30)))
        assert await found_over_time(connection, window, step, dimension) == expected_over_time(
            sessions, window, step, dimension
        )
        rows = await connection.fetch("SELECT * FROM top_users($1, $2)", *window)
        found = {row["username"]: round(row["hours"] * 3600 * 10**6) for row in rows}
        assert found == expected_users(sessions, window)
        rows = await connection.fetch("SELECT * FROM image_table($1, $2)", *window)
        assert {
            row["image"]: (row["users"], round(row["hours"] * 3600 * 10**6), row["starts"])
            for row in rows
            if row["hours"] or row["starts"]
        } == expected_images(sessions, window)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(histories(), st.sampled_from([0, 7, 20]), PANEL_WINDOWS, STEPS, DIMENSIONS)
    def check(
        history: list[list[Event] | int],
        summaries: int,
        window: Window,
        step: timedelta,
        dimension: str,
    ) -> None:
        work = outcome(history, summaries, window, step, dimension)
        asyncio.run_coroutine_threadsafe(work, loop).result(60)

    await asyncio.to_thread(check)
    await connection.close()


def drawn_step(window: Window) -> timedelta:
    if window[1] - window[0] <= timedelta(hours=36):
        return timedelta(minutes=5)
    days = timedelta(days=45)
    return timedelta(hours=1) if window[1] - window[0] <= days else timedelta(days=1)


def expected_lines(
    sessions: Sequence[Session], window: Window, dimension: str
) -> dict[tuple[datetime, str | None], tuple[int, int]]:
    """With a zero wherever a value that is there in the window is not."""
    step = drawn_step(window)
    found = expected_over_time(sessions, window, step, dimension)
    first = window[0].replace(hour=0, minute=0, second=0, microsecond=0)
    first += (window[0] - first) // step * step
    buckets = [first + n * step for n in range(-((first - window[1]) // step))]
    return {
        (max(bucket, window[0]), label): found.get((bucket, label), (0, 0))
        for bucket in buckets
        for label in {label for _, label in found}
    }


async def test_any_line_that_is_drawn_has_every_bucket_and_no_value_of_outside_the_window(
    postgres_dsn: str, store: Store
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    loop = asyncio.get_running_loop()

    async def outcome(
        history: Sequence[list[Event] | int], summaries: int, window: Window, dimension: str
    ) -> None:
        await live_through(store, connection, history)
        for _ in range(summaries):
            await connection.fetchval("SELECT usage_summarise()")
        sessions = list((await stored_rows(connection)).values())
        rows = await connection.fetch(
            "SELECT * FROM panel_over_time($1, $2, $3, '{campus}')", *window, dimension
        )
        found = {
            (row["moment"], None if dimension == "hub" else row["value"]): (
                row["users"],
                round(row["hours"] * 3600 * 10**6),
            )
            for row in rows
        }
        assert len(found) == len(rows)
        expected = expected_lines(sessions, window, dimension)
        if dimension == "image_base":
            # a user of two versions may be two
            found = {key: (0, amount) for key, (_, amount) in found.items()}
            expected = {key: (0, amount) for key, (_, amount) in expected.items()}
        assert found == expected
        assert {row["value"] for row in rows if dimension == "hub"} <= {"campus"}

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        histories(),
        st.sampled_from([0, 7, 60]),
        PANEL_WINDOWS,
        DIMENSIONS | st.just("image_base"),
    )
    def check(
        history: list[list[Event] | int], summaries: int, window: Window, dimension: str
    ) -> None:
        work = outcome(history, summaries, window, dimension)
        asyncio.run_coroutine_threadsafe(work, loop).result(60)

    await asyncio.to_thread(check)
    await connection.close()


async def test_what_ran_on_the_first_day_before_the_window_is_not_drawn(
    postgres_dsn: str, store: Store
) -> None:
    """T0 is eight in the morning."""
    hour = 3600.0
    lives = [
        event(kind, moment * hour, started=begins * hour, username=node, facts={"node": node})
        for node, begins in (("before", 1), ("within", 5), ("after", 80))
        for kind, moment in (("requested", begins), ("ready", begins), ("stopped", begins + 1))
    ]
    await store.ingest(lives)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.fetchval("SELECT usage_close('2026-03-08', 100)")
    while await connection.fetchval("SELECT usage_summarise()"):
        pass
    rows = await connection.fetch(
        "SELECT * FROM panel_over_time($1, $2, 'node', '{campus}')", at(3 * hour), at(78 * hour)
    )
    assert {row["value"] for row in rows} == {"within"}
    assert [row["hours"] for row in sorted(rows, key=lambda row: row["moment"])] == [
        float(place == 2) for place in range(75)
    ]
    await connection.close()


async def test_a_rebuild_gives_what_was_there_and_verify_finds_what_is_not(
    postgres_dsn: str, store: Store
) -> None:
    lives = [
        event(kind, moment * 50_000.0, username=f"u{user}", facts={"image": f"lab:{user % 3}"})
        for user in range(6)
        for moment, kind in enumerate(("requested", "ready", "stopped"))
        if user or kind != "stopped"
    ]
    await store.ingest(lives)
    connection = await asyncpg.connect(postgres_dsn)
    now = at(40 * 86400)
    told = []
    before = await stored_rows(connection)
    assert await store.rebuild(now, lambda doing, done: told.append((doing, done))) == 6
    assert await stored_rows(connection) == before
    assert {doing for doing, _ in told} == {"sessions", "usage"}
    assert await connection.fetchval("SELECT before > '2026-04-01' FROM usage_closed")
    while await connection.fetchval("SELECT usage_summarise()"):
        pass
    assert not await store.verify(now)

    spoilt = "UPDATE usage_days SET waiting_microseconds = 1 WHERE day = '2026-03-02'"
    await connection.execute(spoilt)
    await connection.execute("UPDATE usage_summary SET users = 9 WHERE day = '2026-03-01'")
    await connection.execute(
        "UPDATE ended_sessions SET ready_at = NULL WHERE id = $1", lives[2].session_id
    )
    found = await store.verify(now)
    assert found.sessions == {lives[2].session_id}
    assert [day.isoformat() for day in sorted(found.usage_days)][:2] == ["2026-03-01", "2026-03-02"]
    assert "2026-03-01" in {day.isoformat() for day in found.rollup_days}
    await store.rebuild(now)
    assert not await store.verify(now)
    await connection.close()
