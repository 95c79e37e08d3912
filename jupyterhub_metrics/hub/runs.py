"""Which run a spawner is in: what this process remembers of it, beside the note on disk.

Called by the recorder only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ..model import session_id
from .clock import SessionClock
from .leftovers import is_leftover
from .note import Note
from .outbox import Outbox
from .started import stored_started


@dataclass
class Run:
    """What was seen of one run; see :class:`~jupyterhub_metrics.hub.outcome.Ending`.

    ``deciding`` is True from the moment polling stops: the next poll tells whether the process
    was still there when its stop began. ``facts`` are those already recorded.
    """

    clock: SessionClock
    alive_at: datetime
    started_at: datetime
    exit_status: int | None = None
    gone_at: datetime | None = None
    found_gone: bool | None = None
    deciding: bool = False
    stop_error: BaseException | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class SpawnerRow(NamedTuple):
    """A spawner as the Hub's database has it."""

    id: int
    username: str
    server_name: str
    started: datetime | None


class Runs:
    """The present run of each spawner, by the id of its row in the Hub's database."""

    def __init__(
        self,
        outbox: Outbox,
        hub_name: str,
        wall: Callable[[], datetime],
        monotonic: Callable[[], float],
        dialect: str,
    ) -> None:
        self._outbox = outbox
        self._hub_name = hub_name
        self._wall = wall
        self._monotonic = monotonic
        self._dialect = dialect
        self._runs: dict[int, Run] = {}

    def started(self, spawner: Any) -> datetime | None:
        """The start that the Hub has now for the spawner, as its database stores it."""
        started = spawner.orm_spawner.started
        return None if started is None else stored_started(aware(started), self._dialect)

    def note(self, spawner: Any) -> Note | None:
        """The note of the spawner's present run; one of an older run does not count."""
        note = self._outbox.note(row_id(spawner))
        started = spawner.orm_spawner.started
        if started is None and (run := self._runs.get(row_id(spawner))):
            # the Hub has cleared it
            started = run.started_at
        if note is None or started is None:
            return note
        return note if same_start(aware(started), note.started_at) else None

    def seen(self, spawner: Any) -> Run | None:
        """What this process has seen of the present run, noted or not."""
        note = self.note(spawner)
        return self.of(note) if note else self._runs.get(row_id(spawner))

    def unknown_to(self, rows: Iterable[SpawnerRow]) -> list[Note]:
        """The notes of runs whose row shows another start, or none.

        A row that is gone, or another user's, is that of a database that was made anew: nothing
        is known by it, and the process may live on, which drift settles.
        """
        row_of = {row.id: row for row in rows}
        unknown = []
        for note in self._outbox.notes():
            row = row_of.get(note.spawner_id)
            if row is None or row[1:3] != (note.current_username, note.server_name):
                continue
            if row.started is None or not same_start(aware(row.started), note.started_at):
                unknown.append(note)
        return unknown

    def before(self, spawner: Any) -> list[Note]:
        """The notes of earlier runs of the same server, of whose end nobody has told.

        A new start takes their place: JupyterHub runs a server once, and a spawner that finds one
        where it is to start its own removes it. Their rows may be of a database that was made anew.
        """
        username, server_name = spawner.user.name, spawner.name or ""
        # the name first: this is asked at every start, of all that is open
        return [
            note
            for note in self._outbox.notes()
            if note.current_username == username
            and note.server_name == server_name
            and not is_leftover(note)
        ]

    def of(self, note: Note) -> Run:
        """What was seen of a noted run: after a restart of the Hub, what its note tells."""
        run = self._runs.get(note.spawner_id)
        if run is None:
            clock = self._clock(note.alive_at)
            run = Run(clock, note.alive_at, note.started_at, gone_at=note.gone_at)
            self._runs[note.spawner_id] = run
        return run

    def begin(self, spawner: Any, started_at: datetime) -> Run:
        """Remember a new run, which nobody has noted yet."""
        clock = self._clock(started_at)
        run = self._runs[row_id(spawner)] = Run(clock, started_at, started_at)
        return run

    def new_note(self, spawner: Any, run: Run) -> Note:
        """A note of a run, not yet kept: here the session's id is derived, once."""
        username, server_name = spawner.user.name, spawner.name or ""
        return Note(
            spawner_id=row_id(spawner),
            session_id=session_id(self._hub_name, username, server_name, run.started_at),
            username=username,
            current_username=username,
            server_name=server_name,
            started_at=run.started_at,
            ready=False,
            alive_at=run.started_at,
        )

    def _clock(self, not_before: datetime) -> SessionClock:
        return SessionClock(not_before, wall=self._wall, monotonic=self._monotonic)

    def forget(self, note: Note) -> None:
        self._runs.pop(note.spawner_id, None)


def row_id(spawner: Any) -> int:
    return int(spawner.orm_spawner.id)


def aware(started: datetime) -> datetime:
    """JupyterHub keeps naive datetimes in UTC."""
    if started.tzinfo is None:
        return started.replace(tzinfo=timezone.utc)
    return started.astimezone(timezone.utc)


def same_start(one: datetime, other: datetime) -> bool:
    """Equal, or within the second to which some databases cut what they store."""
    return abs((one - other).total_seconds()) <= 1.0
