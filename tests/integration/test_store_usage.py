"""Usage is what sessions say, to the microsecond, however they came to be what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import asyncpg
from builders import T0, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_usage import Key, reference_usage
from test_store_fold import forget_everything, stored_rows

from jupyterhub_metrics.model import Event, Session
from jupyterhub_metrics.store import Store

HOUR, DAY = 3600, 86400
NEW_YEAR = (datetime(2025, 12, 31, 22, tzinfo=timezone.utc) - T0).total_seconds()
CLOCKS_FORWARD = (datetime(2026, 3, 28, 23, tzinfo=timezone.utc) - T0).total_seconds()
UTC = timezone.utc

# around midnights of UTC and of Berlin, a new year and the night in which clocks go forward
MOMENTS = st.builds(
    lambda night, quarter, odd: night + quarter * HOUR / 4 + odd,
    st.sampled_from([NEW_YEAR, CLOCKS_FORWARD]),
    st.integers(0, 16) | st.integers(0, 16 * 24),
    st.sampled_from([0, 0.000001, -0.000001, 77.5]),
)


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    """Some of the events of one session, in order of time, with second thoughts."""
    moments = sorted(draw(st.lists(MOMENTS, min_size=4, max_size=4)))
    who = {
        "username": draw(st.sampled_from(["ada", "bob"])),
        "server_name": draw(st.sampled_from(["", "gpu"])),
        "started": moments[0],
    }
    facts = {
        "profile": draw(st.sampled_from(["small", "large"])),
        "image": draw(st.sampled_from(["lab:1", "lab:2"])),
        "memory_guarantee_bytes": draw(st.sampled_from([2**30, 2**33])),
        "gpus": draw(st.sampled_from([None, 1])),
    }
    told = [event("requested", moments[0], facts=facts, **who)]
    if draw(st.booleans()):
        node = draw(st.sampled_from([None, "n1", "n2"]))
        told.append(event("ready", moments[1], facts={"node": node}, **who))
    if draw(st.booleans()):
        told.append(event("corrected", moments[2], bounds=(moments[1], moments[3]), **who))
    if draw(st.booleans()):
        told.append(event("corrected", moments[3], facts={"corrects": "alive"}, **who))
    if draw(st.booleans()):
        told.append(event(draw(st.sampled_from(["stopped", "failed"])), moments[3], **who))
    if draw(st.booleans()):
        told.append(event("renamed", moments[2], facts={"username": "grace"}, **who))
    return told


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event] | int]:
    """Batches of events in any order, and between them numbers of days that are closed."""
    events = [one for life in draw(st.lists(lives(), min_size=1, max_size=8)) for one in life]
    shuffled = draw(st.permutations(events))
    cuts = sorted(draw(st.sets(st.integers(1, len(shuffled)), max_size=5)) | {len(shuffled)})
    history: list[list[Event] | int] = []
    for begin, end in zip([0, *cuts[:-1]], cuts, strict=True):
        history.append(shuffled[begin:end])
        history.append(draw(st.sampled_from([0, 1, 2, 5, 100])))
    return history


async def live_through(
    store: Store, connection: asyncpg.Connection, history: Sequence[list[Event] | int]
) -> None:
    await forget_everything(connection)
    await connection.execute(
        "TRUNCATE usage_days, usage_months, usage_summary, usage_due, resource_sums, resource_due; "
        "UPDATE usage_closed SET before = '-infinity'"
    )
    for step in history:
        if isinstance(step, int):
            await connection.fetchval("SELECT usage_close('2026-04-03', $1)", step)
        else:
            await store.ingest(step)


async def usage_between(
    connection: asyncpg.Connection, since: datetime, until: datetime, step: timedelta, zone: str
) -> dict[Key, tuple[int, int, int, int]]:
    rows = await connection.fetch(
        "SELECT * FROM usage_between($1, $2, $3, $4)", since, until, step, zone
    )
    found = {
        (row["bucket"], *(row[name] for name in ("hub", "username", "profile", "image", "node"))): (
            round(row["seconds"] * 10**6),
            round(row["waiting_seconds"] * 10**6),
            row["starts"],
            row["failures"],
        )
        for row in rows
    }
    assert len(found) == len(rows)
    return {key: amounts for key, amounts in found.items() if any(amounts)}


def bucket_in(step: timedelta, place: ZoneInfo) -> Callable[[datetime], datetime]:
    """What gives the beginning of the bucket that a moment lies in."""

    def bucket_of(moment: datetime) -> datetime:
        local = moment.astimezone(place)
        if step < timedelta(days=1):
            past = timedelta(minutes=local.minute, seconds=local.second)
            return moment - past - timedelta(microseconds=local.microsecond)
        midnight = datetime.combine(local.date(), datetime.min.time(), place)
        if step == timedelta(days=7):
            midnight -= timedelta(days=local.weekday())
        return midnight.astimezone(UTC)

    return bucket_of


def expected_usage(
    sessions: Sequence[Session], since: datetime, until: datetime, step: timedelta, zone: str
) -> dict[Key, tuple[int, int, int, int]]:
    found = reference_usage(sessions, since, until, bucket_in(step, ZoneInfo(zone)))
    return {key: astuple(amounts) for key, amounts in found.items() if any(astuple(amounts))}


WINDOWS = st.tuples(MOMENTS, MOMENTS).map(
    lambda pair: tuple(T0 + timedelta(seconds=moment) for moment in sorted(pair))
)
STEPS = st.sampled_from([timedelta(hours=1), timedelta(days=1), timedelta(days=7)])
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])


async def test_any_history_of_events_and_closed_days_gives_the_usage_of_the_reference(
    postgres_dsn: str, store: Store
) -> None:
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
        found = await usage_between(connection, *window, step, zone)
        assert found == expected_usage(sessions, *window, step, zone)
        assert await connection.fetch("SELECT * FROM usage_differences()") == []

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


async def test_a_running_server_is_counted_until_now(postgres_dsn: str, store: Store) -> None:
    await store.ingest([event("requested", facts={"gpus": 2}), event("ready", 5)])
    connection = await asyncpg.connect(postgres_dsn)
    for closed in (0, 3):
        for _ in range(closed):
            await connection.fetchval("SELECT usage_close('2026-04-01')")
        async with connection.transaction():
            now = await connection.fetchval("SELECT now()")
            for view in ("usage_daily", "usage_hourly"):
                row = await connection.fetchrow(
                    "SELECT sum(seconds) AS seconds, sum(waiting_seconds) AS waiting, "
                    f"sum(gpu_hours) AS gpu_hours, sum(starts) AS starts FROM {view}"
                )
                assert abs(row["seconds"] - (now - T0).total_seconds()) < 1e-5
                assert abs(row["gpu_hours"] - row["seconds"] / 1800) < 1e-5
                assert (row["waiting"], row["starts"]) == (5, 1)
    assert await connection.fetchval("SELECT count(*) FROM usage_days") == 3
    await connection.close()


async def test_hours_of_a_night_add_up_to_its_days(postgres_dsn: str, store: Store) -> None:
    await store.ingest([event("requested"), event("ready", 10), event("stopped", 2 * DAY)])
    connection = await asyncpg.connect(postgres_dsn)
    while await connection.fetchval("SELECT usage_close('2026-04-01')"):
        pass
    days = await connection.fetch("SELECT day, seconds FROM usage_daily ORDER BY day")
    assert [tuple(row) for row in days] == [
        (date(2026, 3, 1), 16 * HOUR),
        (date(2026, 3, 2), 24 * HOUR),
        (date(2026, 3, 3), 8 * HOUR),
    ]
    hours = await connection.fetch("SELECT hour, seconds FROM usage_hourly ORDER BY hour")
    assert [tuple(row) for row in hours] == [
        (T0 + timedelta(hours=number), HOUR) for number in range(48)
    ]
    await connection.close()
