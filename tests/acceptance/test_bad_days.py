"""What the table says after a Hub, a service or a server died, and after a rename."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
import pytest_asyncio
from hub_client import HubClient
from hub_database import hub_environment, sessions_of
from hub_process import POLL_SECONDS, HubProcess, until
from observer import Observer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def observer(hub: HubProcess) -> AsyncIterator[Observer]:
    observer = Observer(hub)
    yield observer
    await observer.close()


async def sessions_once(hub: HubProcess, username: str, *states: str) -> list[dict[str, Any]]:
    """A user's sessions, oldest first, as soon as they have these states."""
    found: list[dict[str, Any]] = []

    async def as_expected() -> bool:
        found[:] = [row for row in await sessions_of(hub) if row["username"] == username]
        return [row["state"] for row in found] == list(states)

    try:
        await until(as_expected, "the sessions are stored", every_seconds=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}; found {found}\n{hub.log_tail()}") from None
    return found


def service_of(hub: HubProcess) -> psutil.Process:
    [service] = hub.running("jupyterhub_metrics.service")
    return service


async def test_hub_restart_keeps_the_session_open(hub: HubProcess, observer: Observer) -> None:
    await observer.add_user("ann")
    run = await observer.start_ready("ann")
    [before] = await sessions_once(hub, "ann", "running")
    await hub.kill()
    await hub.start()
    await asyncio.sleep(POLL_SECONDS + 0.5)
    assert await sessions_once(hub, "ann", "running") == [before]
    await observer.stop(run)
    [after] = await sessions_once(hub, "ann", "ended")
    assert after["id"] == before["id"]
    assert after["ready_at"] == before["ready_at"]
    assert after["end_reason"] == "stopped_by_service"


async def test_a_killed_hub_leaves_neither_service_nor_database_behind() -> None:
    # with the embedded database whatever the others use: a given one is nobody's child
    hub = HubProcess()
    try:
        await hub.start()
        service = service_of(hub)
        family = [service, *service.children(recursive=True)]
        assert "postgres" in {process.name() for process in family}
        await hub.kill()
        await until(
            lambda: not any(process.is_running() for process in family),
            "service and database ended",
            seconds=10,
        )
    finally:
        await hub.close()


async def test_a_server_that_died_while_the_hub_was_down_ends_between_last_seen_and_restart(
    hub: HubProcess, observer: Observer
) -> None:
    await observer.add_user("ben")
    run = await observer.start_ready("ben")
    # long enough to be polled, so that it was last seen well after it was ready
    await asyncio.sleep(3 * POLL_SECONDS)
    hub_killed_at = time.time()
    await hub.kill()
    os.kill(run.pid, signal.SIGKILL)
    died_at = time.time()
    await asyncio.sleep(1)
    restarted_at = time.time()
    await hub.start()
    answered_at = time.time()
    [row] = await sessions_once(hub, "ben", "ended")
    after, before = row["ended_after"].timestamp(), row["ended_before"].timestamp()
    assert after <= died_at <= before
    assert hub_killed_at - 2 * POLL_SECONDS <= after <= hub_killed_at
    assert restarted_at <= before <= answered_at
    assert row["ended_at"] == row["ended_after"], "time that nobody saw is not charged"
    assert (row["end_reason"], row["end_source"]) == ("died", "hub_start")
    assert row["exit_status"] is None, "after a restart nobody knows the status"


async def test_a_server_that_died_while_it_was_routed_ends_like_any_other(hub: HubProcess) -> None:
    # straight to the Hub: the proxy will be frozen, so that the route takes long
    client = HubClient(f"http://127.0.0.1:{hub.hub_port}", hub.token)
    await client.add_user("bob")
    [proxy] = [
        process
        for process in psutil.Process(hub.pid).children()
        if any("configurable-http-proxy" in word for word in process.cmdline())
    ]
    known = set(hub.servers.glob("*.json"))
    proxy.suspend()
    try:
        asked = await client.request("POST", "/users/bob/server")
        assert asked.status in (201, 202), asked.text
        diaries: list[dict[str, Any]] = []

        def has_answered() -> bool:
            new = set(hub.servers.glob("*.json")) - known
            diaries[:] = [json.loads(path.read_text()) for path in new]
            return any("sent_at" in diary for diary in diaries)

        await until(has_answered, "the server has answered the Hub")
        os.kill(diaries[0]["pid"], signal.SIGKILL)
        killed_at = time.time()
        await until(
            lambda: not psutil.pid_exists(diaries[0]["pid"]), "a poll has found it dead", seconds=10
        )
    finally:
        proxy.resume()
        client.close()
    [row] = await sessions_once(hub, "bob", "ended")
    after, before = row["ended_after"].timestamp(), row["ended_before"].timestamp()
    assert asked.asked_at <= after <= killed_at <= before
    assert before - after <= POLL_SECONDS + 1
    assert (row["end_reason"], row["exit_status"]) == ("died", -signal.SIGKILL)


async def test_a_hub_killed_in_the_middle_of_a_stop_ends_the_session_when_it_is_back(
    hub: HubProcess, observer: Observer
) -> None:
    await observer.add_user("bea")
    run = await observer.start_ready("bea", "work")
    await hub.kill()
    os.kill(run.pid, signal.SIGKILL)
    with contextlib.closing(sqlite3.connect(hub.folder / "hub.sqlite")) as database, database:
        # what a stop commits first; that the server has no start any more comes after it
        changed = database.execute(
            "UPDATE spawners SET server_id = NULL WHERE name = 'work' AND started IS NOT NULL"
        )
        assert changed.rowcount == 1
    await hub.start()
    [row] = await sessions_once(hub, "bea", "ended")
    assert (row["end_reason"], row["end_source"]) == ("died", "hub_start")
    assert row["ended_after"].timestamp() <= run.gone_at
    again = await observer.start_ready("bea", "work")
    [same, _] = await sessions_once(hub, "bea", "ended", "running")
    assert same == row
    await observer.stop(again)


async def test_events_wait_for_a_killed_service(hub: HubProcess, observer: Observer) -> None:
    await observer.add_user("cleo")
    service = service_of(hub)
    service.kill()
    run = await observer.start_ready("cleo", by="cleo")
    await observer.stop(run, by="cleo")
    [row] = await sessions_once(hub, "cleo", "ended")
    assert run.ended is not None
    assert run.started[0] <= row["started_at"].timestamp() <= run.started[1]
    assert row["ended_at"].timestamp() <= run.ended[1]
    assert row["end_reason"] == "stopped_by_user"
    assert service_of(hub).pid != service.pid


async def test_a_renamed_user_keeps_the_session(hub: HubProcess, observer: Observer) -> None:
    await observer.add_user("dora")
    run = await observer.start_ready("dora")
    [before] = await sessions_once(hub, "dora", "running")
    renamed = await hub.client.request("PATCH", "/users/dora", {"name": "dorothea"})
    assert renamed.status == 200, renamed.text
    [after] = await sessions_once(hub, "dorothea", "running")
    assert after == before | {"username": "dorothea"}
    run.username = "dorothea"
    await observer.stop(run)
    [ended] = await sessions_once(hub, "dorothea", "ended")
    assert ended["id"] == before["id"]
    assert not [row for row in await sessions_of(hub) if row["username"] == "dora"]


async def test_the_deployments_own_hooks_fire_once(hub: HubProcess, observer: Observer) -> None:
    await observer.add_user("emil")
    run = await observer.start_ready("emil", "work")
    await observer.stop(run)
    hooks = [json.loads(line) for line in (hub.folder / "hooks.jsonl").read_text().splitlines()]
    fired = Counter(name for name, username, _, _ in hooks if username == "emil")
    assert fired == {"pre_spawn": 1, "post_stop": 1}


async def test_stops_of_the_hubs_own_shutdown_arrive_at_its_next_start() -> None:
    hub = HubProcess(cleanup_servers=True, environment=hub_environment())
    observer = Observer(hub)
    try:
        await hub.start()
        await observer.add_user("fred")
        run = await observer.start_ready("fred")
        await sessions_once(hub, "fred", "running")
        asked_at = time.time()
        await hub.stop()
        ended_at = time.time()
        await until(lambda: run.gone_at <= ended_at + 1, "the server ended with its Hub")
        assert not hub.processes(), "a Hub that cleans up leaves nothing running"
        await hub.start()
        [row] = await sessions_once(hub, "fred", "ended")
        assert asked_at <= row["ended_at"].timestamp() <= ended_at
        assert row["ended_after"] == row["ended_at"] == row["ended_before"]
        assert (row["end_reason"], row["ended_by"]) == ("hub_shutdown", "hub:shutdown")
    finally:
        await observer.close()
        await hub.close()
