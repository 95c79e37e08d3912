"""What the store says of the present, on each engine."""

from __future__ import annotations

from typing import Any

from builders import at, event

from jupyterhub_metrics.model import Event
from jupyterhub_metrics.store import ActiveUsers, Member, Store, UserRequests

DAY = 86400.0
NOW = 40 * DAY


def life(username: str, began: float, ended: float | None, **facts: Any) -> list[Event]:
    """A session that became ready after 5 s; without ``ended`` it runs."""
    common = {"username": username, "started": began}
    events = [
        event("requested", began, facts=facts, **common),
        event("ready", began + 5, **common),
    ]
    if ended is not None:
        events.append(event("stopped", ended, reason="died", **common))
    return events


async def test_users_are_active_in_the_periods_in_which_they_had_a_server(store: Store) -> None:
    await store.ingest(
        [
            *life("now", NOW - 90 * DAY, None),
            *life("today", NOW - 3 * DAY, NOW - 0.5 * DAY),
            *life("today", NOW - 9 * DAY, NOW - 8 * DAY),
            *life("this week", NOW - 7 * DAY, NOW - 6 * DAY),
            *life("this month", NOW - 35 * DAY, NOW - 29 * DAY),
            *life("long ago", NOW - 35 * DAY, NOW - 31 * DAY),
            event("requested", NOW - 60, username="waits", started=NOW - 60),
            event("requested", NOW - 60, username="failed", started=NOW - 60),
            event("failed", NOW - 30, username="failed", started=NOW - 60, reason="timeout"),
            event("ready", NOW, username="nobody", started=NOW, source="simulation"),
        ]
    )
    [active] = await store.present.active_users(at(NOW))
    assert active == ActiveUsers("campus", now=1, day=2, week=3, month=4)


async def test_open_sessions_are_counted_by_what_they_are(store: Store) -> None:
    same = {"image": "lab:1", "node": "n1", "gpus": 2, "memory_guarantee_bytes": 1024}
    await store.ingest(
        [
            *life("ann", 0, None, **same),
            *life("bob", 0, None, **same),
            *life("cy", 0, 100, **same),
            event("requested", 0, username="dan", facts=same),
            event("ready", 5, username="sim", source="simulation"),
        ]
    )
    groups = {group.state: group for group in await store.present.open_sessions()}
    assert set(groups) == {"running", "starting"}
    running = groups["running"]
    assert (running.sessions, running.image, running.node) == (2, "lab:1", "n1")
    assert (running.gpus, running.gpus_requested) == (2, 4)
    assert running.memory_requested_bytes == 2048
    assert running.cpu_requested_cores is None, "nobody knows"
    assert groups["starting"].sessions == 1


async def test_a_pod_without_a_request_requests_its_limit(store: Store) -> None:
    limits = {"memory_limit_bytes": 4096, "cpu_limit_cores": 2}
    await store.ingest(
        [
            *life("pod", 0, None, namespace="prod", **limits),
            *life("less", 0, None, namespace="prod", cpu_guarantee_cores=0.5, **limits),
            *life("process", 0, None, **limits),
            *life("gone", NOW - 2 * DAY, NOW - DAY, namespace="prod", **limits),
            *life("long gone", NOW - 39 * DAY, NOW - 38 * DAY),
        ]
    )
    assert await store.present.users_and_requests(at(NOW)) == [
        UserRequests("campus", "gone", 0, None, None),
        UserRequests("campus", "less", 1, 4096, 0.5),
        UserRequests("campus", "pod", 1, 4096, 2),
        UserRequests("campus", "process", 1, None, None),
    ]


async def test_members_are_those_of_now(store: Store) -> None:
    await store.record_memberships("campus", {"g": ["ann", "bob"], "h": ["ann"]}, at(0))
    await store.record_memberships("campus", {"g": ["ann"], "h": ["ann"]}, at(10))
    assert await store.present.members() == [
        Member("campus", "g", "ann"),
        Member("campus", "h", "ann"),
    ]


async def test_a_database_has_a_size(store: Store) -> None:
    assert await store.present.database_bytes() > 1_000_000
