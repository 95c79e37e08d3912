"""Which run a spawner is in: what this process remembers of it, beside the note on disk.

Called by the recorder only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..model import session_id
from .clock import SessionClock
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


class Runs:
    """The present run of each spawner, by the id of its row in the Hub's database."""

    def __init__(
        self, outbox: Outbox, hub_name: str, wall: Callable[[], datetime], dialect: str
    ) -> None:
        self._outbox = outbox
        self._hub_name = hub_name
        self._wall = wall
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
        if note is None or started is None:
            return note
        return note if same_start(aware(started), note.started_at) else None

    def seen(self, spawner: Any) -> Run | None:
        """What this process has seen of the present run, noted or not."""
        note = self.note(spawner)
        return self.of(note) if note else self._runs.get(row_id(spawner))

    def of(self, note: Note) -> Run:
        """What this process has seen of a noted run; empty after a restart of the Hub."""
        run = self._runs.get(note.spawner_id)
        if run is None:
            clock = SessionClock(note.alive_at, wall=self._wall)
            run = self._runs[note.spawner_id] = Run(clock, note.alive_at, note.started_at)
        return run

    def begin(self, spawner: Any, started_at: datetime) -> Run:
        """Remember a new run, which nobody has noted yet."""
        clock = SessionClock(started_at, wall=self._wall)
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

    def forget(self, note: Note) -> Run | None:
        return self._runs.pop(note.spawner_id, None)


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
