"""What pages read is what the sessions of a simulated past say, for everyone and in any zone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from builders import T0, event
from reference_usage import reference_usage

from jupyterhub_metrics.demo import history
from jupyterhub_metrics.errors import UnknownZone
from jupyterhub_metrics.model import Session
from jupyterhub_metrics.store import (
    Activity,
    Store,
    UpkeepRules,
    UsageRow,
    UserOrder,
    UserRow,
    Window,
)

HUB = "campus"
UTC = timezone.utc
SINCE, UNTIL = datetime(2026, 2, 20, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC)
CLOSED_BEFORE = datetime(2026, 3, 25, tzinfo=UTC)
WINDOWS = {
    "a month": (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
    "a month of Berlin": (
        datetime(2026, 3, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 4, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    ),
    "any": (datetime(2026, 3, 3, 4, 5, 6, tzinfo=UTC), datetime(2026, 3, 28, 7, 8, 9, tzinfo=UTC)),
}


SEED, USERS = 3, 15
MEMBERS = history.groups(seed=SEED, user_count=USERS)
JOINED, LEFT = datetime(2026, 3, 9, 13, 5, tzinfo=UTC), datetime(2026, 3, 19, 10, 7, tzinfo=UTC)
"""When everyone of physics joined the club too, and when all left it but mira, who left physics."""


@dataclass(frozen=True)
class Member:
    """Somebody's membership of a group in ``[since, until)``."""

    group: str
    username: str
    since: datetime
    until: datetime


MEMBERSHIPS = [
    *(
        Member("club", name, JOINED, UNTIL if name == "mira" else LEFT)
        for name in MEMBERS["physics"]
    ),
    *(
        Member(group, name, SINCE, LEFT if name == "mira" else UNTIL)
        for group, names in MEMBERS.items()
        for name in names
    ),
]


@pytest.fixture
async def past(store: Store, postgres_dsn: str) -> list[Session]:
    """Sessions of a simulated past, stored, most of their days closed."""
    simulated = list(history.history(seed=SEED, user_count=USERS, since=SINCE, until=UNTIL))
    await store.ingest([told for session in simulated for told in history.events(HUB, session)])
    for one in MEMBERSHIPS:
        await store.add_memberships(HUB, {one.group: [one.username]}, one.since, one.until)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.fetchval("SELECT usage_close($1, 1000)", CLOSED_BEFORE.date())
    await connection.close()
    sessions: list[Session] = []
    for username in sorted({session.username for session in simulated}):
        sessions += await store.sessions_of_user(HUB, username, SINCE, UNTIL, limit=10**6)
    assert len(sessions) == len(simulated) > 300
    return sessions


def bucketed(window: Window) -> object:
    place = ZoneInfo(window.zone)

    def bucket_of(moment: datetime) -> datetime:
        local = moment.astimezone(place)
        if window.step is None:
            return window.since
        if window.step == "hour":
            return moment.replace(minute=0, second=0, microsecond=0)
        midnight = datetime.combine(local.date(), datetime.min.time(), place)
        if window.step == "week":
            midnight -= timedelta(days=local.weekday())
        if window.step == "month":
            midnight = midnight.replace(day=1)
        return midnight

    return bucket_of


Amounts = tuple[float, float, float, int, int]


def truth(
    sessions: Iterable[Session], window: Window, by: str, of_group: str | None = None
) -> dict[tuple[datetime, str | None], Amounts]:
    """Seconds, waiting seconds, GPU-hours, starts and failures by bucket and value; by group, or of
    one, of the time of memberships alone."""
    found: dict[tuple[datetime, str | None], list[float]] = defaultdict(lambda: [0.0] * 5)
    for session in sessions:
        spans = [
            (max(one.since, window.since), min(one.until, window.until), one.group)
            for one in MEMBERSHIPS
            if one.username == session.username and of_group in (None, one.group)
        ]
        if by != "group" and of_group is None:
            spans = [(window.since, window.until, "")]
        for since, until, group in spans:
            parts = reference_usage([session], since, until, bucketed(window))  # type: ignore[arg-type]
            for (bucket, *_), amounts in parts.items():
                row = found[bucket.astimezone(UTC), group if by == "group" else _value(session, by)]
                row[0] += amounts.running / 1e6
                row[1] += amounts.waiting / 1e6
                row[2] += amounts.running / 3.6e9 * (session.gpus or 0)
                row[3] += amounts.starts
                row[4] += amounts.failures
    return {
        key: (row[0], row[1], row[2], int(row[3]), int(row[4]))
        for key, row in found.items()
        if any(row)
    }


def _value(session: Session, by: str) -> str | None:
    field = {"user": "username", "server": "server_name"}.get(by, by)
    value: str | None = getattr(session, field)
    return value


def told(rows: Sequence[UsageRow]) -> dict[tuple[datetime, str | None], Amounts]:
    return {
        (row.bucket, row.value): (
            row.seconds,
            row.waiting_seconds,
            row.gpu_hours or 0.0,
            row.starts,
            row.failures,
        )
        for row in rows
        if row.seconds or row.starts
    }


def same(
    found: dict[tuple[datetime, str | None], Amounts],
    expected: dict[tuple[datetime, str | None], Amounts],
) -> None:
    assert set(found) == set(expected)
    for key, amounts in expected.items():
        for one, other in zip(found[key], amounts, strict=True):
            assert math.isclose(one, other, abs_tol=1e-5), (key, found[key], amounts)


@pytest.mark.parametrize("name", WINDOWS)
async def test_usage_is_that_of_the_sessions_by_any_dimension(
    store: Store, past: list[Session], name: str
) -> None:
    since, until = WINDOWS[name]
    reading = store.reading
    for zone, step, by in (
        ("UTC", "day", "profile"),
        ("Europe/Berlin", "month", "node"),
        ("Asia/Kolkata", "week", "image"),
        ("America/St_Johns", "day", "user"),
        ("UTC", "hour", "hub"),
        ("UTC", None, "node"),
    ):
        window = Window(since, until, zone, step)  # type: ignore[arg-type]
        if zone != "America/St_Johns" or step != "hour":
            rows = await reading.usage_of_all([HUB], window, by)  # type: ignore[arg-type]
            same(told(rows), truth(past, window, by))
    for zone, step in (
        ("UTC", None),
        ("UTC", "day"),
        ("UTC", "week"),
        ("Europe/Berlin", "day"),
        ("Asia/Kolkata", "month"),
    ):
        window = Window(since, until, zone, step)  # type: ignore[arg-type]
        own = [session for session in past if session.username == "mira"]
        rows = await reading.usage_of_user(HUB, "mira", window, "profile")
        same(told(rows), truth(own, window, "profile"))
        rows = await reading.usage_by_groups([HUB], window)
        same(told(rows), truth(past, window, "group"))
        rows = await reading.usage_by_groups([HUB], window, ["club"])
        same(told(rows), truth(past, window, "group", "club"))
        for group in ("physics", "club"):
            rows = await reading.usage_of_group(HUB, group, window, "user")
            same(told(rows), truth(past, window, "user", group))


@pytest.mark.parametrize("name", WINDOWS)
async def test_seconds_over_time_are_those_of_the_sessions(
    store: Store, past: list[Session], name: str
) -> None:
    since, until = WINDOWS[name]
    for zone, step, by in (
        ("UTC", "day", "profile"),
        ("UTC", "week", "hub"),
        ("Europe/Berlin", "day", "node"),
        ("Asia/Kolkata", "month", "image"),
    ):
        window = Window(since, until, zone, step)  # type: ignore[arg-type]
        for _ in range(2):
            rows = await store.reading.seconds_over_time([HUB], window, by)  # type: ignore[arg-type]
            found = {(row.bucket, row.value): row.seconds for row in rows if row.seconds}
            expected = {
                key: amounts[0] for key, amounts in truth(past, window, by).items() if amounts[0]
            }
            assert found.keys() == expected.keys()
            assert all(math.isclose(found[key], expected[key], abs_tol=1e-5) for key in found)
            await store.upkeep(UpkeepRules(), UNTIL)
    assert await store.reading.seconds_over_time(["another"], window, "hub") == []


async def test_activity_that_only_some_days_of_a_month_know_is_known(
    store: Store, postgres_dsn: str
) -> None:
    hour = 3600.0
    window = Window(T0.replace(hour=0), T0.replace(month=4, hour=0))
    connection = await asyncpg.connect(postgres_dsn)
    for username in ("ada", "bob"):
        for day in (0, 2):
            began = day * 24 * hour
            await store.ingest(
                [
                    event(kind, began + after, started=began, username=username)
                    for kind, after in (("requested", 0.0), ("ready", 0.0), ("stopped", hour))
                ]
            )
    [asked] = [event("requested")]
    assert asked.session_id is not None
    end = T0 + timedelta(hours=1)
    await connection.execute("SELECT usage_close(usage_day(now()), 1000000)")
    for seconds in (600.0, 900.0):
        await store.record_activity([Activity(asked.session_id, end, end, seconds, end, 300.0)])
        users = await store.reading.users([HUB], window, UserOrder("username"), None, 9)
        known = {row.username: row.active_seconds for row in users}
        assert known == {"ada": seconds, "bob": None}
    await connection.close()
    assert not await store.verify(datetime.now(UTC))


@pytest.mark.parametrize("name", WINDOWS)
async def test_the_table_of_users_adds_up_pages_and_sorts(
    store: Store, past: list[Session], name: str
) -> None:
    window = Window(*WINDOWS[name])
    expected = truth(past, window, "user")
    for column in ("seconds", "gpu_hours", "username", "failures"):
        for descending in (True, False):
            found: list[UserRow] = []
            while page := await store.reading.users(
                [HUB], window, UserOrder(column, descending), found[-1] if found else None, 4
            ):
                found += page
                assert {row.total for row in page} == {len(expected)}
            assert {row.username for row in found} == {value for _, value in expected}
            assert len(found) == len(expected)
            sorted_by = [getattr(row, column) for row in found]
            known = [-1.0 if value is None else value for value in sorted_by]
            assert known == sorted(known, reverse=descending)
    for row in await store.reading.users([HUB], window, UserOrder(), None, 1000):
        seconds, _, gpu_hours, starts, failures = expected[
            window.since.astimezone(UTC), row.username
        ]
        assert math.isclose(row.seconds, seconds, abs_tol=1e-5)
        assert math.isclose(row.gpu_hours or 0, gpu_hours, abs_tol=1e-9)
        assert (row.starts, row.failures) == (starts, failures)


async def test_search_finds_those_who_used_nothing_too(store: Store, past: list[Session]) -> None:
    empty = Window(SINCE - timedelta(days=30), SINCE)
    assert await store.reading.users([HUB], empty, UserOrder(), None, 10) == []
    [mira] = await store.reading.users([HUB], empty, UserOrder(search="MIR"), None, 10)
    assert (mira.username, mira.seconds, mira.gpu_hours) == ("mira", 0, None)
    assert await store.reading.users([HUB], empty, UserOrder(search="%"), None, 10) == []
    assert await store.reading.users(["another"], empty, UserOrder(search="m"), None, 10) == []


async def test_sessions_come_in_pages_newest_first(store: Store, past: list[Session]) -> None:
    window = Window(*WINDOWS["a month"])
    overlapping = [
        session
        for session in past
        if session.started_at < window.until and session.ended_at > window.since  # type: ignore[operator]
    ]
    reading = store.reading

    async def all_pages(ask: object) -> list[Session]:
        found: list[Session] = []
        after = None
        while page := await ask(after):  # type: ignore[operator]
            found += [seen.session for seen in page]
            after = (found[-1].started_at, found[-1].id)
        return found

    def newest_first(sessions: Iterable[Session]) -> list[Session]:
        return sorted(sessions, key=lambda one: (one.started_at, str(one.id)), reverse=True)

    everyone = await all_pages(
        lambda after: reading.sessions_of_all([HUB], window, None, after, 50)
    )
    assert everyone == newest_first(overlapping)
    mira = await all_pages(
        lambda after: reading.sessions_of_user(HUB, "mira", window, None, after, 3)
    )
    assert mira == newest_first(one for one in overlapping if one.username == "mira")
    for group in ("physics", "club"):
        found = await all_pages(
            lambda after, group=group: reading.sessions_of_group(HUB, group, window, "", after, 20)
        )
        assert found == newest_first(
            session
            for session in overlapping
            if not session.server_name
            and any(
                session.started_at < one.until and session.ended_at > one.since  # type: ignore[operator]
                for one in MEMBERSHIPS
                if (one.group, one.username) == (group, session.username)
            )
        )


async def test_a_session_counts_for_a_group_only_while_its_user_is_in_it(
    store: Store, postgres_dsn: str
) -> None:
    named = {"groups": ["named when requested"]}
    await store.ingest(
        [event("requested", facts=named), event("ready", 10), event("stopped", 3600)]
    )
    for seconds, groups in ((600, {"late": ["ada"]}), (1200, {}), (1800, {"late": ["ada"]})):
        await store.record_memberships(HUB, groups, T0 + timedelta(seconds=seconds))
    window = Window(T0, T0 + timedelta(days=1))
    [row] = await store.reading.usage_by_groups([HUB], window)
    assert (row.value, row.seconds, row.starts, row.users) == ("late", 600 + 1800, 0, 1)
    [row] = await store.reading.usage_of_group(HUB, "late", window, "user")
    assert (row.value, row.seconds, row.starts) == ("ada", 600 + 1800, 0)
    connection = await asyncpg.connect(postgres_dsn)
    by_group = "SELECT group_name, seconds, starts FROM usage_by_group($1, $2, '1 day')"
    [in_the_database] = await connection.fetch(by_group, window.since, window.until)
    await connection.close()
    assert tuple(in_the_database) == ("late", 2400, 0)
    ask = store.reading.sessions_of_group
    assert len(await ask(HUB, "late", window, None, None, 9)) == 1
    apart = Window(T0 + timedelta(seconds=1200), T0 + timedelta(seconds=1800))
    assert await ask(HUB, "late", apart, None, None, 9) == []
    assert await ask(HUB, "named when requested", window, None, None, 9) == []
    [group] = await store.reading.groups([HUB])
    assert (group.group_name, group.members) == ("late", 1)


async def test_a_past_that_is_added_outlasts_checks_and_is_nobodys_twice(
    store: Store, postgres_dsn: str
) -> None:
    def at(seconds: float) -> datetime:
        return T0 + timedelta(seconds=seconds)

    connection = await asyncpg.connect(postgres_dsn)

    async def memberships() -> list[tuple[object, ...]]:
        rows = await connection.fetch(
            "SELECT group_name, username, valid_from, valid_to FROM group_memberships ORDER BY 1, 2"
        )
        return [tuple(row) for row in rows]

    await store.record_memberships(HUB, {"g": ["ada"]}, at(500))
    past = {"g": ["ada", "bob"], "h": ["bob"]}
    await store.add_memberships(HUB, past, at(100), at(600))
    bobs = [("g", "bob", at(100), at(600)), ("h", "bob", at(100), at(600))]
    assert await memberships() == [("g", "ada", at(100), None), *bobs]
    before = await connection.fetch("SELECT xmin, * FROM group_memberships")
    await store.add_memberships(HUB, past, at(100), at(600))
    assert await connection.fetch("SELECT xmin, * FROM group_memberships") == before
    await store.add_memberships(HUB, {"h": ["bob"]}, at(600), at(700))
    await store.add_memberships(HUB, {"h": ["bob"]}, at(50), at(90))
    await store.add_memberships(HUB, {"h": ["bob"]}, at(900), at(800))
    await store.record_memberships(HUB, {}, at(800))
    bobs[1:] = [("h", "bob", at(50), at(90)), ("h", "bob", at(100), at(700))]
    assert sorted(await memberships(), key=repr) == sorted(
        [("g", "ada", at(100), at(800)), *bobs], key=repr
    )
    await connection.close()


async def test_running_servers_and_their_groups(store: Store) -> None:
    for name in ("ada", "bob"):
        await store.ingest([event("requested", 60, started=60, username=name)])
    of_bob = {"of-bob": ["bob"], "left": ["bob"]}
    await store.record_memberships(HUB, {**of_bob, "before": ["bob"]}, T0)
    await store.record_memberships(HUB, of_bob, T0 + timedelta(seconds=60))
    await store.record_memberships(HUB, {"of-bob": ["bob"]}, T0 + timedelta(seconds=90))
    [left] = await store.reading.running([HUB], None, "left", None, 9)
    assert left.session.username == "bob"
    assert await store.reading.running([HUB], None, "before", None, 9) == []
    assert [seen.total for seen in await store.reading.running([HUB], None, None, None, 1)] == [2]
    [seen] = await store.reading.running([HUB], None, "of-bob", None, 9)
    assert seen.session.username == "bob"
    [seen] = await store.reading.running([HUB], "ada", None, None, 9)
    assert seen.session.username == "ada"
    assert await store.reading.running(["another"], None, None, None, 9) == []


async def test_activity_is_that_of_usage_between_however_it_is_asked_for(
    store: Store, postgres_dsn: str
) -> None:
    day = 86400.0
    [asked, ready, stopped] = [event("requested"), event("ready", 10), event("stopped", 2 * day)]
    await store.ingest([asked, ready, stopped])
    assert asked.session_id is not None
    end = T0 + timedelta(days=2)
    measured = Activity(asked.session_id, end, end, 100_000.0, T0 + timedelta(hours=40), 300.0)
    await store.record_activity([measured])
    connection = await asyncpg.connect(postgres_dsn)
    for closed_days, since, until in (
        (0, T0, end),
        (0, T0 + timedelta(minutes=1), T0 + timedelta(hours=25, minutes=20)),
        (0, T0 + timedelta(hours=39, minutes=50), end),
        (1, T0, end),
        (1, T0, T0 + timedelta(hours=48 - T0.hour)),
        (1, T0 + timedelta(hours=1), end),
        (50, T0 - timedelta(days=50), end + timedelta(days=2)),
    ):
        await connection.execute("SELECT usage_close(usage_day($1), $2)", end, closed_days)
        expected = await connection.fetchval(
            "SELECT sum(active_seconds) FROM usage_between($1, $2, '1 day')", since, until
        )
        for step in (None, "day", "week"):
            window = Window(since, until, "UTC", step)  # type: ignore[arg-type]
            own = await store.reading.usage_of_user(HUB, "ada", window, "user")
            everyone = await store.reading.usage_of_all([HUB], window, "user")
            for rows in (own, everyone):
                told = sum(row.active_seconds or 0.0 for row in rows)
                assert math.isclose(told, expected, abs_tol=1e-4)
        [user] = await store.reading.users([HUB], Window(since, until), UserOrder(), None, 9)
        assert math.isclose(user.active_seconds or 0.0, expected, abs_tol=1e-4)
    await connection.close()
    [early] = await store.reading.usage_of_user(
        HUB, "ada", Window(T0, T0 + timedelta(seconds=4)), "user"
    )
    assert (early.seconds, early.waiting_seconds, early.users) == (4, 4, 1)


async def test_a_zone_that_the_database_does_not_know_is_told(store: Store) -> None:
    await store.ingest([event("requested")])
    window = Window(T0, T0 + timedelta(days=1), "Europe/Atlantis", "day")
    with pytest.raises(UnknownZone):
        await store.reading.usage_of_all([HUB], window, "user")
