"""What checks of a real Hub put right when its recorder was not heard, or its memory was lost."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest_asyncio
from hub_database import database_of, hub_environment, sessions_of
from hub_process import POLL_SECONDS, HubProcess, until
from observer import Observer, Run

CHECK_SECONDS = 1
GRACE_SECONDS = 1

SETTINGS = f"""
c.MetricsService.check_interval_seconds = {CHECK_SECONDS}
c.MetricsService.event_grace_seconds = {GRACE_SECONDS}
c.MetricsService.hub_poll_seconds = {POLL_SECONDS}
"""

SETUP = """
from jupyterhub_metrics.hub import setup
setup(c, hub_name={hub_name!r}, service_port={service_port}, service_config="metrics.py")
"""

SILENT = 'c.MetricsRecorder.service_url = "http://127.0.0.1:1"'
"""The recorder records, and nobody hears of it."""


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[HubProcess]:
    hub = HubProcess(setup=SETUP, environment=hub_environment())
    (hub.folder / "metrics.py").write_text(SETTINGS)
    try:
        yield hub
    finally:
        await hub.close()


@pytest_asyncio.fixture
async def observer(hub: HubProcess) -> AsyncIterator[Observer]:
    observer = Observer(hub)
    yield observer
    await observer.close()


async def session_once(hub: HubProcess, **wanted: Any) -> dict[str, Any]:
    """The only session, as soon as it has these values."""
    found: list[dict[str, Any]] = []

    async def as_wanted() -> bool:
        found[:] = await sessions_of(hub)
        return any(wanted.items() <= row.items() for row in found)

    try:
        await until(as_wanted, f"a session with {wanted}", every_seconds=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}; found {found}\n{hub.log_tail()}") from None
    [row] = [row for row in found if wanted.items() <= row.items()]
    return row


async def gauge(hub: HubProcess, series: str) -> float:
    token = (hub.data_dir / "secrets" / "metrics_token").read_text().strip()
    answer = await hub.client.get(f"{hub.service_url}/metrics", token=token)
    assert answer.status == 200
    [line] = [line for line in answer.text.splitlines() if line.startswith(f"{series} ")]
    return float(line.split()[1])


async def checked_again(hub: HubProcess) -> None:
    """Twice at least, so that what is missing would have been ended, and with all grace over."""
    count = "jupyterhub_metrics_check_duration_seconds_count"
    before = await gauge(hub, count)

    async def is_so() -> bool:
        return await gauge(hub, count) >= before + GRACE_SECONDS / CHECK_SECONDS + 3

    await until(is_so, "more checks were made", every_seconds=0.2)


def moment(value: float) -> datetime:
    return datetime.fromtimestamp(value).astimezone()


async def kill_and_forget(hub: HubProcess, run: Run) -> None:
    """The Hub dies with all that it knew, and its database is a new one; the server ends too."""
    await hub.kill()
    for file in (hub.data_dir / "outbox.sqlite", *hub.folder.glob("hub.sqlite*")):
        file.unlink()
    for process in hub.processes():
        if process.pid == run.pid:
            process.kill()
    await until(lambda: run.gone_at < float("inf"), "the server is gone")


async def test_servers_of_a_silent_recorder_appear_by_polls_until_it_is_heard(
    hub: HubProcess, observer: Observer
) -> None:
    hub.write_config(setup=SETUP, after=SILENT)
    await hub.start()
    await observer.add_user("ann")
    run = await observer.start_ready("ann", "work")
    row = await session_once(hub, username="ann", server_name="work", state="running")
    assert row["inferred"]
    assert row["ready_at"] is None, "nobody saw that moment"
    assert run.started[0] <= row["started_at"].timestamp() <= run.started[1]
    await until(lambda: "only polls of the Hub can see" in hub.log.read_text(), "it is said")
    assert await gauge(hub, "jupyterhub_metrics_unrecorded_sessions") == 1

    await hub.stop()
    hub.write_config(setup=SETUP)
    await hub.start()
    exact = await session_once(hub, username="ann", state="running", inferred=False)
    assert exact["id"] == row["id"]
    assert run.ready is not None
    assert run.ready[0] <= exact["ready_at"].timestamp() <= run.ready[1]

    async def is_recorded() -> bool:
        return await gauge(hub, "jupyterhub_metrics_unrecorded_sessions") == 0

    await until(is_recorded, "the recorder is heard")
    await observer.stop(run)
    ended = await session_once(hub, username="ann", state="ended")
    assert ended["ended_after"] == ended["ended_before"], "its stop was seen"


async def test_a_server_that_the_hub_forgot_ends_between_last_and_first_look(
    hub: HubProcess, observer: Observer
) -> None:
    await hub.start()
    await observer.add_user("ben")
    run = await observer.start_ready("ben")
    row = await session_once(hub, username="ben", state="running")

    async def was_seen() -> bool:
        async with database_of(hub) as connection:
            seen = await connection.fetchval(
                "SELECT count(*) FROM session_activity WHERE session_id = $1 AND seen_at > $2",
                row["id"],
                moment(run.started[1]),
            )
        return bool(seen)

    await until(was_seen, "a check has seen the server", every_seconds=0.2)
    await kill_and_forget(hub, run)
    died_at, restarted_at = run.alive_at, time.time()
    await hub.start()
    ended = await session_once(hub, username="ben", state="ended")
    assert ended["id"] == row["id"]
    assert (ended["end_reason"], ended["end_source"]) == ("unseen", "hub_api")
    after, before = ended["ended_after"].timestamp(), ended["ended_before"].timestamp()
    assert after <= died_at <= before
    assert ended["ended_at"] == ended["ended_after"], "time that nobody saw is not charged"
    assert died_at - after <= CHECK_SECONDS + POLL_SECONDS + 1
    assert restarted_at <= before <= time.time()


async def test_a_server_that_lives_on_is_left_open_while_the_hub_is_away(
    hub: HubProcess, observer: Observer
) -> None:
    await hub.start()
    await observer.add_user("cleo")
    run = await observer.start_ready("cleo")
    row = await session_once(hub, username="cleo", state="running")
    await hub.kill()
    await hub.start()
    await observer.add_user("cleo")
    async with database_of(hub) as connection:
        before = await connection.fetchval("SELECT count(*) FROM container_observations")

        async def observed_thrice_more() -> bool:
            count = await connection.fetchval("SELECT count(*) FROM container_observations")
            return bool(count >= before + 3)

        await until(observed_thrice_more, "checks went on", every_seconds=0.2)
        seen = await connection.fetchrow(
            "SELECT * FROM container_observations ORDER BY timestamp DESC LIMIT 1"
        )
    assert (seen["session_id"], seen["user_email"], seen["pod_name"]) == (row["id"], "cleo", None)
    assert await session_once(hub, username="cleo", state="running") == row
    await observer.stop(run)


async def test_a_named_server_outlives_the_deletion_of_its_user_and_stays_recorded(
    hub: HubProcess, observer: Observer
) -> None:
    """JupyterHub refuses to delete a user whose named server runs, halfway and with a 500."""
    await hub.start()
    await observer.add_user("dan")
    run = await observer.start_ready("dan", "work")
    row = await session_once(hub, username="dan", state="running")
    refused = await hub.client.request("DELETE", "/users/dan")
    assert refused.status == 500
    await checked_again(hub)
    assert await session_once(hub, username="dan", state="running") == row
    await observer.stop(run)
    ended = await session_once(hub, username="dan", state="ended")
    assert ended["end_reason"] == "stopped_by_service"
    assert ended["ended_after"] == ended["ended_before"]
    assert (await hub.client.request("DELETE", "/users/dan")).status == 204
    await checked_again(hub)
    assert await session_once(hub, username="dan") == ended


async def test_groups_are_remembered_with_their_dates(hub: HubProcess, observer: Observer) -> None:
    await hub.start()
    await observer.add_user("dora")
    for method, path, body in (
        ("POST", "/groups/physics", {}),
        ("POST", "/groups/physics/users", {"users": ["dora"]}),
    ):
        assert (await hub.client.request(method, path, body)).status in (200, 201)

    async def memberships() -> list[tuple[str, bool]]:
        async with database_of(hub) as connection:
            rows = await connection.fetch(
                "SELECT * FROM group_memberships WHERE hub = $1 ORDER BY valid_from", hub.name
            )
        return [(row["username"], row["valid_to"] is None) for row in rows]

    async def joined() -> bool:
        return await memberships() == [("dora", True)]

    async def left() -> bool:
        return await memberships() == [("dora", False)]

    await until(joined, "the membership is noted", every_seconds=0.2)
    gone = await hub.client.request("DELETE", "/groups/physics/users", {"users": ["dora"]})
    assert gone.status == 200, gone.text
    await until(left, "its end is noted", every_seconds=0.2)
