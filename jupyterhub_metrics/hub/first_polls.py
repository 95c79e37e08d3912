"""Asks each server once whether it is there, as soon as it is ready.

Called by the recording spawner. The Hub's own first poll may be half a minute away, and that a
server was routed does not say that it was alive then: without this, one that dies early would be
known to have lived until its start only.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .._tasks import end


class FirstPolls:
    """The polls under way; ``close`` it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, spawner: Any) -> None:
        """Poll the spawner soon, and let the recorder hear of it. Call it from the event loop."""
        name = f"metrics-first-poll-{spawner._log_name}"
        task = asyncio.create_task(self._poll(spawner), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ask no more."""
        await end(self._tasks)

    async def _poll(self, spawner: Any) -> None:
        try:
            await spawner.poll()
        except Exception:  # noqa: BLE001 - its traceback is logged
            self._log.debug("Cannot poll %s yet", spawner._log_name, exc_info=True)
