"""A Hub whose servers, clock and disk a test moves as it likes, around the real recorder.

What the Hub does to the recorder in each case follows JupyterHub: the moments and their order
are those that ``hub.spawner`` passes on.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from builders import at

from jupyterhub_metrics.errors import SourceUnavailable
from jupyterhub_metrics.hub.actor import HUB_POLL, HUB_START, acting
from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.sources.world import HubServer, HubView

HUB_POLL_SECONDS = 30.0
USERS = ("ada", "bob", "cy")
KILLED = 137


@dataclass
class TrueRun:
    """What really happened to one server; seconds after T0."""

    username: str
    started: float
    ended: float | None = None


class ScheduledHub:
    """One Hub in memory, with the recorder's real outbox on a real disk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = 0.0
        self.up = False
        self.runs: list[TrueRun] = []
        self.notes_lost = False
        self._folder = tempfile.TemporaryDirectory(prefix="jhm-")
        self._live: dict[str, TrueRun] = {}
        self._spawners = {
            username: SimpleNamespace(
                name="",
                user=SimpleNamespace(name=username, groups=[]),
                orm_spawner=SimpleNamespace(id=number, started=None, state={"pid": number}),
                user_options={},
                handler=None,
                _log_name=username,
            )
            for number, username in enumerate(USERS, start=1)
        }
        self._polled_at = 0.0
        self.recorder: MetricsRecorder | None = None

    def wall(self) -> datetime:
        return at(self.now)

    def started(self, username: str) -> datetime | None:
        moment: datetime | None = self._spawners[username].orm_spawner.started
        return moment

    # -- the Hub itself ------------------------------------------------------

    def start(self) -> None:
        """Finds what still runs and what died meanwhile."""
        self.up = True
        self._polled_at = self.now
        self.recorder = MetricsRecorder(
            hub_name=self.name,
            data_dir=self._folder.name,
            wall=self.wall,
            # the schedule itself says when good polls are written down
            later=lambda seconds, call: SimpleNamespace(cancel=lambda: None),
        )
        self.recorder.open()
        with acting(HUB_START):
            for username, spawner in self._spawners.items():
                if spawner.orm_spawner.started is None:
                    continue
                if self._runs(username):
                    self.recorder.polled(spawner, None, self.wall())
                    self.recorder.polling(spawner)
                    self.recorder.ready(spawner)
                else:
                    self._end(username, status=0)
        self.recorder.settle_unknown(
            lambda: {one.orm_spawner.id: one.orm_spawner.started for one in self._spawners.values()}
        )

    def kill(self) -> None:
        """As SIGKILL does: nothing is said, what is on disk stays."""
        assert self.recorder is not None
        self.up = False
        self._faultless()
        assert self.recorder.outbox._db is not None
        self.recorder.outbox._db.close()
        self.recorder = None

    def lose_disk(self) -> None:
        """The outbox, with its notes and all that was not delivered, is gone."""
        self.notes_lost = True
        for file in Path(self._folder.name).glob("outbox.sqlite*"):
            file.unlink()

    def lose_everything(self) -> None:
        """The machine is set up anew: no servers, no database, no outbox."""
        self.lose_disk()
        for username in self.running():
            self.kill_server(username)
        for spawner in self._spawners.values():
            spawner.orm_spawner.started = None

    def pass_time(self, seconds: float) -> None:
        """Time goes on, and with it the Hub's own polls."""
        until = self.now + seconds
        while self.up and self._polled_at + HUB_POLL_SECONDS <= until:
            self._polled_at += HUB_POLL_SECONDS
            self.now = max(self.now, self._polled_at)
            self._poll()
        self.now = until

    def close(self) -> None:
        if self.up:
            self.kill()
        self._folder.cleanup()

    # -- its servers ---------------------------------------------------------

    def start_server(self, username: str) -> None:
        assert self.recorder is not None
        spawner = self._spawners[username]
        # as the Hub does, it polls before it starts anew
        if spawner.orm_spawner.started is not None:
            self._end_dead(username)
        spawner.orm_spawner.started = self.wall()
        run = self._live[username] = TrueRun(username, self.now)
        self.runs.append(run)
        self.recorder.requested(spawner)
        self.now += 2.25
        self.recorder.polled(spawner, None, self.wall())
        self.recorder.polling(spawner)
        self.recorder.ready(spawner)

    def stop_server(self, username: str) -> None:
        assert self.recorder is not None
        spawner = self._spawners[username]
        with acting(f"user:{username}"):
            self.recorder.stopping(spawner)
            self.recorder.polled(spawner, None, self.wall())
            self._live.pop(username).ended = self.now
            spawner.orm_spawner.started = None
            self.recorder.ended(spawner, None)

    def kill_server(self, username: str) -> None:
        """The process dies; the Hub does not know yet."""
        self._live.pop(username).ended = self.now

    def running(self) -> list[str]:
        return sorted(self._live)

    def free(self) -> list[str]:
        return [username for username in USERS if username not in self._live]

    # -- what a check asks ---------------------------------------------------

    async def view(self) -> HubView:
        if not self.up:
            raise SourceUnavailable("the Hub does not answer")
        servers = {
            (username, ""): HubServer(username, "", spawner.orm_spawner.started, True)
            for username, spawner in self._spawners.items()
            if spawner.orm_spawner.started is not None
        }
        return HubView(servers, None, self.wall(), self.wall())

    # -- within --------------------------------------------------------------

    def _runs(self, username: str) -> bool:
        return username in self._live

    def _poll(self) -> None:
        assert self.recorder is not None
        for username, spawner in self._spawners.items():
            if spawner.orm_spawner.started is None:
                continue
            if self._runs(username):
                self.recorder.polled(spawner, None, self.wall())
            else:
                self._end_dead(username)

    def _end_dead(self, username: str) -> None:
        with acting(HUB_POLL):
            self._end(username, status=KILLED)

    def _end(self, username: str, status: int) -> None:
        assert self.recorder is not None
        spawner = self._spawners[username]
        self.recorder.polled(spawner, status, self.wall())
        self.recorder.stopping(spawner)
        self.recorder.polled(spawner, status, self.wall())
        spawner.orm_spawner.started = None
        self.recorder.ended(spawner, None)

    def _faultless(self) -> None:
        recorder: Any = self.recorder
        assert recorder.faults == 0, "the recorder met an error that it only logged"
