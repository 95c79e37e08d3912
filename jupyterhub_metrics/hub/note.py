"""One open session as the Hub's own disk remembers it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..model import isoformat, moment_of


@dataclass(frozen=True)
class Note:
    """What is open, by the id of the Hub's spawner row.

    ``username`` is the name the session's id is derived from; ``current_username`` follows a
    rename. ``alive_at`` is the last moment at which the server was known to be there, ``gone_at``
    the first at which a poll said since that it was not.
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
    gone_at: datetime | None = None

    def to_row(self) -> tuple[object, ...]:
        """As ``keep_note`` of ``sql/outbox`` takes it."""
        return (
            self.spawner_id,
            str(self.session_id),
            self.username,
            self.current_username,
            self.server_name,
            isoformat(self.started_at),
            int(self.ready),
            self.stopping_by,
            isoformat(self.alive_at),
            None if self.gone_at is None else isoformat(self.gone_at),
        )


def note_from_row(row: tuple[Any, ...]) -> Note:
    """A note from a row of ``notes``, the query of ``sql/outbox``."""
    spawner_id, session, username, current, server_name, started, ready, by, alive, gone = row
    return Note(
        spawner_id=spawner_id,
        session_id=uuid.UUID(session),
        username=username,
        current_username=current,
        server_name=server_name,
        started_at=moment_of(started),
        ready=bool(ready),
        stopping_by=by,
        alive_at=moment_of(alive),
        gone_at=None if gone is None else moment_of(gone),
    )
