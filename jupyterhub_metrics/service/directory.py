"""Asks Microsoft Graph now and then who the users are, and keeps what it says.

Called by ``service.server``. A directory that does not answer takes nothing away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from ..errors import ConfigurationError, DatabaseUnavailable, SourceUnavailable
from ..sources.graph import MicrosoftGraph
from ..store import Statement
from .database import Database
from .metrics import Metrics

log = logging.getLogger(__name__)

FIRST_ASK_SECONDS: Final = 30.0
"""Soon after the start, when the database is likely to be open."""

RETRY_SECONDS: Final = 300.0
"""After a failure, unless the interval itself is shorter."""


class Directory:
    """One Hub's users in Microsoft Graph. ``run`` once, as a task, and ``close`` after it."""

    def __init__(
        self,
        hub_name: str,
        database: Database,
        metrics: Metrics,
        graph: MicrosoftGraph,
        *,
        interval: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._hub_name = hub_name
        self._database = database
        self._metrics = metrics
        self._graph = graph
        self._interval = interval
        self._clock = clock
        metrics.watch_source("graph", clock)

    async def run(self) -> None:
        """Asks for ever; what fails is tried again sooner than the next interval."""
        interval = self._interval.total_seconds()
        pause = min(FIRST_ASK_SECONDS, interval)
        while True:
            await asyncio.sleep(pause)
            pause = min(RETRY_SECONDS, interval)
            try:
                await self.refresh()
                pause = interval
            except DatabaseUnavailable as error:
                self._database.lost(error)
            except (ConfigurationError, SourceUnavailable) as error:
                self._metrics.source_failures.labels("graph").inc()
                log.warning("What is known of people stays as it was: %s", error)
            except Exception:
                self._metrics.task_errors.labels("directory").inc()
                log.exception("A refresh of people failed for a reason this code does not know")

    async def refresh(self) -> int:
        """Asks once; gives of how many users the directory told.

        Raises DatabaseUnavailable, ConfigurationError or SourceUnavailable.
        """
        store = self._database.store()
        known = await store.people(self._hub_name)
        found = await self._graph.people(known)
        now = self._clock()
        await store.record_people(
            [
                Statement(self._hub_name, username, "graph", now, fields)
                for username, fields in found.items()
            ]
        )
        self._metrics.source_answered("graph", now)
        log.info("Microsoft Graph told of %d of %d users", len(found), len(known))
        return len(found)

    def close(self) -> None:
        """Ends its connections."""
        self._graph.close()
