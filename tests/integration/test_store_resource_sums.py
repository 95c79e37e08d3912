"""Kept sums of what sessions used are what sessions and their samples say, at every moment."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timezone
from typing import Any

import asyncpg
import pytest
from builders import T0, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_store_fold import stored_rows
from test_store_usage import WINDOWS, histories, live_through

from jupyterhub_metrics.model import Event, Session
from jupyterhub_metrics.store import Store

GIB = 2**30
BEGIN, END = date(2025, 12, 1), date(2026, 4, 10)
DIFFERENCES = "SELECT first_day FROM resource_differences($1, $2)"
DIFFERENCES_WHERE_SOMETHING_IS = """
    SELECT first_day
    FROM (
        -- a month is compared with its last day
        SELECT DISTINCT
            unnest(ARRAY[day, resource_month_end(date_trunc('month', day)::date) - 1]) AS day
        FROM (
            SELECT usage_day(started_at) AS day FROM ended_sessions
            UNION ALL
            SELECT first_day FROM resource_sums
        ) AS kept
    ) AS days
    CROSS JOIN LATERAL resource_differences(day, day + 1)
"""
Window = tuple[datetime, datetime]
Step = list[Event] | int | str | tuple[str, list[tuple[Any, ...]]]

SAMPLES = st.tuples(
    st.integers(0, 40),
    st.sampled_from([0, 60, 5400.25]),
    st.none() | st.sampled_from([0, 1, 10**9, GIB, 3 * GIB, 9 * GIB]),
    st.none() | st.sampled_from([0, 0.001, 0.7, 2, 64]),
    st.none() | st.integers(0, 2),
)


@st.composite
def sampled_histories(draw: st.DrawFn) -> list[Step]:
    """Events, closed days, samples and upkeep in any order."""
    steps: list[Step] = []
    events: list[Event] = []
    for step in draw(histories()):
        steps.append(step)
        if isinstance(step, list):
            events += step
        if draw(st.booleans()):
            told = draw(st.lists(SAMPLES, min_size=1, max_size=6))
            source = draw(st.sampled_from(["node", "server"]))
            steps.append((source, [(events[sample[0] % len(events)], sample) for sample in told]))
        steps.append("sum up " * draw(st.sampled_from([0, 1, 3, 200])))
    return steps


async def sum_up(connection: asyncpg.Connection, at_most: int = 1000) -> None:
    for _ in range(at_most):
        if not await connection.fetchval("SELECT resource_sum_up()"):
            return


async def record(
    connection: asyncpg.Connection, source: str, told: Sequence[tuple[Event, Any]]
) -> None:
    """Samples that come one after another, whatever happened in between."""
    for one, (minute, seconds, memory, cores, kills) in told:
        newest = await connection.fetchval(
            "SELECT max(extract(epoch FROM last_at)) FROM session_samples WHERE session_id = $1",
            one.session_id,
        )
        moment = max(one.occurred_at.timestamp(), float(newest or 0)) + minute
        await connection.fetchval(
            "SELECT add_session_samples($1, $2::session_sample[])",
            source,
            [(one.session_id, moment, seconds, memory, cores, kills, None, None)],
        )


async def live(
    store: Store, connection: asyncpg.Connection, history: Sequence[Step], checked: bool
) -> None:
    await live_through(store, connection, [])
    await connection.execute("TRUNCATE session_samples")
    for step in history:
        if isinstance(step, int):
            await connection.fetchval("SELECT usage_close('2026-04-03', $1)", step)
        elif isinstance(step, str):
            await sum_up(connection, step.count("sum up"))
        elif isinstance(step, tuple):
            await record(connection, *step)
        else:
            await store.ingest(step)
        if checked:
            assert await connection.fetch(DIFFERENCES_WHERE_SOMETHING_IS) == []


def inside(session: Session, window: Window) -> bool:
    since, until = window
    return (
        session.state in ("running", "ended")
        and session.started_at < until
        and (
            session.ended_at is None
            or session.ended_at > since
            or session.started_at >= since
        )
    )  # fmt: skip


def value_of(session: Session, dimension: str) -> str | None:
    if dimension == "profile":
        return session.profile
    return session.image.partition(":")[0] if dimension == "image_base" and session.image else None


def known(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def total(values: Sequence[Any]) -> Any:
    return sum(known(values)) if known(values) else None


def p95(values: Sequence[Any]) -> float | None:
    ranked = sorted(known(values))
    return ranked[math.ceil(0.95 * len(ranked)) - 1] if ranked else None


Pair = tuple[Session, asyncpg.Record | None]


def unused(pair: Pair) -> float | None:
    asked, row = pair[0].memory_guarantee_bytes, pair[1]
    if row is None or asked is None or row["memory_peak_bytes"] is None:
        return None
    return max(asked - row["memory_peak_bytes"], 0) * row["memory_seconds"] / 3600 / GIB


def expected(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Of the sessions of one value."""
    rows = [row for _, row in pairs if row is not None]
    asked = [
        (session.memory_guarantee_bytes, row["memory_seconds"])
        for session, row in pairs
        if row is not None and session.memory_guarantee_bytes is not None
    ]
    seconds = sum(row["memory_seconds"] for row in rows)
    cpu_seconds = sum(row["cpu_seconds"] for row in rows)
    asked_seconds = sum(one for _, one in asked)
    return {
        "sessions": len(pairs),
        "measured": len(rows),
        "memory_hours": seconds / 3600 if rows else None,
        "memory_requested_bytes": sum(one * weight for one, weight in asked) / asked_seconds
        if asked_seconds else None,
        "memory_mean_bytes": sum(row["memory_byte_seconds"] for row in rows) / seconds
        if seconds else None,
        "memory_peak_bytes": max(known([row["memory_peak_bytes"] for row in rows]), default=None),
        "memory_unused_gib_hours": total([unused(pair) for pair in pairs]),
        "cpu_mean_cores": sum(row["cpu_core_seconds"] for row in rows) / cpu_seconds
        if cpu_seconds else None,
        "oom_kills": total([row["oom_kills"] for row in rows]),
    }  # fmt: skip


async def truth(connection: asyncpg.Connection, window: Window) -> list[Pair]:
    """The sessions of a window with what counts of their samples."""
    samples: dict[Any, dict[str, asyncpg.Record]] = defaultdict(dict)
    for row in await connection.fetch("SELECT * FROM session_samples"):
        samples[row["session_id"]][row["source"]] = row
    return [
        (session, samples[key].get("node") or samples[key].get("server"))
        for key, session in (await stored_rows(connection)).items()
        if inside(session, window)
    ]


def approximately(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)
        for name, value in values.items()
    }


async def compare(connection: asyncpg.Connection, window: Window, dimension: str) -> None:
    """Every number that panels ask for, of everyone."""
    pairs = await truth(connection, window)
    by_value: dict[str | None, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_value[value_of(pair[0], dimension)].append(pair)
    asked = (*window, ["campus"], ["*"])
    rows = await connection.fetch(
        "SELECT * FROM panel_overasking($1, $2, $3, $4, $5)", *asked, dimension
    )
    assert {row["value"] for row in rows} == set(by_value)
    assert len(rows) == len(by_value)
    for row in rows:
        found = by_value[row["value"]]
        numbers = expected(found)
        assert {name: row[name] for name in numbers} == approximately(numbers)
        if dimension != "hub":
            for column, peak in (
                ("memory_peak_p95_bytes", "memory_peak_bytes"),
                ("cpu_peak_p95_cores", "cpu_peak_cores"),
            ):
                reached = p95([measured[peak] for _, measured in found if measured is not None])
                if reached is None:
                    assert row[column] is None
                else:
                    assert reached * (1 - 1e-9) <= row[column] <= reached * 1.022

    counted = [0] * 11
    for session, measured in pairs:
        if measured is not None and measured["memory_peak_bytes"] is not None:
            share = measured["memory_peak_bytes"] * 10 // (session.memory_guarantee_bytes or 0)
            counted[min(share, 10)] += 1
    rows = await connection.fetch("SELECT * FROM panel_memory_shares($1, $2, $3, $4)", *asked)
    assert [row["sessions"] for row in rows] == counted

    rows = await connection.fetch("SELECT * FROM panel_most_unused($1, $2, $3, $4)", *asked)
    left = [(unused(pair), pair[0].started_at) for pair in pairs if unused(pair)]
    left.sort(key=lambda one: (-(one[0] or 0), one[1]))
    left = left[:100]
    assert [row["memory_unused_gib_hours"] for row in rows] == pytest.approx(
        [amount for amount, _ in left]
    )
    assert {row["started_at"] for row in rows} == {started for _, started in left}


def comparable(row: asyncpg.Record) -> dict[str, Any]:
    """What is added up is the same to nine digits, what is counted the same."""
    return {
        name: pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
        for name, value in row.items()
        if name not in ("first_day", "of_month", "most_unused_byte_seconds")
    }


async def compare_months(connection: asyncpg.Connection) -> int:
    """Each closed month with all sessions that started in it; gives how many sums there are."""
    found = 0
    for month in (date(2025, 12, 1), date(2026, 1, 1), date(2026, 3, 1)):
        kept = await connection.fetch(
            "SELECT * FROM resource_sums WHERE of_month AND first_day = $1 "
            "ORDER BY hub, dimension, value",
            month,
        )
        counted = await connection.fetch(
            "SELECT counted.* FROM resource_counted(tstzmultirange(tstzrange(usage_midnight($1), "
            "usage_midnight(resource_month_end($1)))), NULL, NULL, NULL, "
            "'{hub,profile,image_base}') AS counted "
            "JOIN usage_closed ON resource_month_end($1) <= before ORDER BY hub, dimension, value",
            month,
        )
        assert [dict(row) | {"first_day": None, "of_month": None} for row in kept] == [
            dict(row) | comparable(row) | {
                "first_day": None, "of_month": None,
                "most_unused_byte_seconds": pytest.approx(row["most_unused_byte_seconds"]),
            }
            for row in counted
        ]  # fmt: skip
        found += len(kept)
    return found


async def test_a_month_is_what_its_sessions_say(postgres_dsn: str, store: Store) -> None:
    """More than the hundred that left most, and the same peaks on several days."""
    connection = await asyncpg.connect(postgres_dsn)
    told: list[Event] = []
    for number in range(130):
        started = number * 5 * 3600.0
        life = {"started": started, "username": f"u{number % 7}"}
        told += [
            event("requested", started, facts={**FACTS, "profile": f"p{number % 3}"}, **life),
            event("ready", started + 5, **life),
            event("stopped", started + 3600, **life),
        ]
    await store.ingest(told)
    for number, one in enumerate(told[::3]):
        await record(
            connection, "node", [(one, (1, 60 + number % 11, GIB * (number % 5), number % 4, 0))]
        )
    await connection.fetchval("SELECT usage_close('2026-04-01', 100)")
    await sum_up(connection)
    assert await compare_months(connection) == 5
    await compare(connection, WHOLE, "profile")
    await connection.close()


async def test_any_history_gives_the_sums_that_sessions_and_samples_say(
    postgres_dsn: str, store: Store
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    loop = asyncio.get_running_loop()

    async def outcome(history: Sequence[Step], window: Window, dimension: str) -> None:
        await live(store, connection, history, checked=True)
        await compare(connection, window, dimension)
        await sum_up(connection)
        assert await connection.fetch(DIFFERENCES, BEGIN, END) == []
        assert await connection.fetchval("SELECT count(*) FROM resource_due") == 0
        await compare_months(connection)
        await compare(connection, window, dimension)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(sampled_histories(), WINDOWS, st.sampled_from(["hub", "profile", "image_base"]))
    def check(history: Sequence[Step], window: Window, dimension: str) -> None:
        asyncio.run_coroutine_threadsafe(outcome(history, window, dimension), loop).result(120)

    await asyncio.to_thread(check)
    await connection.close()


DAY = 86_400
FACTS = {"image": "x/lab:1", "profile": "small", "memory_guarantee_bytes": 4 * GIB}
RUN = [event("requested", facts=FACTS), event("ready", 5), event("stopped", 3600)]
LATE = {"username": "bob", "started": 600.0}
BOB = [event("requested", 600, facts=FACTS, **LATE), event("ready", 605, **LATE)]
SAMPLE = (RUN[0], (1, 60, GIB, 1, None))
WHOLE = (datetime(2026, 2, 1, tzinfo=timezone.utc), datetime(2026, 4, 1, tzinfo=timezone.utc))

CHANGES: dict[tuple[str, str], Step | str] = {
    ("ended_sessions", "resource_follow_insert"): [*BOB, event("stopped", 900, **LATE)],
    ("ended_sessions", "resource_follow_update"): [event("ready", 5, facts={"profile": "large"})],
    ("ended_sessions", "resource_follow_delete"): [
        event("corrected", 30 * DAY, facts={"corrects": "alive"})
    ],
    ("session_samples", "resource_follow_update"): ("node", [SAMPLE]),
    ("session_samples", "resource_follow_insert"): ("server", [(RUN[0], (9, 60, 2 * GIB, 1, 0))]),
    ("session_samples", "resource_follow_delete"): "DELETE FROM session_samples",
    ("usage_closed", "resource_follow_closing"): "SELECT usage_close('2026-04-01', 100)",
}
"""What nothing but this trigger tells the sums."""


async def closed_world(
    store: Store, connection: asyncpg.Connection, until: int, *, measured: bool
) -> None:
    await live_through(store, connection, [])
    await connection.execute("TRUNCATE session_samples")
    ended = event("corrected", 3600, bounds=(3600 - 60, 3600 + 60))
    await store.ingest([*RUN[:2], ended])
    if measured:
        await record(connection, "node", [SAMPLE])
    await connection.fetchval("SELECT usage_close('2026-04-01', $1)", until)
    await sum_up(connection)


@pytest.mark.parametrize("told", CHANGES, ids="-".join)
async def test_each_increment_is_needed(
    postgres_dsn: str, store: Store, told: tuple[str, str]
) -> None:
    """With every trigger the sums follow a change; without this one they do not."""
    table, trigger = told
    change = CHANGES[told]
    connection = await asyncpg.connect(postgres_dsn)
    until = 3 if table == "usage_closed" else 100
    for kept in (True, False):
        measured = told != ("session_samples", "resource_follow_insert")
        await closed_world(store, connection, until, measured=measured)
        if not kept:
            await connection.execute(f"DROP TRIGGER {trigger} ON {table}")
        before = await connection.fetch("SELECT * FROM resource_sums")
        assert before
        if isinstance(change, str):
            await connection.execute(change)
        elif isinstance(change, tuple):
            await record(connection, *change)
        else:
            await store.ingest(change)
        if kept:
            assert await connection.fetch("SELECT * FROM resource_due")
            await compare(connection, WHOLE, "profile")
        await sum_up(connection)
        differing = await connection.fetch(DIFFERENCES, BEGIN, END)
        assert bool(differing) != kept
        if kept:
            await compare(connection, WHOLE, "profile")
            assert await connection.fetch("SELECT * FROM resource_sums") != before
    await connection.close()


async def test_a_rebuild_adds_up_again_and_verify_finds_what_is_not(
    postgres_dsn: str, store: Store
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await store.ingest(RUN)
    await record(connection, "node", [SAMPLE])
    now = datetime(2026, 4, 20, tzinfo=timezone.utc)
    await store.rebuild(now)
    await sum_up(connection)
    kept = "SELECT * FROM resource_sums ORDER BY first_day, of_month, dimension"
    before = await connection.fetch(kept)
    assert {(row["first_day"], row["of_month"]) for row in before} == {
        (T0.date(), False),
        (T0.date(), True),
    }
    while await connection.fetchval("SELECT usage_summarise()"):
        pass
    assert not await store.verify(now)
    for damage in (
        "UPDATE resource_sums SET memory_seconds = 61 WHERE dimension = 'profile' AND NOT of_month",
        "DELETE FROM resource_sums WHERE of_month",
        "UPDATE resource_sums SET places = '{}' WHERE dimension = 'image_base' AND of_month",
    ):
        await connection.execute(damage)
        assert (await store.verify(now)).rollup_days == {T0.date()}
        await store.rebuild(now)
        await sum_up(connection)
        assert await connection.fetch(kept) == before
    while await connection.fetchval("SELECT usage_summarise()"):
        pass
    assert not await store.verify(now)
    await connection.close()
