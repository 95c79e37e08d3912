"""What a check keeps in a real database, from a small Hub that may misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from builders import at, event
from fake_hub import TOKEN, FakeHub, answers, half_a_page, refuses
from hypothesis import given
from hypothesis import strategies as st
from worlds import HUB, pod, pod_view, server

from jupyterhub_metrics.errors import DatabaseUnavailable
from jupyterhub_metrics.model import isoformat
from jupyterhub_metrics.service.checker import Checker
from jupyterhub_metrics.service.database import Database
from jupyterhub_metrics.service.measuring import accumulated
from jupyterhub_metrics.service.metrics import Metrics
from jupyterhub_metrics.sources.drift import Findings, Rules
from jupyterhub_metrics.sources.hubapi import HubApi
from jupyterhub_metrics.sources.world import PodView
from jupyterhub_metrics.store import Activity, Store

INTERVAL = timedelta(seconds=300)


class Opened:
    """A source of the database that gives the test's own store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self) -> Store:
        return self._store

    def stale(self) -> bool:
        return False

    async def close(self) -> None:
        """The test closes it."""


class Pods:
    """Pods as the test says they are."""

    def __init__(self) -> None:
        self.now: PodView | None = None
        self.acknowledged: list[PodView] = []
        self.complaint: str | None = None

    def view(self) -> PodView | None:
        return self.now

    def acknowledge(self, view: PodView) -> None:
        self.acknowledged.append(view)


class World:
    """A Hub, pods, a database, and the checker between them, at a time the test sets."""

    def __init__(self, hub: FakeHub, store: Store, connection: asyncpg.Connection) -> None:
        self.hub = hub
        self.store = store
        self.connection = connection
        self.now = at(0)
        self.metrics = Metrics()
        self.pods = Pods()
        self.database = Database(Opened(store), self.metrics)
        self.api = HubApi(hub.url, TOKEN, clock=lambda: self.now, timeout_seconds=5)

    def checker(self, *, with_pods: bool = False) -> Checker:
        return Checker(
            HUB,
            self.database,
            self.metrics,
            self.api,
            self.pods if with_pods else None,
            interval=INTERVAL,
            rules=Rules(grace=timedelta(seconds=60), hub_poll=timedelta(seconds=30)),
            clock=lambda: self.now,
        )

    async def check(self, checker: Checker, seconds: float) -> Findings | None:
        self.now = at(seconds)
        return await checker.check()

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.connection.fetch(statement)]

    def value(self, series: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"jupyterhub_metrics_{series}", labels)


@pytest.fixture
async def world(store: Store, postgres_dsn: str) -> AsyncIterator[World]:
    hub = FakeHub()
    hub.start()
    connection = await asyncpg.connect(postgres_dsn)
    world = World(hub, store, connection)
    opening = asyncio.create_task(world.database.keep_open(), name="open")
    while world.database.reason is not None:
        await asyncio.sleep(0.01)
    yield world
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    world.api.close()
    await connection.close()
    await hub.stop()


def life(username: str = "ada", **values: Any) -> list[Any]:
    return [event("requested", username=username, **values), event("ready", 5, username=username)]


def runs(world: World, username: str = "ada", active: float = 5) -> None:
    world.hub.users = [one for one in world.hub.users if one["name"] != username]
    world.hub.run(username, isoformat(at(0)), last_activity=isoformat(at(active)))


async def test_activity_adds_up_from_check_to_check(world: World) -> None:
    await world.store.ingest(life())
    checker = world.checker()
    for now, active in ((300, 290), (600, 290), (900, 850), (4500, 4400)):
        runs(world, active=active)
        await world.check(checker, now)
    [row] = await world.rows("SELECT * FROM sessions_with_activity")
    # up to 290; nothing; 600 to 850; after a long gap one interval at most
    assert row["active_seconds"] == 290 + 0 + 250 + 300
    assert row["last_activity_at"] == at(4400)
    assert row["resolution_seconds"] == 3600
    assert row["ended_at"] is None, "it never touches the session"
    [kept] = await world.rows("SELECT * FROM session_activity")
    assert kept["seen_at"] == at(4470)


async def test_the_same_check_twice_changes_nothing(world: World) -> None:
    await world.store.ingest(life())
    runs(world, active=200)
    world.hub.groups = [{"name": "g", "users": ["ada", "bob"]}]
    tables = ("session_activity", "container_observations", "group_memberships", "events")
    seen = []
    for _ in range(2):
        await world.check(world.checker(), 300)
        seen.append([await world.rows(f"SELECT * FROM {table}") for table in tables])
    assert seen[0] == seen[1]


async def test_what_runs_is_observed_by_its_pod_or_by_its_session(world: World) -> None:
    facts = {"image": "reg:5000/team/lab:1.2", "node": "n9"}
    await world.store.ingest([*life(), *life("bob", facts=facts)])
    runs(world)
    runs(world, "bob")
    known = pod(image="reg:5000/team/lab@sha256:" + "0" * 64, email="ada@x.org", full_name="Ada L")
    world.pods.now = pod_view(300, [known, pod("zoe"), pod(None, name="bare")])
    await world.check(world.checker(with_pods=True), 300)
    rows = await world.rows("SELECT * FROM container_observations ORDER BY user_name")
    assert [(row["user_name"], row["user_email"]) for row in rows] == [
        ("Ada L", "ada@x.org"),
        ("bob", "bob"),
        ("zoe", "zoe"),
    ]
    ada, bob, zoe = rows
    assert (ada["container_base"], ada["container_version"]) == ("lab", "sha256:" + "0" * 64)
    assert (ada["node_name"], ada["age_seconds"], ada["timestamp"]) == ("n1", 299, at(300))
    assert (bob["pod_name"], bob["node_name"], bob["age_seconds"]) == (None, "n9", 300)
    assert (bob["container_base"], bob["container_version"]) == ("lab", "1.2")
    assert ada["session_id"] != zoe["session_id"] is None
    assert world.pods.acknowledged == [world.pods.now]


async def test_memberships_are_dated_and_cost_nothing_while_they_last(world: World) -> None:
    for seconds, groups in (
        (10, {"g": ["ada", "bob"], "h": ["ada"]}),
        (20, {"g": ["ada", "bob"], "h": ["ada"]}),
        (30, {"g": ["ada"], "h": []}),
        (40, {"g": ["ada", "bob"]}),
    ):
        await world.store.record_memberships(HUB, groups, at(seconds))
    await world.store.record_memberships("other", {}, at(50))
    rows = await world.rows("SELECT * FROM group_memberships ORDER BY valid_from, group_name")
    spans = [(r["group_name"], r["username"], r["valid_from"], r["valid_to"]) for r in rows]
    assert sorted(spans, key=str) == sorted(
        [
            ("g", "ada", at(10), None),
            ("g", "bob", at(10), at(30)),
            ("h", "ada", at(10), at(30)),
            ("g", "bob", at(40), None),
        ],
        key=str,
    )
    before = await world.rows("SELECT xmin, xmax, * FROM group_memberships")
    await world.store.record_memberships(HUB, {"g": ["ada", "bob"]}, at(60))
    assert await world.rows("SELECT xmin, xmax, * FROM group_memberships") == before


@pytest.mark.parametrize(
    "fault",
    [
        refuses("users"),
        answers(500, '{"message": "no"}'),
        answers(200, "<html>", "text/html"),
        half_a_page,
        answers(200, '{"items": [], "_pagination": {"limit": 50, "total": 2}}'),
    ],
    ids=["403", "500", "html", "half a page", "half a list"],
)
async def test_no_session_is_ended_because_the_hub_failed_to_answer(
    world: World, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await world.store.ingest(life())
    runs(world)
    checker = world.checker()
    await world.check(checker, 300)
    world.hub.fault = fault
    for seconds in (600, 900, 1200):
        assert await world.check(checker, seconds) is None
    assert await world.rows("SELECT state FROM sessions") == [{"state": "running"}]
    assert caplog.text.count("Sessions stay as they were") == 1, "said once"
    assert world.value("source_staleness_seconds", source="hub_api") == 900
    assert world.value("source_failures_total", source="hub_api") == 3
    world.hub.fault = lambda handler, path: False
    await world.check(checker, 1500)
    assert world.value("source_staleness_seconds", source="hub_api") == 0


async def test_a_view_of_pods_that_is_no_news_counts_as_no_answer(world: World) -> None:
    await world.store.ingest(life())
    world.pods.now = pod_view(300, [pod()])
    checker = world.checker(with_pods=True)
    found = [await world.check(checker, seconds) for seconds in (300, 600, 900)]
    assert [len(one.pod_of) if one else None for one in found] == [1, 0, 0]
    assert (await world.rows("SELECT state FROM sessions"))[0]["state"] == "running"
    assert world.value("source_failures_total", source="pods") == 2


async def test_what_is_found_is_stored_counted_and_settled(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.store.ingest([event("requested"), event("ready", 5)])
    checker = world.checker()
    runs(world, "bob")
    for seconds in (300, 600, 900):
        await world.check(checker, seconds)
    rows = await world.rows("SELECT * FROM sessions ORDER BY username")
    assert [(row["username"], row["state"], row["end_reason"]) for row in rows] == [
        ("ada", "ended", "unseen"),
        ("bob", "running", None),
    ]
    assert (rows[0]["ended_after"], rows[0]["ended_before"]) == (at(5), at(300))
    assert world.value("corrections_total", kind="corrected") == 1
    assert world.value("corrections_total", kind="ready") == 1
    assert world.value("drift", kind="missing") == 0, "settled by the third check"
    assert world.value("unrecorded_sessions") == 1
    assert caplog.text.count("only polls of the Hub can see") == 1
    late = event("stopped", 250, reason="stopped_by_user")
    await world.store.ingest([late])
    [row] = await world.rows("SELECT * FROM sessions WHERE username = 'ada'")
    assert (row["ended_at"], row["inferred"]) == (at(250), False), "a late exact stop replaces it"


async def test_a_session_that_was_ended_too_early_is_open_again(world: World) -> None:
    await world.store.ingest(life())
    checker = world.checker()
    for seconds in (300, 600):
        await world.check(checker, seconds)
    assert await world.rows("SELECT state FROM sessions") == [{"state": "ended"}]
    runs(world)
    await world.check(checker, 900)
    assert await world.rows("SELECT state FROM sessions") == [{"state": "running"}]
    world.hub.users = []
    for seconds in (1200, 1500):
        await world.check(checker, seconds)
    [row] = await world.rows("SELECT * FROM sessions")
    assert (row["state"], row["ended_before"]) == ("ended", at(1200))


async def test_without_a_database_nobody_is_asked(world: World) -> None:
    world.database.lost(DatabaseUnavailable("gone"))
    with pytest.raises(DatabaseUnavailable):
        await world.check(world.checker(), 300)
    assert world.hub.asked == []


MOMENTS = st.lists(st.tuples(st.integers(1, 400), st.integers(-500, 100)), max_size=10)


@given(MOMENTS)
def test_nobody_is_active_longer_than_it_lasted(looks: Iterable[tuple[int, int]]) -> None:
    kept = Activity(event("ready").session_id, None, at(0), 0.0, None, 0.0)
    now, began = 0, kept.polled_at
    for gap, ago in looks:
        now += gap
        shown = server(last_activity_at=at(now + ago))
        after = accumulated(kept, shown, at(now), INTERVAL)
        assert kept.active_seconds <= after.active_seconds <= (at(now) - began).total_seconds()
        assert accumulated(after, shown, at(now), INTERVAL).active_seconds == after.active_seconds
        assert isinstance(after.polled_at, datetime)
        kept = after
