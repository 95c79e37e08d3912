"""Twenty users on a real Hub: the table holds exactly the sessions that an observer timed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from hub_client import Visitor
from hub_database import rows_of, settled_sessions
from hub_process import POLL_SECONDS, HubProcess
from observer import LOOK_SECONDS, Observer, Run

from jupyterhub_metrics.model import Event

pytestmark = pytest.mark.asyncio(loop_scope="module")

ODD_NAME = "o'brien+zoë@example.org"
BLUR_SECONDS = LOOK_SECONDS + 0.05
"""How far apart the observer's and the Hub's clock readings of one moment may lie."""


async def starts_and_stops(observer: Observer, name: str) -> None:
    run = await observer.start_ready(name, by=name)
    await asyncio.sleep(random.Random(name).random())
    await observer.stop(run, by=name)
    run.state, run.reason, run.actor = "ended", "stopped_by_user", f"user:{name}"


async def uses_two_servers(observer: Observer, name: str) -> None:
    """A named server beside the default one; a service stops it."""
    named, _ = await asyncio.gather(
        observer.start_ready(name, "work"), starts_and_stops(observer, name)
    )
    await observer.stop(named)
    named.state, named.reason, named.actor = "ended", "stopped_by_service", "service:observer"


async def comes_again(observer: Observer, name: str) -> None:
    await starts_and_stops(observer, name)
    await starts_and_stops(observer, name)


async def is_stopped_by_an_admin(observer: Observer, name: str) -> None:
    run = await observer.start_ready(name, by=name, mode="slow")
    await observer.stop(run, by="admin")
    run.state, run.reason, run.actor = "ended", "stopped_by_admin", "user:admin"


async def exits(observer: Observer, name: str) -> None:
    run = await observer.start(name, mode="exit7", by=name)
    await observer.gone(run)
    run.state, run.reason, run.exit_status = "failed", "exited", 7


async def raises(observer: Observer, name: str) -> None:
    run = await observer.start(name, mode="raise", by=name)
    run.state, run.reason = "failed", "exception"


async def times_out(observer: Observer, name: str) -> None:
    run = await observer.start(name, mode="silent", by=name)
    await observer.gone(run)
    run.state, run.reason = "failed", "timeout"


async def is_cancelled_halfway(observer: Observer, name: str) -> None:
    run = await observer.start(name, mode="silent", by=name)
    await asyncio.sleep(0.5)
    await observer.stop(run, by=name)
    run.state, run.reason, run.actor = "failed", "cancelled", f"user:{name}"


async def is_killed(observer: Observer, name: str) -> None:
    run = await observer.start_ready(name, by=name)
    os.kill(run.pid, signal.SIGKILL)
    await observer.gone(run)
    run.state, run.reason, run.exit_status = "ended", "died", -signal.SIGKILL
    run.killed = True


async def stays(observer: Observer, name: str) -> None:
    await observer.start_ready(name, by=name)


SCRIPTS: dict[str, Callable[[Observer, str], Awaitable[None]]] = {
    **{f"user{number:02}": starts_and_stops for number in range(5)},
    **{f"user{number:02}": uses_two_servers for number in range(5, 9)},
    "user09": comes_again,
    "user10": is_stopped_by_an_admin,
    "user11": exits,
    "user12": raises,
    "user13": times_out,
    "user14": is_cancelled_halfway,
    "user15": is_killed,
    "user16": is_killed,
    "user17": stays,
    "user18": stays,
    ODD_NAME: starts_and_stops,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def observer(hub: HubProcess) -> AsyncIterator[Observer]:
    """All twenty have done what they do, and the service has had time to store it."""
    observer = Observer(hub)
    try:
        for name in (*SCRIPTS, "admin"):
            await observer.add_user(name)
        scripts = (script(observer, name) for name, script in SCRIPTS.items())
        await asyncio.wait_for(asyncio.gather(*scripts), timeout=60)
        yield observer
    finally:
        await observer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sessions(hub: HubProcess, observer: Observer) -> list[dict[str, Any]]:
    states = [run.state for run in observer.runs]
    expected = {state: states.count(state) for state in sorted(set(states))}
    return await settled_sessions(hub, expected)


def pairs(observer: Observer, sessions: list[dict[str, Any]]) -> list[tuple[Run, dict[str, Any]]]:
    """Each run that was observed with its row, by order of start within one server."""
    by_server: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sessions:
        by_server.setdefault((row["username"], row["server_name"]), []).append(row)
    runs = sorted(observer.runs, key=lambda run: run.started)
    return [(run, by_server[run.username, run.server_name].pop(0)) for run in runs]


def within(moment: datetime | None, bracket: tuple[float, float]) -> bool:
    assert moment is not None
    return bracket[0] - BLUR_SECONDS <= moment.timestamp() <= bracket[1] + BLUR_SECONDS


async def test_twenty_users_have_sessions(sessions: list[dict[str, Any]]) -> None:
    assert len({row["username"] for row in sessions}) == 20


async def test_there_is_one_session_for_each_run(
    observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    found = sorted((row["username"], row["server_name"], row["state"]) for row in sessions)
    seen = sorted((run.username, run.server_name, run.state) for run in observer.runs)
    assert found == seen


async def test_starts_lie_where_the_observer_saw_them(
    observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    for run, row in pairs(observer, sessions):
        assert within(row["started_at"], run.started), (run, row)
        if run.ready is None:
            assert row["ready_at"] is None, (run, row)
        else:
            assert within(row["ready_at"], run.ready), (run, row)


async def test_ends_lie_where_the_observer_saw_them(
    observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    for run, row in pairs(observer, sessions):
        if run.ended is None:
            assert row["ended_at"] is None, (run, row)
        elif not run.killed:
            assert row["ended_after"] == row["ended_at"] == row["ended_before"], (run, row)
            assert within(row["ended_at"], run.ended), (run, row)
            assert not row["inferred"], (run, row)


async def test_a_killed_servers_end_lies_in_its_stated_interval(
    observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    killed = [(run, row) for run, row in pairs(observer, sessions) if run.killed]
    assert len(killed) == 2
    for run, row in killed:
        after, before = row["ended_after"].timestamp(), row["ended_before"].timestamp()
        assert after <= run.gone_at + BLUR_SECONDS, (run, row)
        assert run.alive_at - BLUR_SECONDS <= before, (run, row)
        assert 0 < before - after <= POLL_SECONDS + 1, (run, row)
        assert row["ended_at"] == row["ended_after"], (run, row)
        assert row["inferred"], (run, row)


async def test_each_session_says_why_it_ended_and_who_asked(
    observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    for run, row in pairs(observer, sessions):
        found = row["end_reason"], row["ended_by"], row["exit_status"]
        assert found == (run.reason, run.actor, run.exit_status), (run, row)


async def test_each_session_says_who_started_it(
    observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    for run, row in pairs(observer, sessions):
        asked = "service:observer" if run.server_name == "work" else f"user:{run.username}"
        assert row["started_by"] == asked, (run, row)


async def test_sessions_agree_with_the_hubs_own_record(
    hub: HubProcess, observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    running = [row for row in sessions if row["state"] == "running"]
    assert len(running) == 2
    for row in running:
        model = await hub.client.server(row["username"], row["server_name"])
        assert model is not None
        assert datetime.fromisoformat(model["started"].replace("Z", "+00:00")) == row["started_at"]


def wire(row: dict[str, Any]) -> dict[str, Any]:
    """An event as the recorder sent it, from its stored row."""
    fields = {name: value for name, value in row.items() if name != "recorded_at"}
    fields["facts"] = json.loads(row["facts"])
    return Event(**fields).to_wire()


async def send(hub: HubProcess, events: list[dict[str, Any]], **options: Any) -> Any:
    return await hub.client.request(
        "POST",
        f"{hub.service_url}/api/v1/events",
        {"hub": hub.name, "events": events},
        **options,
    )


async def test_the_same_events_in_any_order_any_number_of_times_change_nothing(
    hub: HubProcess, sessions: list[dict[str, Any]]
) -> None:
    before = await rows_of(hub, "sessions"), await rows_of(hub, "events")
    events = [wire(row) for row in before[1]]
    token = (hub.data_dir / "secrets" / "events_token").read_text().strip()
    dice = random.Random(20)
    for _ in range(5):
        # some of them twice within one round
        again = events + dice.sample(events, len(events) // 3)
        dice.shuffle(again)
        while again:
            size = dice.randint(1, 20)
            batch, again = again[:size], again[size:]
            answer = await send(hub, batch, token=token)
            assert answer.status == 200, answer.text
            assert (answer.json()["new"], answer.json()["rejected"]) == (0, [])
    assert (await rows_of(hub, "sessions"), await rows_of(hub, "events")) == before


async def test_a_user_reads_their_own_page_and_nobody_elses(
    hub: HubProcess, sessions: list[dict[str, Any]]
) -> None:
    visitor = Visitor(hub.url)
    await asyncio.to_thread(visitor.log_in, "user05", hub.password)
    own = await asyncio.to_thread(visitor.open, f"{hub.service_url}/")
    assert own.status == 200
    assert "user05" in own.text
    assert "work" in own.text
    assert (await asyncio.to_thread(visitor.open, f"{hub.service_url}/users/user05")).status == 200
    others = await asyncio.to_thread(visitor.open, f"{hub.service_url}/users/user06")
    assert others.status == 403
    assert "work" not in others.text


async def test_an_admin_reads_anyones_page(hub: HubProcess, sessions: list[dict[str, Any]]) -> None:
    visitor = Visitor(hub.url)
    await asyncio.to_thread(visitor.log_in, "admin", hub.password)
    page = await asyncio.to_thread(visitor.open, f"{hub.service_url}/users/user06")
    assert page.status == 200
    assert "work" in page.text


async def test_a_user_cannot_post_an_event(
    hub: HubProcess, observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    before = await rows_of(hub, "events")
    event = wire(before[0]) | {"actor": "user:user05"}
    body = json.dumps({"hub": hub.name, "events": [event]}).encode()
    url = f"{hub.service_url}/api/v1/events"
    visitor = Visitor(hub.url)
    await asyncio.to_thread(visitor.log_in, "user05", hub.password)
    await asyncio.to_thread(visitor.open, f"{hub.service_url}/")
    with_cookies = await asyncio.to_thread(
        visitor.open, url, data=body, **{"Content-Type": "application/json"}
    )
    answers = [
        with_cookies,
        await send(hub, [event], token=observer.tokens["user05"]),
        await send(hub, [event], token=observer.tokens["admin"]),
        await send(hub, [event], token=None),
    ]
    assert [answer.status for answer in answers] == [401, 403, 403, 401]
    assert await rows_of(hub, "events") == before


async def test_metrics_are_closed_to_users(
    hub: HubProcess, observer: Observer, sessions: list[dict[str, Any]]
) -> None:
    for token in (None, observer.tokens["user05"]):
        answer = await hub.client.get(f"{hub.service_url}/metrics", token=token)
        assert answer.status == 401
