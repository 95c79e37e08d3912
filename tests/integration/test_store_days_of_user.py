"""Days of one user, as the calendar of a page reads them, are those that any other question adds
up, whatever of them is closed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from service_fixtures import run_of

from jupyterhub_metrics.demo import history
from jupyterhub_metrics.errors import UnknownZone
from jupyterhub_metrics.store import Activity, DayRow, Store, UsageRow, Window

HUB = "campus"
NOW = datetime.now(timezone.utc)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
SINCE = TODAY - timedelta(days=40)
RESOURCES = ("gib_hours", "core_hours", "gpu_hours")
AMOUNTS = ("seconds", "active_seconds", *RESOURCES, "starts", "failures")


@pytest.fixture
async def names(store: Store) -> list[str]:
    """Users of forty days, two of whom run something now; checks saw half of all sessions."""
    past = list(history.history(seed=5, user_count=4, since=SINCE, until=NOW))
    events = [told for session in past for told in history.events(HUB, session)]
    await store.ingest(events)
    names = sorted({session.username for session in past})
    for name in names[:2]:
        await store.ingest(run_of(HUB, NOW - timedelta(hours=30), None, username=name))
    seen = []
    for name in names:
        for session in (await store.sessions_of_user(HUB, name, SINCE, NOW, limit=10**5))[::2]:
            end = session.ended_at or NOW
            active = (end - session.started_at).total_seconds() / 3
            seen.append(Activity(session.id, end, end, active, end, 300.0))
    await store.record_activity(seen)
    return names


@pytest.mark.parametrize("closed_days", [0, 25, 1000])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
async def test_days_are_those_of_usage_in_any_zone(
    store: Store, postgres_dsn: str, names: list[str], zone: str, closed_days: int
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("SELECT usage_close($1, $2)", TODAY.date(), closed_days)
    await connection.close()
    first = midnight(SINCE, zone)
    for name in names:
        for until in (midnight(TODAY, zone), NOW, NOW + timedelta(days=30)):
            window = Window(first, until, zone, "day")
            expected = by_day(await store.reading.usage_of_user(HUB, name, window, "hub"))
            assert len(expected) > 10
            for resources_since in (first, midnight(SINCE + timedelta(days=20), zone), until):
                found = by_day(
                    await store.reading.days_of_user(HUB, name, first, until, resources_since, zone)
                )
                same(found, expected, resources_since)


async def test_what_runs_counts_until_now(store: Store, names: list[str]) -> None:
    for name in names[:2]:
        before = await store.reading.days_of_user(HUB, name, TODAY, TODAY + DAY, TODAY, "UTC")
        after = await store.reading.days_of_user(HUB, name, TODAY, TODAY + DAY, TODAY, "UTC")
        assert [row.bucket for row in before] == [row.bucket for row in after] == [TODAY]
        assert before[0].seconds < after[0].seconds


async def test_days_to_come_and_users_whom_nobody_knows_have_none(
    store: Store, names: list[str]
) -> None:
    days = store.reading.days_of_user
    assert await days(HUB, names[0], TODAY + DAY, TODAY + 3 * DAY, TODAY, "UTC") == []
    assert await days(HUB, "nobody", SINCE, TODAY, SINCE, "UTC") == []
    assert await days("elsewhere", names[0], SINCE, TODAY, SINCE, "UTC") == []
    with pytest.raises(UnknownZone):
        await days(HUB, names[0], SINCE, TODAY, SINCE, "Europe/Atlantis")


DAY = timedelta(days=1)


def midnight(moment: datetime, zone: str) -> datetime:
    """When the day of a moment begins in the zone."""
    local = moment.astimezone(ZoneInfo(zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(timezone.utc)


def by_day(rows: Iterable[DayRow | UsageRow]) -> dict[datetime, DayRow | UsageRow]:
    rows = list(rows)
    days = {row.bucket: row for row in rows}
    assert len(days) == len(rows)
    return days


def same(
    found: dict[datetime, DayRow | UsageRow],
    expected: dict[datetime, DayRow | UsageRow],
    resources_since: datetime,
) -> None:
    """Nothing may differ but what was not asked for, and what ran on between two questions."""
    assert set(found) == set(expected)
    for day, row in expected.items():
        for name in AMOUNTS:
            one, other = getattr(found[day], name), getattr(row, name)
            if one is None and name in RESOURCES and day < resources_since:
                continue
            assert (one is None) == (other is None), (day, name)
            running_on = 60.0 if day + timedelta(hours=26) > NOW else 1e-6
            assert one is None or math.isclose(one, other, abs_tol=running_on), (day, name)
