"""Whatever stops, repeats, reorders or loses what: no session lost, none doubled, no end untrue.

The real recorder, outbox, delivery, store and checks over a real database, in one process, moved
by hypothesis: the same 1,000 schedules each time, or as many new ones as
``JUPYTERHUB_METRICS_SCHEDULES`` says.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
from databases import with_database
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from schedule_claims import GRACE_SECONDS, Looks, nothing_lost, nothing_untrue, nothing_vague
from scheduled_cluster import ScheduledCluster, ScheduledPodSource
from scheduled_hub import HUB_POLL_SECONDS, USERS, ScheduledHub
from scheduled_service import (
    FAULTS,
    Network,
    ScheduledHubApi,
    TroubledDatabase,
    delivery_of,
)
from scheduled_time import Clock, Time

from jupyterhub_metrics.errors import DatabaseUnavailable
from jupyterhub_metrics.hub.delivery import _Round
from jupyterhub_metrics.service.checker import Checker
from jupyterhub_metrics.service.metrics import Metrics
from jupyterhub_metrics.sources.drift import Rules
from jupyterhub_metrics.sources.matching import POD_TOLERANCE
from jupyterhub_metrics.store import Store, open_store

NEW_SCHEDULES = os.environ.get("JUPYTERHUB_METRICS_SCHEDULES")
INTERVAL = 300.0
STEPS = (-3601.3, -100.1, -7.7, 0.4, 13.6, 3601.3)
WAYS = (
    "works",
    "loses the request",
    "loses the answer",
    "holds it back",
    "repeats it later",
)
# what the claims are about and no more: there are thousands of rounds
ROWS = """
    SELECT id, started_at, state, ended_at, ended_after, ended_before, end_source
    FROM sessions WHERE hub = $1
"""
OPEN_SESSIONS = """
    SELECT open_sessions.id FROM open_sessions
    JOIN servers ON servers.id = open_sessions.server_id WHERE servers.hub = $1
"""
MEMORY = Path("/dev/shm")
_Result = TypeVar("_Result")


class Ground:
    """What all schedules share: a loop, a store, a connection beside it, metrics and a secret."""

    def __init__(self, loop: Any, store: Store, connection: Any, token_file: Path) -> None:
        self.loop = loop
        self.store = store
        self.connection = connection
        self.metrics = Metrics()
        self.token_file = token_file

    def run(self, work: Awaitable[_Result]) -> _Result:
        result: _Result = self.loop.run_until_complete(work)
        return result


@pytest.fixture
def ground(database_server: str, tmp_path: Path) -> Iterator[Ground]:
    loop = asyncio.new_event_loop()
    name = f"test_{uuid.uuid4().hex[:12]}"
    server = loop.run_until_complete(asyncpg.connect(database_server))
    loop.run_until_complete(server.execute(f"CREATE DATABASE {name}"))
    dsn = with_database(database_server, name)
    store = loop.run_until_complete(open_store(dsn))
    connection = loop.run_until_complete(asyncpg.connect(dsn))
    token_file = tmp_path / "token"
    token_file.write_text("secret")
    # thousands of bad days fill memory with what is said of them
    logging.disable()
    try:
        yield Ground(loop, store, connection, token_file)
    finally:
        logging.disable(logging.NOTSET)
        loop.run_until_complete(connection.close())
        loop.run_until_complete(store.close())
        loop.run_until_complete(server.execute(f"DROP DATABASE {name} WITH (FORCE)"))
        loop.run_until_complete(server.close())
        loop.close()


def machine(ground: Ground) -> type[Any]:
    """The state machine over this database; each schedule is a Hub of its own."""
    run = ground.run

    class Schedule(RuleBasedStateMachine):
        @initialize(pods=st.booleans())
        def begin(self, pods: bool) -> None:
            self.time = Time()
            self.hubs_clock, self.services_clock = Clock(self.time), Clock(self.time)
            self.clusters_clock = Clock(self.time)
            self.cluster = ScheduledCluster(self.time) if pods else None
            name = f"hub-{uuid.uuid4().hex}"
            folder = MEMORY if MEMORY.is_dir() else None
            self.hub = ScheduledHub(name, self.time, self.hubs_clock, self.cluster, folder)
            self.database = TroubledDatabase(ground.store)
            self.network = Network(name, self.database)
            self.looks = Looks()
            self.pods: ScheduledPodSource | None = None
            self.restart_service()
            self.hub.start()

        def restart_service(self) -> None:
            if self.cluster is not None:
                if self.pods is not None:
                    self.pods.end()
                self.pods = ScheduledPodSource(self.cluster, self.time, self.services_clock.wall)
            self.api = ScheduledHubApi(self.hub, self.services_clock.wall)
            self.checker = Checker(
                self.hub.name,
                self.database,  # type: ignore[arg-type]
                ground.metrics,
                self.api,
                self.pods,
                interval=timedelta(seconds=INTERVAL),
                rules=Rules(
                    grace=timedelta(seconds=GRACE_SECONDS),
                    hub_poll=timedelta(seconds=HUB_POLL_SECONDS),
                ),
                clock=self.services_clock.wall,
            )
            self.checker.open()
            self.looks.forget(self.open_sessions())

        # -- time and clocks -------------------------------------------------

        @rule(seconds=st.sampled_from([0.5, 7.0, 40.0, INTERVAL, 2000.0]))
        def time_passes(self, seconds: float) -> None:
            self.time.pass_by(seconds)

        @rule(seconds=st.sampled_from(STEPS))
        def the_hubs_clock_is_set(self, seconds: float) -> None:
            ahead = timedelta(seconds=self.hubs_clock.ahead + seconds)
            # a pod that was made before its session by more than that is not known for its own
            if self.cluster is None or ahead < POD_TOLERANCE:
                self.hubs_clock.step(seconds)

        @rule(seconds=st.sampled_from(STEPS))
        def the_services_clock_is_set(self, seconds: float) -> None:
            self.services_clock.step(seconds)

        @rule(of_hub=st.booleans())
        def a_clock_stops(self, of_hub: bool) -> None:
            (self.hubs_clock if of_hub else self.services_clock).stop()

        @rule()
        def the_clocks_go_on(self) -> None:
            self.hubs_clock.go_on()
            self.services_clock.go_on()

        # -- servers ---------------------------------------------------------

        @precondition(lambda self: self.hub.up)
        @rule(username=st.sampled_from(USERS))
        def a_server_starts(self, username: str) -> None:
            if self.hub.may_start(username):
                self.hub.start_server(username)
            self.time.pass_by(3)

        @precondition(lambda self: self.hub.up)
        @rule(username=st.sampled_from(USERS), spawned=st.booleans())
        def a_start_begins(self, username: str, spawned: bool) -> None:
            if self.hub.may_start(username):
                self.hub.begin_start(username, spawned=spawned)

        @precondition(lambda self: self.hub.up)
        @rule()
        def the_starts_are_finished(self) -> None:
            for username in self.hub.starting():
                self.hub.finish_start(username)

        @precondition(lambda self: self.hub.up)
        @rule(
            username=st.sampled_from(USERS),
            spawned=st.booleans(),
            seconds=st.sampled_from([0.0, 7.0, INTERVAL]),
        )
        def the_hub_is_killed_in_a_start(
            self, username: str, spawned: bool, seconds: float
        ) -> None:
            if self.hub.may_start(username):
                self.hub.begin_start(username, spawned=spawned)
            self.time.pass_by(seconds)
            self.hub.kill()

        @precondition(lambda self: self.hub.up)
        @rule(username=st.sampled_from(USERS))
        def a_server_is_stopped(self, username: str) -> None:
            if username in self.hub.running() and username in self.hub.shown():
                self.hub.stop_server(username)
            self.time.pass_by(3)

        @rule(username=st.sampled_from(USERS))
        def a_server_dies(self, username: str) -> None:
            if username in self.hub.running():
                self.hub.kill_server(username)
            self.time.pass_by(0.25)

        @precondition(lambda self: self.cluster is not None)
        @rule(username=st.sampled_from(USERS))
        def a_pod_is_gone_with_its_node(self, username: str) -> None:
            if username in self.hub.running():
                self.hub.remove_pod(username)
            self.time.pass_by(0.25)

        @precondition(lambda self: self.cluster is not None)
        @rule(username=st.sampled_from(USERS))
        def a_finished_pod_is_cleared_away(self, username: str) -> None:
            if username not in self.hub.running():
                self.cluster.delete(username)

        # -- the Hub and its disk --------------------------------------------

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
        @rule(seconds=st.sampled_from([0.5, 7.0, 40.0, INTERVAL]), outbox=st.booleans())
        def all_that_the_hub_knew_is_lost(self, seconds: float, outbox: bool) -> None:
            self.hub.kill()
            if outbox or self.cluster is None:
                self.hub.lose_disk()
            self.hub.lose_database()
            self.time.pass_by(seconds)
            self.hub.start()

        @rule(full=st.booleans())
        def the_hubs_disk_fills_or_is_freed(self, full: bool) -> None:
            self.hub.disk_is_full = full

        # -- the service and what it talks to --------------------------------

        @rule()
        def the_service_starts_again(self) -> None:
            self.restart_service()

        @rule(calls=st.integers(0, 5), commits=st.booleans())
        def the_database_goes_away(self, calls: int, commits: bool) -> None:
            self.database.goes_away(calls, commits=commits)

        @rule()
        def the_database_comes_back(self) -> None:
            self.database.comes_back()

        @rule(fault=st.sampled_from((None, *FAULTS)))
        def the_hubs_api_fails_or_works(self, fault: str | None) -> None:
            self.api.fault = fault

        @precondition(lambda self: self.cluster is not None)
        @rule()
        def the_watch_stalls(self) -> None:
            self.cluster.stall()

        @precondition(lambda self: self.cluster is not None and not self.cluster.answers)
        @rule(expired=st.booleans())
        def the_watch_goes_on(self, expired: bool) -> None:
            self.cluster.go_on(expired=expired)

        @precondition(lambda self: self.hub.up)
        @rule(way=st.sampled_from(WAYS), shuffle=st.randoms(use_true_random=False))
        def events_are_delivered(self, way: str, shuffle: Any) -> None:
            self.network.way, self.network.shuffle = way, shuffle
            self.deliver()

        @rule()
        def what_the_network_held_back_arrives(self) -> None:
            run(self.network.deliver_held())

        @rule()
        def the_service_checks(self) -> None:
            known = self.open_sessions()
            try:
                answered = run(self.checker.check())
            except DatabaseUnavailable:
                answered = None
            if answered is not None and self.hub.up and self.api.fault is None:
                self.looks.note(self.hub, known)
            self.nothing_is_untrue()

        @rule(looks=st.integers(1, 3), seconds=st.sampled_from([20.0, 70.0, INTERVAL]))
        def checks_go_on(self, looks: int, seconds: float) -> None:
            for _ in range(looks):
                self.time.pass_by(seconds)
                self.the_service_checks()

        # -- within ----------------------------------------------------------

        def deliver(self) -> None:
            delivery = delivery_of(self.hub, ground.token_file)
            with self.hub.disk():
                while run(delivery._round(self.network)) is _Round.DELIVERED:
                    continue
            assert delivery.faults == 0

        def rows(self) -> dict[uuid.UUID, Any]:
            rows = run(ground.connection.fetch(ROWS, self.hub.name))
            return {row["id"]: row for row in rows}

        def open_sessions(self) -> set[uuid.UUID]:
            rows = run(ground.connection.fetch(OPEN_SESSIONS, self.hub.name))
            return {row["id"] for row in rows}

        def clocks(self) -> list[Clock]:
            clocks = [self.hubs_clock, self.services_clock]
            return clocks if self.cluster is None else [*clocks, self.clusters_clock]

        def nothing_is_untrue(self) -> None:
            nothing_untrue(self.hub, self.clocks(), self.rows())

        def teardown(self) -> None:
            try:
                self.all_is_put_right()
                for _ in range(4):
                    self.time.pass_by(INTERVAL)
                    self.deliver()
                    self.the_service_checks()
                rows = self.rows()
                nothing_lost(self.hub, self.clocks(), self.looks, rows)
                nothing_vague(self.hub, self.clocks(), self.looks, rows)
            finally:
                self.hub.close()

        def all_is_put_right(self) -> None:
            wrong = max(abs(clock.ahead) for clock in self.clocks())
            for clock in self.clocks():
                clock.put_right()
            # what is dated in the future must have come
            self.time.pass_by(wrong)
            self.hub.disk_is_full = False
            self.database.comes_back()
            self.api.fault = None
            self.network.way = "works"
            if self.cluster is not None and not self.cluster.answers:
                self.cluster.go_on(expired=True)
            if not self.hub.up:
                self.hub.start()
            self.the_starts_are_finished()
            run(self.network.deliver_held())

    return Schedule


def test_nothing_is_lost_doubled_or_untrue_on_any_schedule(ground: Ground) -> None:
    schedules = settings(
        max_examples=int(NEW_SCHEDULES or 1000),
        derandomize=NEW_SCHEDULES is None,
        stateful_step_count=30,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine(ground), settings=schedules)
