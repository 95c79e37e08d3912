"""The recorder's local disk: events not yet acknowledged, and the note of what is open.

Called by the recorder (appends, inside a spawner's hook) and by the delivery task (reads and
acknowledges). One SQLite file in WAL mode: a write survives the process being killed; after a
power cut the last writes may be missing and drift repairs them (https://sqlite.org/wal.html).

When the disk refuses (full, read-only, gone) nothing is raised: changes queue in memory, in
order, until the disk takes them again or they are delivered from there.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from .._sql import load_named
from ..model import Event, isoformat

MEMORY_LIMIT_EVENTS = 100_000
"""Events held in memory at most while the disk refuses; beyond it the newest are lost."""


@dataclass(frozen=True)
class Note:
    """One open session as the Hub's own disk remembers it, by the id of the Hub's spawner row.

    ``username`` is the name the session's id is derived from; ``current_username`` follows a
    rename. ``alive_at`` is the last moment at which the server was known to be there.
    """

    spawner_id: int
    session_id: uuid.UUID
    username: str
    current_username: str
    server_name: str
    started_at: datetime
    ready: bool
    alive_at: datetime
    stopping_by: str | None = None


@dataclass(frozen=True)
class Waiting:
    """One event on its way: ``token`` names it when it is acknowledged."""

    token: int
    body: str


@dataclass(frozen=True)
class Depth:
    """How much waits: events on disk and in memory, seconds since the oldest was added."""

    events: int
    oldest_seconds: float | None
    in_memory: int
    lost: int
    set_aside: int


class Outbox:
    """Open it with :meth:`open`; it works without a disk from the first moment."""

    def __init__(
        self,
        path: Path,
        log: logging.Logger,
        *,
        clock: Callable[[], float] = time.time,
        synchronous: str = "NORMAL",
    ) -> None:
        self.path = path
        self.log = log
        self._clock = clock
        self._synchronous = synchronous
        self._sql = load_named("outbox", "outbox.sql")
        self._db: sqlite3.Connection | None = None
        self._notes: dict[int, Note] = {}
        self._memory: deque[tuple[float, str]] = deque()
        self._memory_token = 0
        self._unsaved_notes: set[int] = set()
        self._refused = False
        self.lost_events = 0

    def open(self) -> None:
        """Open or create the file and read the notes; on failure work in memory and say so."""
        try:
            self._connect()
        except (sqlite3.Error, OSError) as error:
            self._disk_refuses(error)

    def close(self) -> None:
        """Write what is still in memory, if the disk takes it, and close the file."""
        self.save()
        if self._memory:
            self.log.error(
                "Outbox %s: %d events could not be written before the end and are lost; "
                "free the disk or make the folder writable",
                self.path,
                len(self._memory),
            )
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    # -- the note ------------------------------------------------------------

    def note(self, spawner_id: int) -> Note | None:
        return self._notes.get(spawner_id)

    def notes(self) -> list[Note]:
        """All open sessions, in no particular order."""
        return list(self._notes.values())

    def touch(self, alive: Iterable[tuple[int, uuid.UUID, datetime]]) -> None:
        """Remember when servers were last seen alive: (spawner id, session id, moment)."""
        rows = []
        for spawner_id, session, moment in alive:
            note = self._notes.get(spawner_id)
            if note is None or note.session_id != session or note.alive_at >= moment:
                continue
            self._notes[spawner_id] = replace(note, alive_at=moment)
            rows.append((isoformat(moment), spawner_id, str(session)))
        if not rows or self._db is None:
            return
        try:
            with self._db:
                self._db.executemany(self._sql["touch_note"], rows)
        except sqlite3.Error as error:
            self._disk_refuses(error)

    # -- writing -------------------------------------------------------------

    def append(
        self, events: Sequence[Event], *, keep: Note | None = None, drop: int | None = None
    ) -> None:
        """Keep events and a change of the note, together or not at all. Never raises.

        ``keep`` replaces the note of its spawner, ``drop`` removes one.
        """
        if keep is not None:
            self._notes[keep.spawner_id] = keep
        if drop is not None:
            self._notes.pop(drop, None)
        touched = {keep.spawner_id} if keep else set()
        if drop is not None:
            touched.add(drop)
        now = self._clock()
        bodies = [event.to_json() for event in events]
        if self._db is not None and not self._memory and not self._unsaved_notes:
            try:
                with self._db:
                    self._write(self._db, [(now, body) for body in bodies], touched)
                return
            except sqlite3.Error as error:
                self._disk_refuses(error)
        self._unsaved_notes |= touched
        for body in bodies:
            if len(self._memory) >= MEMORY_LIMIT_EVENTS:
                self.lost_events += 1
            else:
                self._memory.append((now, body))

    def save(self) -> bool:
        """Try to bring to disk what had to wait in memory. True when nothing waits there."""
        if not self._memory and not self._unsaved_notes and self._db is not None:
            return True
        try:
            db = self._db or self._connect()
            with db:
                self._write(db, list(self._memory), set(self._unsaved_notes))
        except (sqlite3.Error, OSError) as error:
            self._disk_refuses(error)
            return False
        self._memory_token += len(self._memory)
        self._memory.clear()
        self._unsaved_notes.clear()
        if self._refused:
            self._refused = False
            self.log.info("Outbox %s: the disk takes events again", self.path)
        return True

    # -- delivery ------------------------------------------------------------

    def waiting(self, limit: int) -> list[Waiting]:
        """The oldest events, at most ``limit``, in the order in which they were added."""
        if self._db is not None:
            try:
                rows = self._db.execute(self._sql["next_events"], (limit,)).fetchall()
            except sqlite3.Error as error:
                self._disk_refuses(error)
                rows = []
            if rows:
                return [Waiting(seq, body) for seq, body in rows]
        head = [body for _, body in list(self._memory)[:limit]]
        return [Waiting(-1 - self._memory_token - i, body) for i, body in enumerate(head)]

    def acknowledge(self, delivered: Sequence[Waiting]) -> None:
        """Forget events that the service has committed."""
        on_disk = [(item.token,) for item in delivered if item.token > 0]
        self._forget_memory(item.token for item in delivered if item.token < 0)
        if on_disk and self._db is not None:
            try:
                with self._db:
                    self._db.executemany(self._sql["drop_event"], on_disk)
            except sqlite3.Error as error:
                # They are sent again later, which changes nothing.
                self._disk_refuses(error)

    def set_aside(self, refused: Waiting, message: str) -> None:
        """Keep a refused event where it no longer blocks the others."""
        if refused.token < 0 or self._db is None:
            self.log.error("Event refused (%s) and not kept, the disk refuses too", message)
            self._forget_memory([refused.token])
            self.lost_events += 1
            return
        try:
            with self._db:
                self._db.execute(
                    self._sql["set_aside_event"], (message, self._clock(), refused.token)
                )
                self._db.execute(self._sql["drop_event"], (refused.token,))
        except sqlite3.Error as error:
            self._disk_refuses(error)

    def depth(self) -> Depth:
        count, oldest, aside = 0, None, 0
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                count, oldest = self._db.execute(self._sql["depth"]).fetchone()
                aside = self._db.execute(self._sql["count_set_aside"]).fetchone()[0]
        if oldest is None and self._memory:
            oldest = self._memory[0][0]
        age = None if oldest is None else max(0.0, self._clock() - oldest)
        return Depth(count + len(self._memory), age, len(self._memory), self.lost_events, aside)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file. Call it from a thread: it waits for the disk.

        Appends go on meanwhile; without it they would pay for it, one in some hundred.
        """
        if not self.path.exists():
            return
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(self.path, timeout=0.05)) as db,
        ):
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    # -- within --------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=0.05)
        try:
            self.path.chmod(0o600)
            db.execute("PRAGMA journal_mode=WAL").fetchone()
            db.execute(f"PRAGMA synchronous={self._synchronous}")
            db.execute("PRAGMA wal_autocheckpoint=0")
            with db:
                for name in ("create_outbox", "create_set_aside", "create_notes"):
                    db.execute(self._sql[name])
            rows = db.execute(self._sql["notes"]).fetchall()
        except BaseException:
            db.close()
            raise
        for row in rows:
            if row[0] not in self._unsaved_notes:
                self._notes.setdefault(row[0], _note_of(row))
        self._db = db
        return db

    def _write(
        self, db: sqlite3.Connection, events: list[tuple[float, str]], spawners: set[int]
    ) -> None:
        db.executemany(self._sql["add_event"], [(body, added) for added, body in events])
        for spawner_id in spawners:
            note = self._notes.get(spawner_id)
            if note is None:
                db.execute(self._sql["drop_note"], (spawner_id,))
            else:
                db.execute(self._sql["keep_note"], _row_of(note))

    def _forget_memory(self, tokens: Iterable[int]) -> None:
        for token in sorted(tokens, reverse=True):
            if self._memory and token == -1 - self._memory_token:
                self._memory.popleft()
                self._memory_token += 1

    def _disk_refuses(self, error: Exception) -> None:
        if not self._refused:
            self._refused = True
            self.log.error(
                "Outbox %s: found %s; expected a writable disk with free space; events are held "
                "in memory (at most %d) and are at risk until it is writable again",
                self.path,
                error,
                MEMORY_LIMIT_EVENTS,
            )


def _row_of(note: Note) -> tuple[object, ...]:
    return (
        note.spawner_id,
        str(note.session_id),
        note.username,
        note.current_username,
        note.server_name,
        isoformat(note.started_at),
        int(note.ready),
        note.stopping_by,
        isoformat(note.alive_at),
    )


def _note_of(row: tuple[Any, ...]) -> Note:
    spawner_id, session, username, current, server_name, started, ready, by, alive = row
    return Note(
        spawner_id=spawner_id,
        session_id=uuid.UUID(session),
        username=username,
        current_username=current,
        server_name=server_name,
        started_at=_moment(started),
        ready=bool(ready),
        stopping_by=by,
        alive_at=_moment(alive),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
