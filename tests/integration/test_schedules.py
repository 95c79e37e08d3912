"""Whatever stops, repeats, reorders or loses what: no session lost, none doubled, no end untrue.

The real recorder, outbox, store and checks over a real database, in one process, moved by
hypothesis. ``JUPYTERHUB_METRICS_SCHEDULES`` says how many schedules; 60 by default.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg
from builders import at
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from schedules import HUB_POLL_SECONDS, USERS, ScheduledHub

from jupyterhub_metrics.model import session_id
from jupyterhub_metrics.service.checker import Checker
from jupyterhub_metrics.service.metrics import Metrics
from jupyterhub_metrics.sources.drift import Rules
from jupyterhub_metrics.store import Store
from jupyterhub_metrics.wire import event_from_wire

SCHEDULES = int(os.environ.get("JUPYTERHUB_METRICS_SCHEDULES", "60"))
INTERVAL = 300.0
GRACE = 60.0
_Result = TypeVar("_Result")


class OpenDatabase:
    """The test's own store, as the checker asks for it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def store(self) -> Store:
        return self._store


def machine(store: Store, connection: asyncpg.Connection, loop: Any) -> type[Any]:
    """The state machine over this database; each schedule is a Hub of its own."""

    def run(work: Awaitable[_Result]) -> _Result:
        future = asyncio.run_coroutine_threadsafe(work, loop)  # type: ignore[arg-type]
        result: _Result = future.result(30)
        return result

    class Schedule(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.hub = ScheduledHub(f"hub-{uuid.uuid4().hex}")
            self.restart_service()
            self.hub.start()

        def restart_service(self) -> None:
            self.checker = Checker(
                self.hub.name,
                OpenDatabase(store),  # type: ignore[arg-type]
                Metrics(),
                self.hub,
                interval=timedelta(seconds=INTERVAL),
                rules=Rules(
                    grace=timedelta(seconds=GRACE), hub_poll=timedelta(seconds=HUB_POLL_SECONDS)
                ),
                clock=self.hub.wall,
            )

        @rule(seconds=st.sampled_from([0.5, 7.0, 40.0, INTERVAL, 2000.0]))
        def time_passes(self, seconds: float) -> None:
            self.hub.pass_time(seconds)

        @precondition(lambda self: self.hub.up)
        @rule(username=st.sampled_from(USERS))
        def a_server_starts(self, username: str) -> None:
            if username in self.hub.free():
                self.hub.start_server(username)
            self.hub.pass_time(3)

        @precondition(lambda self: self.hub.up)
        @rule(username=st.sampled_from(USERS))
        def a_server_is_stopped(self, username: str) -> None:
            if username in self.hub.running():
                self.hub.stop_server(username)
            self.hub.pass_time(3)

        @rule(username=st.sampled_from(USERS))
        def a_server_dies(self, username: str) -> None:
            if username in self.hub.running():
                self.hub.kill_server(username)
            self.hub.pass_time(0.25)

        @precondition(lambda self: self.hub.up)
        @rule()
        def the_hub_is_killed(self) -> None:
            self.hub.kill()

        @precondition(lambda self: not self.hub.up)
        @rule()
        def the_hub_starts_again(self) -> None:
            self.hub.start()

        @precondition(lambda self: not self.hub.up)
        @rule()
        def the_outbox_is_lost(self) -> None:
            self.hub.lose_disk()

        @precondition(lambda self: self.hub.up and self.hub.running())
        @rule(seconds=st.sampled_from([0.5, 7.0, 40.0, INTERVAL]))
        def all_that_the_hub_knew_is_lost(self, seconds: float) -> None:
            self.hub.kill()
            self.hub.lose_everything()
            self.hub.pass_time(seconds)
            self.hub.start()

        @rule()
        def the_service_starts_again(self) -> None:
            self.restart_service()

        @precondition(lambda self: self.hub.up)
        @rule(shuffle=st.randoms(use_true_random=False), acknowledged=st.booleans())
        def events_are_delivered(self, shuffle: Any, acknowledged: bool) -> None:
            recorder = self.hub.recorder
            assert recorder is not None
            recorder._alive.write()
            waiting = recorder.outbox.waiting(100)
            bodies = [item.body for item in waiting for _ in range(shuffle.choice((1, 1, 2)))]
            shuffle.shuffle(bodies)
            half = len(bodies) // 2
            for batch in (bodies[:half], bodies[half:]):
                run(store.ingest([event_from_wire(json.loads(body)) for body in batch]))
            if acknowledged:
                recorder.outbox.acknowledge(waiting)

        @rule()
        def the_service_checks(self) -> None:
            run(self.checker.check())
            self.conclusions_are_true()

        @rule(looks=st.integers(1, 3), seconds=st.sampled_from([20.0, 70.0, INTERVAL]))
        def checks_go_on(self, looks: int, seconds: float) -> None:
            for _ in range(looks):
                self.hub.pass_time(seconds)
                self.the_service_checks()

        def conclusions_are_true(self) -> None:
            rows = run(connection.fetch("SELECT * FROM sessions WHERE hub = $1", self.hub.name))
            found = {row["id"]: row for row in rows}
            truth = {
                session_id(self.hub.name, one.username, "", at(one.started)): one
                for one in self.hub.runs
            }
            assert found.keys() <= truth.keys(), "a session that never was"
            for key, row in found.items():
                ended = truth[key].ended
                if row["ended_at"] is None:
                    continue
                assert ended is not None, f"{truth[key]} still runs"
                assert row["ended_after"] <= at(ended) <= row["ended_before"], (truth[key], row)
            if not self.hub.notes_lost and getattr(self, "settled", False):
                assert found.keys() == truth.keys(), "a session was lost"

        def teardown(self) -> None:
            try:
                if not self.hub.up:
                    self.hub.start()
                recorder = self.hub.recorder
                assert recorder is not None
                for _ in range(4):
                    self.hub.pass_time(INTERVAL)
                    waiting = recorder.outbox.waiting(1000)
                    events = [event_from_wire(json.loads(item.body)) for item in waiting]
                    run(store.ingest(events))
                    recorder.outbox.acknowledge(waiting)
                    run(self.checker.check())
                self.settled = True
                self.conclusions_are_true()
                still_open = run(
                    connection.fetch(
                        "SELECT username FROM sessions WHERE hub = $1 AND ended_at IS NULL",
                        self.hub.name,
                    )
                )
                assert sorted(row["username"] for row in still_open) == self.hub.running()
            finally:
                self.hub.close()

    return Schedule


async def test_nothing_is_lost_doubled_or_untrue_on_any_schedule(
    store: Store, postgres_dsn: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    loop = asyncio.get_running_loop()
    schedules = settings(
        max_examples=SCHEDULES,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    try:
        await asyncio.to_thread(
            run_state_machine_as_test, machine(store, connection, loop), settings=schedules
        )
    finally:
        await connection.close()
