"""What the recorder tells of servers whose stop raised, which the Hub has forgotten."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from builders import T0, at

from jupyterhub_metrics.hub.actor import acting
from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.hub.runs import SpawnerRow
from jupyterhub_metrics.model import isoformat

POLL_SECONDS = 0.01


class LeftSpawner:
    """One whose stop raised; ``statuses`` is what its polls say, errors are raised."""

    def __init__(self, *statuses: Any) -> None:
        self.name = ""
        self._log_name = "ada"
        self.user = SimpleNamespace(name="ada", groups=[])
        self.orm_spawner = SimpleNamespace(id=1, started=T0)
        self.user_options: dict[str, Any] = {}
        self.handler = None
        self.poll_interval = POLL_SECONDS
        self.statuses = list(statuses)
        self.job = "17"
        self.polled: list[str] = []

    def get_state(self) -> dict[str, str]:
        return {"job": self.job}

    def load_state(self, state: dict[str, str]) -> None:
        self.job = state["job"]

    async def poll_unrecorded(self) -> Any:
        self.polled.append(self.job)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, Exception):
            raise status
        return status


class Hub:
    """A recorder whose clock goes one second further with each look."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 100.0
        self.folder = folder
        self.recorder = self.new_recorder()

    def wall(self) -> Any:
        self.seconds += 1
        return at(self.seconds)

    def new_recorder(self) -> MetricsRecorder:
        recorder = MetricsRecorder(
            hub_name="campus", data_dir=str(self.folder), wall=self.wall, log=logging.getLogger("r")
        )
        recorder.open()
        return recorder

    def run_and_fail_to_stop(self, spawner: LeftSpawner) -> None:
        recorder: Any = self.recorder
        recorder.requested(spawner)
        recorder.polling(spawner)
        recorder.ready(spawner)
        with acting("user:ada"):
            recorder.stopping(spawner)
            recorder.polled(spawner, None, self.wall())
            recorder.stop_raised(spawner, OSError("no answer"))
            spawner.orm_spawner.started = None
            recorder.ended(spawner, None)
        # as the Hub does afterwards
        spawner.job = ""

    def events(self, kind: str) -> list[dict[str, Any]]:
        told = (json.loads(item.body) for item in self.recorder.outbox.waiting(100))
        return [event for event in told if event["kind"] == kind]

    async def until_stopped(self) -> dict[str, Any]:
        for _ in range(500):
            if stopped := self.events("stopped"):
                return stopped[0]
            await asyncio.sleep(POLL_SECONDS)
        raise AssertionError("its end was not told")


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    hub = Hub(tmp_path)
    yield hub
    await hub.recorder.close()
    assert hub.recorder.faults == 0


async def test_it_is_polled_until_it_is_gone(hub: Hub) -> None:
    spawner = LeftSpawner(None, None, 137)
    hub.run_and_fail_to_stop(spawner)
    stopped = await hub.until_stopped()
    assert len(hub.events("stop_failed")) == 1
    assert (stopped["reason"], stopped["actor"]) == ("stopped_by_user", "user:ada")
    assert (stopped["source"], stopped["exit_status"]) == ("hub_poll", 137)
    assert isoformat(at(100)) < stopped["occurred_at"] < stopped["not_after"]
    assert hub.recorder.outbox.notes() == []


async def test_it_is_asked_with_the_state_that_the_hub_has_cleared(hub: Hub) -> None:
    spawner = LeftSpawner(None, 0)
    hub.run_and_fail_to_stop(spawner)
    await hub.until_stopped()
    assert set(spawner.polled) == {"17"}


async def test_a_poll_that_raises_ends_nothing(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    away = OSError("no answer")
    spawner = LeftSpawner(away, away, None, away, 1)
    hub.run_and_fail_to_stop(spawner)
    await hub.until_stopped()
    assert len(spawner.polled) == 5
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1, "it is said once"


async def test_a_new_start_of_the_same_server_is_another_session(hub: Hub) -> None:
    left = LeftSpawner(None, None, None, 137)
    hub.run_and_fail_to_stop(left)
    again = LeftSpawner(None)
    again.orm_spawner.started = at(hub.seconds)
    recorder: Any = hub.recorder
    recorder.requested(again)
    recorder.polling(again)
    recorder.ready(again)
    stopped = await hub.until_stopped()
    assert stopped["started_at"] == isoformat(T0)
    [note] = hub.recorder.outbox.notes()
    assert (note.spawner_id, note.started_at) == (1, again.orm_spawner.started)


async def test_a_hub_that_ends_asks_no_more(hub: Hub) -> None:
    spawner = LeftSpawner(None)
    hub.run_and_fail_to_stop(spawner)
    while len(spawner.polled) < 3:
        await asyncio.sleep(POLL_SECONDS)
    await hub.recorder.close()
    asked = len(spawner.polled)
    await asyncio.sleep(5 * POLL_SECONDS)
    assert len(spawner.polled) == asked
    assert len(hub.recorder.outbox.notes()) == 1, "the next start settles it"


async def test_a_hub_that_starts_again_settles_it(hub: Hub) -> None:
    spawner = LeftSpawner(None)
    hub.run_and_fail_to_stop(spawner)
    while len(spawner.polled) < 3:
        await asyncio.sleep(POLL_SECONDS)
    seen_until = isoformat(at(hub.seconds))
    await hub.recorder.close()
    hub.recorder = hub.new_recorder()
    hub.recorder.settle_unknown(lambda: [SpawnerRow(1, "ada", "", None)])
    [stopped] = hub.events("stopped")
    assert (stopped["source"], stopped["reason"]) == ("hub_start", "stopped_by_user")
    assert isoformat(at(105)) < stopped["occurred_at"] <= seen_until < stopped["not_after"]
    assert hub.recorder.outbox.notes() == []
