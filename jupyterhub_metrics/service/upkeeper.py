"""Does the database's upkeep, a little at a time, and tells how far behind it is.

Called by ``service.server``. What there is to do stands in ``store.upkeep``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from ..errors import DatabaseUnavailable
from ..store import UpkeepRules
from .database import Database
from .metrics import Metrics

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 60.0
BUSY_SECONDS: Final = 1.0
"""Until the next round while something is left to do."""


class Upkeeper:
    """Rounds of upkeep. ``run`` once, as a task."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        *,
        rules: UpkeepRules,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._rules = rules
        self._clock = clock
        metrics.watch_upkeep(clock)

    async def run(self) -> None:
        """Rounds for ever; what fails is tried again in the next."""
        while True:
            pause = ROUND_SECONDS
            try:
                if await self.round():
                    pause = BUSY_SECONDS
            except DatabaseUnavailable as error:
                self._database.lost(error)
            except Exception:
                self._metrics.task_errors.labels("upkeep").inc()
                log.exception("Upkeep failed for a reason this code does not know")
            await asyncio.sleep(pause)

    async def round(self) -> bool:
        """One round; whether it has done something. Raises DatabaseUnavailable."""
        now = self._clock()
        found = await self._database.store().upkeep(self._rules, now)
        self._metrics.upkept(found.lag_seconds, now)
        for duty, count in found.done.items():
            if count:
                log.debug("Upkeep: %s, %s done", duty, count)
        return any(found.done.values())
