"""The recorder's local disk: events not yet acknowledged, and the note of what is open.

Called by the recorder (appends, inside a spawner's hook) and by the delivery task (reads and
acknowledges). One SQLite file in WAL mode: a write survives the process being killed; after a
power cut the last writes may be missing and drift repairs them (https://sqlite.org/wal.html).

When the disk refuses (full, read-only, gone) nothing is raised: changes queue in memory, in
order, until the disk takes them again or they are delivered from there.
"""

from __future__ import annotations

import contextlib
import itertools
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
from .note import Note, note_from_row

MEMORY_LIMIT_EVENTS = 100_000
"""Events held in memory at most while the disk refuses; beyond it the newest are lost."""

SAVED_AT_ONCE = 500
"""Events brought from memory to disk in one transaction, which holds up the event loop."""

CHECKPOINT_WRITES = 200
CHECKPOINT_SECONDS = 30.0
WAL_LIMIT_BYTES = 4 * 2**20
"""To which SQLite cuts its log when it begins it anew."""

BUSY_SECONDS = 0.005
"""How long a write waits for another process that holds the file, such as a backup."""


@dataclass(frozen=True)
class Waiting:
    """One event on its way: ``token`` names it when it is acknowledged."""

    token: int
    body: str


@dataclass(frozen=True)
class Depth:
    """How much waits: events on disk and in memory, seconds since the oldest was added.

    ``lost`` counts events that neither disk nor memory could take, ``set_aside`` those that the
    service refused and that wait for a person.
    """

    events: int
    oldest_seconds: float | None
    in_memory: int
    lost: int
    set_aside: int


class Outbox:
    """Open it with :meth:`open`; it works without a disk from the first moment."""

    def __init__(
        self, path: Path, log: logging.Logger, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self.log = log
        self.lost_events = 0
        self._clock = clock
        self._sql = load_named("outbox", "outbox.sql")
        self._db: sqlite3.Connection | None = None
        self._notes: dict[int, Note] = {}
        self._unsaved_notes: set[int] = set()
        self._memory: deque[tuple[float, str]] = deque()
        self._memory_token = 0
        self._on_disk = 0
        self._set_aside = 0
        self._acknowledged: set[int] = set()
        self._writes = 0
        self._checkpointed_at = clock()
        self._refused = False

    def open(self) -> None:
        """Open or create the file and read the notes; on failure work in memory and say so.

        A disk that takes no writes does not hide what was noted on it.
        """
        try:
            self._connect()
        except (sqlite3.Error, OSError) as error:
            self._disk_refuses(error)
            self._read_notes_alone()

    def close(self) -> None:
        """Write what is still in memory, if the disk takes it, and close the file."""
        while self._memory and self.save():
            continue
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
        """What is open of a spawner row, if anything."""
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
        if rows and self._db is not None:
            self._attempt(lambda db: db.executemany(self._sql["touch_note"], rows))

    # -- writing -------------------------------------------------------------

    def append(
        self, events: Sequence[Event], *, keep: Note | None = None, drop: int | None = None
    ) -> None:
        """Keep events and a change of the note, together or not at all. Never raises.

        ``keep`` replaces the note of its spawner, ``drop`` removes one.
        """
        changed = set()
        if keep is not None:
            self._notes[keep.spawner_id] = keep
            changed.add(keep.spawner_id)
        if drop is not None:
            self._notes.pop(drop, None)
            changed.add(drop)
        now = self._clock()
        rows = [(now, event.to_json()) for event in events]
        in_order = self._db is not None and not self._memory and not self._unsaved_notes
        if in_order and self._attempt(lambda db: self._write(db, rows, changed)):
            self._on_disk += len(rows)
            return
        self._unsaved_notes |= changed
        for row in rows:
            if len(self._memory) < MEMORY_LIMIT_EVENTS:
                self._memory.append(row)
            else:
                self._lose()

    def save(self) -> bool:
        """Bring to disk some of what had to wait in memory, the oldest first.

        True if the disk took it, or nothing waited; there may be more.
        """
        if not self._memory and not self._unsaved_notes and self._db is not None:
            return True
        if self._db is None:
            try:
                self._connect()
            except (sqlite3.Error, OSError) as error:
                self._disk_refuses(error)
                return False
        rows = list(itertools.islice(self._memory, SAVED_AT_ONCE))
        notes = set(self._unsaved_notes) if len(rows) == len(self._memory) else set()
        if not self._attempt(lambda db: self._write(db, rows, notes)):
            return False
        for _ in rows:
            self._memory.popleft()
        self._memory_token += len(rows)
        self._on_disk += len(rows)
        self._unsaved_notes -= notes
        return True

    # -- delivery ------------------------------------------------------------

    def waiting(self, limit: int) -> list[Waiting]:
        """The oldest events, at most ``limit``, in the order in which they were added.

        None at all if the disk cannot be read: what is newer must not overtake what is on it.
        """
        if self._db is not None:
            try:
                # those already acknowledged stand first, where the disk could not forget them
                most = limit + len(self._acknowledged)
                rows = self._db.execute(self._sql["next_events"], (most,)).fetchall()
            except sqlite3.Error as error:
                self._disk_refuses(error)
                return []
            left = [Waiting(seq, body) for seq, body in rows if seq not in self._acknowledged]
            if left:
                return left[:limit]
        head = itertools.islice(self._memory, limit)
        return [Waiting(-1 - self._memory_token - i, body) for i, (_, body) in enumerate(head)]

    def acknowledge(self, delivered: Sequence[Waiting]) -> None:
        """Forget events that the service has committed; they are not sent again by this process,
        even where the disk cannot forget them yet."""
        for item in sorted(delivered, key=lambda item: item.token, reverse=True):
            if item.token > 0:
                self._acknowledged.add(item.token)
            elif self._memory and item.token == -1 - self._memory_token:
                self._memory.popleft()
                self._memory_token += 1
        rows = [(token,) for token in self._acknowledged]
        if rows and self._attempt(lambda db: db.executemany(self._sql["drop_event"], rows)):
            self._on_disk -= len(rows)
            self._acknowledged.clear()

    def set_aside(self, refused: Waiting, message: str) -> bool:
        """Keep a refused event where it no longer blocks the others; False if the disk refuses."""
        if refused.token < 0:
            return False

        def move(db: sqlite3.Connection) -> None:
            now = self._clock()
            db.execute(self._sql["set_aside_event"], (message, now, refused.token))
            db.execute(self._sql["drop_event"], (refused.token,))

        if not self._attempt(move):
            return False
        self._on_disk -= 1
        self._set_aside += 1
        return True

    def depth(self) -> Depth:
        """How much waits, cheap to ask at any depth."""
        oldest = None
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                found = self._db.execute(self._sql["oldest"]).fetchone()
                oldest = found[0] if found else None
        if oldest is None and self._memory:
            oldest = self._memory[0][0]
        return Depth(
            events=self._on_disk - len(self._acknowledged) + len(self._memory),
            oldest_seconds=None if oldest is None else max(0.0, self._clock() - oldest),
            in_memory=len(self._memory),
            lost=self.lost_events,
            set_aside=self._set_aside,
        )

    # -- the file ------------------------------------------------------------

    def checkpoint_is_due(self) -> bool:
        """Whether enough was written, or long enough ago, to move the log into the file."""
        waited = self._clock() - self._checkpointed_at >= CHECKPOINT_SECONDS
        return self._writes >= CHECKPOINT_WRITES or (self._writes > 0 and waited)

    def log_is_long(self) -> bool:
        """Whether the write-ahead log is past the length at which it should have begun anew."""
        log = self.path.with_name(f"{self.path.name}-wal")
        with contextlib.suppress(OSError):
            return log.stat().st_size > WAL_LIMIT_BYTES
        return False

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file. Call it from a thread: it waits for the disk.

        Appends go on meanwhile; without it they would pay for it, one in some hundred.
        """
        self._writes = 0
        self._checkpointed_at = self._clock()
        if not self.path.exists():
            return
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as db,
        ):
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _connect(self) -> None:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        try:
            self.path.chmod(0o600)
            db.execute("PRAGMA journal_mode=WAL").fetchone()
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA wal_autocheckpoint=0")
            db.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}").fetchone()
            with db:
                for name in ("create_outbox", "create_set_aside", "create_notes"):
                    db.execute(self._sql[name])
                if ("gone_at",) not in db.execute(self._sql["note_columns"]).fetchall():
                    db.execute(self._sql["add_gone_at"])
            notes = db.execute(self._sql["notes"]).fetchall()
            self._on_disk = db.execute(self._sql["count_events"]).fetchone()[0]
            self._set_aside = db.execute(self._sql["count_set_aside"]).fetchone()[0]
        except BaseException:
            db.close()
            raise
        self._learn(notes)
        self._db = db

    def _read_notes_alone(self) -> None:
        """As far as the disk lets them be read without a byte being written.

        Held exclusively, a file in WAL mode needs no index beside it, which a full disk could not
        take (https://sqlite.org/wal.html, "Use of WAL Without Shared-Memory").
        """
        if not self.path.exists():
            return
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as db,
        ):
            db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
            self._learn(db.execute(self._sql["notes"]).fetchall())

    def _learn(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for note in map(note_from_row, rows):
            if note.spawner_id not in self._unsaved_notes:
                self._notes.setdefault(note.spawner_id, note)

    def _attempt(self, change: Callable[[sqlite3.Connection], object]) -> bool:
        """One transaction; whether the disk took it."""
        if self._db is None:
            return False
        try:
            with self._db:
                change(self._db)
        except sqlite3.Error as error:
            self._disk_refuses(error)
            return False
        self._writes += 1
        if self._refused:
            self._refused = False
            self.log.info("Outbox %s: the disk takes events again", self.path)
        return True

    def _write(
        self, db: sqlite3.Connection, events: list[tuple[float, str]], spawners: set[int]
    ) -> None:
        db.executemany(self._sql["add_event"], [(body, added) for added, body in events])
        for spawner_id in spawners:
            note = self._notes.get(spawner_id)
            if note is None:
                db.execute(self._sql["drop_note"], (spawner_id,))
            else:
                db.execute(self._sql["keep_note"], note.to_row())

    def _lose(self) -> None:
        self.lost_events += 1
        if self.lost_events % 10_000 == 1:
            self.log.error(
                "Outbox %s: %d events are lost so far: the disk refuses and memory holds its "
                "limit of %d; free the disk and start the service",
                self.path,
                self.lost_events,
                MEMORY_LIMIT_EVENTS,
            )

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
