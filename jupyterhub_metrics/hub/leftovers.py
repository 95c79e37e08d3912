"""Servers that the Hub has given up, because stopping them raised, and that may live on.

JupyterHub forgets such a server and polls it no more. Called by the recorder, which asks the
spawner itself until the server is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .._tasks import end
from .alive import AliveNotes
from .note import Note

DEFAULT_POLL_SECONDS = 30.0
"""Where the deployment polls no servers: JupyterHub's own default."""


def leftover(note: Note) -> Note:
    """The note of a run that may live on, where a new start of the same server does not find it."""
    return replace(note, spawner_id=-abs(note.spawner_id), gone_at=None)


def is_leftover(note: Note) -> bool:
    return note.spawner_id < 0


@dataclass(frozen=True)
class Gone:
    """``alive_at`` is when it was last there, ``status`` what the first poll without it said."""

    note: Note
    alive_at: datetime
    status: Any


class Leftovers:
    """``told`` is called once for each leftover that is gone."""

    def __init__(
        self,
        alive: AliveNotes,
        told: Callable[[Any, Gone], None],
        wall: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._alive = alive
        self._told = told
        self._wall = wall
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, spawner: Any, note: Note) -> None:
        """Begin to ask. Call it from the running event loop, before the Hub clears its state."""
        work = self._ask_until_gone(spawner, note, spawner.get_state())
        task = asyncio.create_task(work, name=f"metrics-leftover-{note.session_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ask no more; the notes stay, and the Hub's next start settles them."""
        await end(self._tasks)

    async def _ask_until_gone(self, spawner: Any, note: Note, state: dict[str, Any]) -> None:
        every_seconds = float(getattr(spawner, "poll_interval", 0))
        if every_seconds <= 0:
            every_seconds = DEFAULT_POLL_SECONDS
        alive_at, level = note.alive_at, logging.WARNING
        while True:
            await asyncio.sleep(every_seconds)
            began = self._wall()
            # the Hub has cleared it, and for a new start it makes a spawner of its own
            spawner.load_state(state)
            try:
                status = await spawner.poll_unrecorded()
            except Exception:  # noqa: BLE001 - its traceback is logged
                self._log.log(
                    level,
                    "Cannot poll %s, whose stop raised; its session stays open until a poll finds "
                    "it gone or the Hub starts again",
                    spawner._log_name,
                    exc_info=True,
                )
                level = logging.DEBUG
                continue
            if status is not None:
                self._told(spawner, Gone(note, alive_at, status))
                return
            alive_at = max(alive_at, began)
            self._alive.seen(note, alive_at)
