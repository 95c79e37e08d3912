"""A Hub whose servers, clock and disk a test moves as it likes, around the real recorder.

What the Hub does to the recorder in each case follows JupyterHub: the moments and their order
are those that ``hub.spawner`` passes on.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faults import full_disk
from scheduled_cluster import NAMESPACE, ScheduledCluster, pod_name
from scheduled_time import Clock, Time

from jupyterhub_metrics.hub.actor import HUB_POLL, HUB_START, acting
from jupyterhub_metrics.hub.outbox import Outbox
from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.hub.runs import SpawnerRow
from jupyterhub_metrics.model import isoformat, session_id

HUB_POLL_SECONDS = 30.0
START_SECONDS = 2.25
USERS = ("ada", "bob", "cy")
KILLED = 137


@dataclass
class TrueRun:
    """What really happened to one server.

    ``started_at`` is what the Hub's clock showed; the rest is in seconds of the true time.
    ``ended`` is when its process did or, where its start failed, when the Hub gave it up;
    ``died`` is when the process did before that. ``left_hub`` is when the Hub ceased to show it.
    ``announced`` and ``told`` say whether what the recorder knew of its start and of it since has
    survived.
    """

    username: str
    started_at: datetime
    started: float
    ready: bool = False
    died: float | None = None
    ended: float | None = None
    left_hub: float | None = None
    announced: bool = True
    told: bool = True

    @property
    def over(self) -> tuple[float, float] | None:
        """When it ended, or, where its start failed, from its death to when that was noticed."""
        last = self.died if self.ended is None else self.ended
        if last is None:
            return None
        return (last if self.died is None else self.died, last)


class ScheduledHub:
    """One Hub in memory, with the recorder's real outbox on a real disk.

    With a ``cluster`` its servers are pods, which live and die without the Hub. ``folder`` is
    where its disk is.
    """

    def __init__(
        self,
        name: str,
        time: Time,
        clock: Clock,
        cluster: ScheduledCluster | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.time = time
        self.clock = clock
        self.cluster = cluster
        self.up = False
        self.disk_is_full = False
        self.runs: list[TrueRun] = []
        self.downs: list[tuple[float, float]] = []
        self._killed_at = 0.0
        self._disk_was_full_at = float("-inf")
        self._starts = 0
        self._folder = tempfile.TemporaryDirectory(prefix="jhm-", dir=folder)
        self._outbox_path = Path(self._folder.name) / "outbox.sqlite"
        self._live: dict[str, TrueRun] = {}
        self._shown: dict[str, TrueRun] = {}
        self._spawners = {
            username: SimpleNamespace(
                name="",
                user=SimpleNamespace(name=username, groups=[]),
                orm_spawner=SimpleNamespace(id=None, started=None, state={}),
                poll_interval=HUB_POLL_SECONDS,
                _waiting_for_response=False,
                user_options={},
                handler=None,
                _log_name=username,
                **({"pod_name": pod_name(username), "namespace": NAMESPACE} if cluster else {}),
            )
            for username in USERS
        }
        self.recorder: MetricsRecorder | None = None

    def id_of(self, run: TrueRun) -> Any:
        return session_id(self.name, run.username, "", run.started_at)

    # -- the Hub itself ------------------------------------------------------

    def start(self) -> None:
        """Finds what still runs and what died meanwhile."""
        self.up = True
        self._starts += 1
        self.downs.append((self._killed_at, self.time.now))
        with self.disk():
            self.recorder = MetricsRecorder(
                hub_name=self.name,
                data_dir=self._folder.name,
                wall=self.clock.wall,
                monotonic=self.clock.monotonic,
                later=self._later,
            )
            self.recorder.open()
            with acting(HUB_START):
                for username, spawner in self._spawners.items():
                    if spawner.orm_spawner.started is None:
                        continue
                    run = self._shown[username]
                    run.announced = True
                    spawner._waiting_for_response = False
                    if self._runs(username) and self._is_found(username):
                        self.recorder.polled(spawner, None, self.clock.wall())
                        self.recorder.polling(spawner)
                        self.recorder.ready(spawner)
                        run.told = run.ready = True
                    else:
                        # a process that was being started is nobody's now
                        self._live.pop(username, None)
                        self._end(username, status=0)
            self.recorder.settle_unknown(
                lambda: [
                    SpawnerRow(one.orm_spawner.id, username, "", one.orm_spawner.started)
                    for username, one in self._spawners.items()
                    if one.orm_spawner.id is not None
                ]
            )
        self._poll_again()

    def kill(self) -> None:
        """As SIGKILL does: nothing is said, what is on disk stays."""
        assert self.recorder is not None
        outbox = self.recorder.outbox
        assert self.recorder.faults == 0, "the recorder met an error that it only logged"
        assert outbox.lost_events == 0
        if self.disk_is_full:
            self._disk_was_full_at = self.time.now
        noted = {note.session_id for note in outbox.notes()}
        # a good poll that the disk did not take is written down by the next one
        if outbox._db is not None and self.time.now > self._disk_was_full_at + HUB_POLL_SECONDS + 1:
            noted = set()
        self._lost([body for _, body in outbox._memory], noted)
        self.up = False
        self._killed_at = self.time.now
        if outbox._db is not None:
            outbox._db.close()
        self.recorder = None

    def lose_disk(self) -> None:
        """The outbox, with its notes and all that was not delivered, is gone."""
        if self._outbox_path.exists():
            outbox = Outbox(self._outbox_path, SimpleNamespace(error=print, info=print))  # type: ignore[arg-type]
            outbox.open()
            self._lost(
                [item.body for item in outbox.waiting(10**6)],
                {note.session_id for note in outbox.notes()},
            )
            outbox.close()
        for file in self._outbox_path.parent.glob("outbox.sqlite*"):
            file.unlink()

    def lose_database(self) -> None:
        """The Hub's own: it knows of no server, though pods live on, and counts its rows anew."""
        for username, spawner in self._spawners.items():
            if self.cluster is None and username in self._live:
                self.kill_server(username)
            if username in self._shown:
                self._shown[username].told = False
            self._forget(username)
            self._clear(spawner)
            spawner.orm_spawner.id = None

    def close(self) -> None:
        self.disk_is_full = False
        if self.up:
            self.kill()
        self._folder.cleanup()

    def outage_around(self, begin: float, end: float) -> float:
        """Seconds of all the times in which it was down and that reach into these."""
        downs = [*self.downs, *([] if self.up else [(self._killed_at, self.time.now)])]
        return sum(until - since for since, until in downs if since <= end and until >= begin)

    # -- its servers ---------------------------------------------------------

    def start_server(self, username: str) -> None:
        """From the request until it is ready."""
        self.begin_start(username, spawned=True)
        self.finish_start(username)

    def begin_start(self, username: str, *, spawned: bool) -> None:
        """``spawned``: the spawner has done its part, and the Hub waits for an answer."""
        self._request(username)
        self.time.pass_by(START_SECONDS)
        if spawned:
            self._spawned(username)

    def _request(self, username: str) -> None:
        assert self.recorder is not None
        spawner = self._spawners[username]
        # as the Hub does, it polls before it starts anew
        if spawner.orm_spawner.started is not None:
            self._end_dead(username)
        if username in self._live:
            self._remove_orphan(username)
        spawner.orm_spawner.id = spawner.orm_spawner.id or self._new_row()
        spawner.orm_spawner.started = self.clock.wall()
        run = TrueRun(username, self.clock.wall(), self.time.now)
        self._live[username] = self._shown[username] = run
        self.runs.append(run)
        if self.cluster is not None:
            self.cluster.create(username)
        with self.disk():
            self.recorder.requested(spawner)

    def _spawned(self, username: str) -> None:
        assert self.recorder is not None
        spawner = self._spawners[username]
        if self.cluster is not None:
            self.cluster.run(username)
        with self.disk():
            self.recorder.polling(spawner)
        spawner.orm_spawner.state = {"pid": 1}
        spawner._waiting_for_response = True

    def finish_start(self, username: str) -> None:
        """It answers and is routed, or the Hub has waited for it long enough."""
        assert self.recorder is not None
        spawner = self._spawners[username]
        if not spawner._waiting_for_response:
            self._spawned(username)
        if not self._runs(username):
            self._give_up(username)
            return
        with self.disk():
            self.recorder.polled(spawner, None, self.clock.wall())
            self.recorder.ready(spawner)
        spawner._waiting_for_response = False
        self._live[username].ready = True

    def _give_up(self, username: str) -> None:
        """The start of one that is gone has taken too long."""
        error = TimeoutError()
        error.reason = "timeout"  # type: ignore[attr-defined]
        with self.disk():
            self._end(username, status=self._status, error=error)

    def stop_server(self, username: str) -> None:
        assert self.recorder is not None
        spawner = self._spawners[username]
        with acting(f"user:{username}"), self.disk():
            self.recorder.stopping(spawner)
            self.recorder.polled(spawner, None, self.clock.wall())
            self._live.pop(username).ended = self.time.now
            if self.cluster is not None:
                self.cluster.finish(username)
                self.cluster.delete(username)
            spawner.orm_spawner.started = None
            self.recorder.ended(spawner, None)
        self._clear(spawner)
        self._forget(username)

    def kill_server(self, username: str) -> None:
        """The process dies; the Hub does not know yet."""
        self._dies(username)
        if self.cluster is not None:
            self.cluster.finish(username)

    def remove_pod(self, username: str) -> None:
        """Its node is gone, and with it all that the container could have told."""
        assert self.cluster is not None
        self._dies(username)
        self.cluster.delete(username)

    def starting(self) -> list[str]:
        """Those that are not ready yet, dead or alive."""
        return sorted(name for name, run in self._shown.items() if not run.ready)

    def running(self) -> list[str]:
        return sorted(self._live)

    def shown(self) -> dict[str, TrueRun]:
        """What the Hub takes for running."""
        return self._shown

    def may_start(self, username: str) -> bool:
        """Not while it runs; nor, the clock being set back, at the very start of an earlier run,
        which no Hub could tell apart."""
        if username in self._shown and (self._runs(username) or username in self.starting()):
            return False
        wall = self.clock.wall()
        return all(
            abs((run.started_at - wall).total_seconds()) > 1
            for run in self.runs
            if run.username == username
        )

    def seen_by_cluster(self) -> list[TrueRun]:
        """Those whose pods somebody who watches now sees running."""
        if self.cluster is None or not self.cluster.answers:
            return []
        return [run for username, run in self._live.items() if self.cluster.runs(username)]

    # -- what its REST API shows ---------------------------------------------

    def users(self) -> list[dict[str, Any]]:
        def server(username: str) -> dict[str, Any]:
            started = isoformat(self._spawners[username].orm_spawner.started)
            pending = None if self._shown[username].ready else "spawn"
            return {"name": "", "started": started, "ready": not pending, "pending": pending}

        return [{"name": username, "servers": {"": server(username)}} for username in self._shown]

    # -- within --------------------------------------------------------------

    def _new_row(self) -> int:
        rows = [one.orm_spawner.id or 0 for one in self._spawners.values()]
        return 1 + max(rows)

    def _runs(self, username: str) -> bool:
        run = self._shown.get(username)
        return run is not None and self._live.get(username) is run

    def _poll_again(self) -> None:
        starts = self._starts

        def poll() -> None:
            if self.up and self._starts == starts:
                self._poll()
                self.time.later(HUB_POLL_SECONDS, poll)

        self.time.later(HUB_POLL_SECONDS, poll)

    def _poll(self) -> None:
        assert self.recorder is not None
        for username, spawner in self._spawners.items():
            if spawner.orm_spawner.started is None:
                continue
            status = None if self._runs(username) else self._status
            if not self._shown[username].ready:
                # a start that the Hub waits for; it polls, and does nothing about what it hears
                if spawner._waiting_for_response:
                    with self.disk():
                        self.recorder.polled(spawner, status, self.clock.wall())
            elif status is None:
                with self.disk():
                    self.recorder.polled(spawner, None, self.clock.wall())
            else:
                self._end_dead(username)

    def _end_dead(self, username: str) -> None:
        with acting(HUB_POLL), self.disk():
            self._end(username, status=self._status)

    @property
    def _status(self) -> int:
        """What a poll says of one that is gone."""
        return 1 if self.cluster else KILLED

    def _end(self, username: str, status: int, error: Exception | None = None) -> None:
        assert self.recorder is not None
        spawner = self._spawners[username]
        if self.cluster is not None and username not in self._live:
            # as KubeSpawner does within its poll
            self.cluster.delete(username)
        run = self._shown[username]
        if not run.ready:
            run.ended = self.time.now
        self.recorder.polled(spawner, status, self.clock.wall())
        self.recorder.stopping(spawner)
        self.recorder.polled(spawner, status, self.clock.wall())
        spawner.orm_spawner.started = None
        self.recorder.ended(spawner, error)
        self._clear(spawner)
        self._forget(username)

    def _is_found(self, username: str) -> bool:
        """Whether a Hub that starts knows of the process, killed before it was told or not: a pod
        is found by its name."""
        state = self._spawners[username].orm_spawner.state
        if self.cluster is not None and not state:
            self.cluster.run(username)
            state["pod"] = pod_name(username)
        return bool(state)

    def _dies(self, username: str) -> None:
        run = self._live.pop(username)
        if run.ready or self._shown.get(username) is not run:
            run.ended = self.time.now
        else:
            run.died = self.time.now

    def _clear(self, spawner: Any) -> None:
        spawner.orm_spawner.started, spawner.orm_spawner.state = None, {}
        spawner._waiting_for_response = False

    def _remove_orphan(self, username: str) -> None:
        """As KubeSpawner does with a pod that is in the way of a new one."""
        assert self.cluster is not None
        self._dies(username)
        self.cluster.delete(username)

    def _forget(self, username: str) -> None:
        run = self._shown.pop(username, None)
        if run is not None:
            run.left_hub = self.time.now
            if run.ended is None and run.died is not None:
                run.ended = self.time.now

    def _later(self, seconds: float, call: Any) -> Any:
        starts = self._starts

        def alarm() -> None:
            if self.up and self._starts == starts:
                with self.disk():
                    call()

        return self.time.later(seconds, alarm)

    def _lost(self, bodies: list[str], noted: set[Any]) -> None:
        events = [json.loads(body) for body in bodies]
        told = {str(key) for key in noted} | {event["session_id"] for event in events}
        announced = {
            event["session_id"]
            for event in events
            if event["kind"] == "requested" or event["source"] == "hub_start"
        }
        for run in self.runs:
            key = str(self.id_of(run))
            run.told = run.told and key not in told
            run.announced = run.announced and key not in announced

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        if self.disk_is_full:
            self._disk_was_full_at = self.time.now
        with full_disk() if self.disk_is_full else contextlib.nullcontext():
            yield
