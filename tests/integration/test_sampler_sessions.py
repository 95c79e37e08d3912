"""Samples meet sessions: what a session used beside what it asked for, without changing either."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from jupyterhub_metrics.model import Event, session_id
from jupyterhub_metrics.service.api.resources import RESOURCES, Question
from jupyterhub_metrics.store import Store, Window

GIB = 2**30
NOW = datetime.now(timezone.utc).replace(microsecond=0)
START = NOW - timedelta(hours=2)


def told(
    kind: str,
    at: datetime = START,
    *,
    username: str = "ada",
    started: datetime = START,
    hub: str = "campus",
    **rest: Any,
) -> Event:
    return Event(
        kind=kind,
        hub=hub,
        username=username,
        server_name="",
        session_id=session_id(hub, username, "", started),
        started_at=started,
        occurred_at=at,
        source="hub",
        **rest,
    )


FACTS = {
    "image": "reg/lab:1",
    "profile": "large",
    "namespace": "jhub",
    "pod_name": "jupyter-ada",
    "memory_guarantee_bytes": 8 * GIB,
    "cpu_limit_cores": 4.0,
}


def pod_sample(minutes: float, memory: float | None, cores: float | None, **rest: Any) -> Any:
    return {
        "namespace": "jhub",
        "pod_name": "jupyter-ada",
        "sampled_at": (START + timedelta(minutes=minutes)).timestamp(),
        "interval_seconds": 60.0,
        "memory_bytes": memory,
        "cpu_cores": cores,
        **rest,
    }


@pytest.fixture
async def world(store: Store, postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """One open session of Ada's, and a connection."""
    await store.ingest(
        [told("requested", facts=FACTS), told("ready", START + timedelta(seconds=9))]
    )
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


async def record(connection: asyncpg.Connection, *samples: dict[str, Any]) -> int:
    return int(
        await connection.fetchval("SELECT record_pod_samples($1::jsonb)", json.dumps(samples))
    )


async def resources(connection: asyncpg.Connection) -> dict[str, Any]:
    [row] = await connection.fetch("SELECT * FROM session_resources")
    return dict(row)


async def test_peak_and_mean_stand_beside_what_was_asked_for(world: asyncpg.Connection) -> None:
    assert await record(
        world,
        pod_sample(1, 1 * GIB, 0.5),
        pod_sample(2, 3 * GIB, 1.5, oom_kills=1),
        pod_sample(3, None, None),
        pod_sample(4, 2 * GIB, 1.0, interval_seconds=120.0, gpu_pct=50, gpu_memory_bytes=7),
    ) == 4  # fmt: skip
    row = await resources(world)
    assert row["memory_requested_bytes"] == 8 * GIB
    assert row["memory_peak_bytes"] == 3 * GIB
    assert row["memory_mean_bytes"] == pytest.approx(2 * GIB)
    assert row["memory_last_bytes"] == 2 * GIB
    assert (row["cpu_requested_cores"], row["cpu_peak_cores"]) == (4.0, 1.5)
    assert row["cpu_mean_cores"] == pytest.approx(1.0)
    assert (row["oom_kills"], row["gpu_mean_pct"], row["gpu_memory_peak_bytes"]) == (1, 50.0, 7)
    assert (row["sample_count"], row["source"]) == (4, "node")


async def test_the_same_samples_again_add_nothing(world: asyncpg.Connection) -> None:
    batch = [pod_sample(1, GIB, 0.5), pod_sample(2, 2 * GIB, 0.5)]
    assert await record(world, *batch) == 2
    before = await resources(world)
    assert await record(world, *batch) == 0
    assert await record(world, pod_sample(1.5, 9 * GIB, 9)) == 0
    assert await resources(world) == before


async def test_a_sample_goes_to_the_session_that_ran_then(
    world: asyncpg.Connection, store: Store
) -> None:
    """A late batch: the pod's first session has ended, the second one has its name."""
    ended, again = START + timedelta(minutes=30), START + timedelta(minutes=40)
    await store.ingest(
        [
            told("stopped", ended, reason="died"),
            told("requested", again, started=again, facts=FACTS),
        ]
    )
    assert await record(
        world,
        pod_sample(10, GIB, 1),
        pod_sample(35, 7 * GIB, 7),
        pod_sample(50, 2 * GIB, 2),
        pod_sample(11, GIB, 1, namespace="other"),
        pod_sample(12, GIB, 1, pod_name="jupyter-bob"),
        pod_sample(1000, GIB, 1),
    ) == 2  # fmt: skip
    rows = await world.fetch("SELECT * FROM session_resources ORDER BY started_at")
    assert [row["memory_peak_bytes"] for row in rows] == [GIB, 2 * GIB]


async def test_a_container_meets_the_session_that_knows_it_by_name(
    store: Store, postgres_dsn: str
) -> None:
    """Where two Hubs may have started it, or its session is on another node, it is nobody's."""
    unit = {"pod_name": "jupyter-ada-singleuser.service", "node": "n1"}
    named = {"pod_name": "jupyter-cid"}
    await store.ingest(
        [
            told("requested", facts=unit),
            told("requested", username="bob", facts={"pod_name": "jupyter-bob"}),
            told("requested", username="cid", facts=named),
            told("requested", username="cid", hub="annex", facts=named),
            told("requested", username="dan", facts={**FACTS, "pod_name": "jupyter-dan"}),
        ]
    )
    connection = await asyncpg.connect(postgres_dsn)

    def sample(name: str, node: str = "n1") -> dict[str, Any]:
        return pod_sample(1, GIB, 1, namespace=None, pod_name=name, node_name=node)

    async def taken(*samples: dict[str, Any]) -> list[str]:
        await connection.execute("TRUNCATE session_samples")
        await record(connection, *samples)
        rows = await connection.fetch("SELECT username FROM session_resources ORDER BY username")
        return [row["username"] for row in rows]

    assert await taken(sample("jupyter-ada-singleuser.service"), sample("jupyter-bob")) == [
        "ada",
        "bob",
    ]
    assert await taken(sample("jupyter-ada-singleuser.service", "n2")) == []
    assert await taken(sample("jupyter-cid")) == []
    # a container that has the name of a pod is none
    assert await taken(sample("jupyter-dan")) == []
    await connection.close()


async def test_a_servers_own_word_counts_only_where_nobody_else_measured(
    world: asyncpg.Connection, store: Store
) -> None:
    sample = {"sampled_at": START.timestamp() + 60, "interval_seconds": 60, "memory_bytes": 5 * GIB}
    before_it = {**sample, "sampled_at": START.timestamp() - 60}
    assert await store.resources.record("campus", "ada", "", [sample, before_it]) == 1
    assert await store.resources.record("campus", "ada", "gpu", [sample]) is None
    assert await store.resources.record("other", "ada", "", [sample]) is None
    row = await resources(world)
    assert (row["source"], row["memory_peak_bytes"]) == ("server", 5 * GIB)
    await record(world, pod_sample(1, GIB, 1))
    row = await resources(world)
    assert (row["source"], row["memory_peak_bytes"]) == ("node", GIB)


async def test_samples_change_no_session_and_no_usage(
    world: asyncpg.Connection, store: Store
) -> None:
    async def accounts() -> list[Any]:
        rows = await world.fetch("SELECT * FROM sessions ORDER BY id")
        usage = await store.reading.usage_of_all(["campus"], Window(START, NOW), "hub")
        return [*rows, *usage]

    before = await accounts()
    await record(world, pod_sample(1, 900 * GIB, 64))
    assert await accounts() == before


async def test_what_is_read_of_sessions_has_what_was_measured(
    world: asyncpg.Connection, store: Store
) -> None:
    window = Window(START, NOW)
    [unmeasured] = await store.reading.sessions_of_user("campus", "ada", window, None, None, 9)
    assert unmeasured.measured is None
    sample = {"sampled_at": START.timestamp() + 60, "interval_seconds": 60, "memory_bytes": 5 * GIB}
    await store.resources.record("campus", "ada", "", [sample])
    [told_of_itself] = await store.reading.sessions_of_user("campus", "ada", window, None, None, 9)
    assert told_of_itself.measured is not None
    assert told_of_itself.measured.source == "server"
    assert told_of_itself.measured.memory_last_bytes == 5 * GIB
    await record(world, pod_sample(1, GIB, 0.25))
    [seen] = await store.reading.sessions_of_user("campus", "ada", window, None, None, 9)
    [running] = await store.reading.running(["campus"], None, None, None, 9)
    assert seen.measured == running.measured
    assert seen.measured is not None
    assert seen.measured.source == "node"
    assert (seen.measured.memory_peak_bytes, seen.measured.cpu_mean_cores) == (GIB, 0.25)


async def test_overasking_adds_up_by_profile_and_image(
    world: asyncpg.Connection, store: Store
) -> None:
    bob = {**FACTS, "pod_name": "jupyter-bob", "memory_guarantee_bytes": 4 * GIB}
    await store.ingest([told("requested", username="bob", facts=bob)])
    await record(
        world,
        pod_sample(1, 2 * GIB, 1, interval_seconds=3600),
        pod_sample(1, GIB, 1, interval_seconds=3600, pod_name="jupyter-bob"),
    )
    [row] = await store.reading.overasking(["campus"])
    assert (row.profile, row.image_name, row.sessions, row.hours) == ("large", "reg/lab", 2, 2.0)
    assert row.memory_requested_bytes == pytest.approx(6 * GIB)
    assert row.memory_mean_bytes == pytest.approx(1.5 * GIB)
    assert row.memory_unused_gib_hours == pytest.approx(6 + 3)
    assert row.memory_peak_bytes == 2 * GIB
    assert await store.reading.overasking(["other"]) == []


async def test_what_is_used_now_is_what_was_sampled_lately(
    world: asyncpg.Connection, store: Store
) -> None:
    await record(world, pod_sample(1, GIB, 0.25))
    [stale] = await store.present.open_sessions()
    assert (stale.memory_used_bytes, stale.cpu_used_cores) == (None, None)
    since_start = datetime.now(timezone.utc) - START
    await record(world, pod_sample(since_start.total_seconds() / 60 - 1, 3 * GIB, 0.75))
    [fresh] = await store.present.open_sessions()
    assert (fresh.memory_used_bytes, fresh.cpu_used_cores) == (3 * GIB, 0.75)
    [user] = await store.present.users_and_requests(NOW)
    assert (user.memory_used_bytes, user.cpu_used_cores) == (3 * GIB, 0.75)


async def test_operators_page_through_overasking_in_the_api(
    world: asyncpg.Connection, store: Store
) -> None:
    bob = {**FACTS, "pod_name": "jupyter-bob", "profile": "small"}
    await store.ingest([told("requested", username="bob", facts=bob)])
    await record(
        world,
        pod_sample(1, 2 * GIB, 1, interval_seconds=3600),
        pod_sample(1, GIB, 1, interval_seconds=60, pod_name="jupyter-bob"),
    )
    [overasking] = [resource for resource in RESOURCES if resource.name == "overasking"]
    asked: list[str] = []
    viewer: Any = SimpleNamespace(require_operator=asked.append, hubs=("campus",))
    privacy: Any = None
    profiles: list[Any] = []
    place: list[Any] | None = None
    while not profiles or place:
        question = Question(viewer, {"limit": 1}, store.reading, privacy, NOW, place)
        answer = await overasking.ask(question)
        [row] = answer.rows
        assert set(row) == {column.name for column in overasking.columns}
        profiles.append(row["profile"])
        place = answer.place
    assert profiles == ["large", "small"]
    assert set(asked) == {"overasking"}
