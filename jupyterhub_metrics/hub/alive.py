"""When each server was last seen alive, written down soon after it was seen, many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .note import Note
from .outbox import Outbox

DELAY_SECONDS = 0.5
"""How long a good poll may stand in memory only: it widens the interval of a death by as much."""

ROWS = 200
"""How many are written at once, so that no write holds up the event loop."""

Later = Callable[[float, Callable[[], None]], Any]


def on_the_loop(seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
    """Calls back on the running event loop."""
    return asyncio.get_running_loop().call_later(seconds, call)


class AliveNotes:
    """``later`` calls back after so many seconds and gives something that can be cancelled."""

    def __init__(self, outbox: Outbox, later: Later = on_the_loop) -> None:
        self._outbox = outbox
        self._later = later
        self._alive: dict[int, datetime] = {}
        self._alarm: Any = None

    def seen(self, note: Note, moment: datetime) -> None:
        """A server was there at this moment."""
        self._alive[note.spawner_id] = moment
        if self._alarm is None:
            self._alarm = self._later(DELAY_SECONDS, self._due)

    def forget(self, note: Note) -> None:
        """Its run is over."""
        self._alive.pop(note.spawner_id, None)

    def write(self) -> None:
        """Write down now what waits."""
        while self._alive:
            self._write_some()

    def close(self) -> None:
        """Write down what waits and call back no more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.write()

    def _due(self) -> None:
        self._alarm = None
        self._write_some()
        if self._alive:
            self._alarm = self._later(0, self._due)

    def _write_some(self) -> None:
        some = [self._alive.popitem() for _ in range(min(ROWS, len(self._alive)))]
        notes = ((self._outbox.note(spawner_id), at) for spawner_id, at in some)
        self._outbox.touch([(note.spawner_id, note.session_id, at) for note, at in notes if note])


class StartsUnderWay:
    """Vouches, every so often, for the starts that the Hub is waiting for: it polls none of them.

    ``vouch`` is called with the id of the spawner's row.
    """

    def __init__(self, vouch: Callable[[int], None], later: Later = on_the_loop) -> None:
        self._vouch = vouch
        self._later = later
        self._alarms: dict[int, Any] = {}

    def begin(self, spawner_id: int, every_seconds: float) -> None:
        """A start began; ``every_seconds`` is how often its server will be polled, 0 for never."""
        self.end(spawner_id)
        if every_seconds > 0:
            self._again(spawner_id, every_seconds)

    def end(self, spawner_id: int) -> None:
        """It succeeded or failed, or polls vouch for it from now on."""
        if alarm := self._alarms.pop(spawner_id, None):
            alarm.cancel()

    def close(self) -> None:
        for spawner_id in list(self._alarms):
            self.end(spawner_id)

    def _again(self, spawner_id: int, every_seconds: float) -> None:
        def due() -> None:
            self._again(spawner_id, every_seconds)
            self._vouch(spawner_id)

        self._alarms[spawner_id] = self._later(every_seconds, due)
