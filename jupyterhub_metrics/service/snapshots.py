"""Reads at every interval what is true now, for scrapes to be answered from.

Called by ``service.server``. Several services of one database read the same and so tell the same.
While the database is away the last snapshot stays, and its age is told.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from prometheus_client import Metric

from ..errors import MetricsError
from ..store import Present
from .database import Database
from .homes import HomeReader
from .metrics import Metrics
from .present_families import Disk, Seen, present_families
from .user_families import UserRules, user_families

log = logging.getLogger(__name__)

SOURCE: Final = "database"
RETRY_SECONDS: Final = 2.0


class Snapshots:
    """``run`` once, as a task."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        *,
        interval: timedelta,
        hubs: Sequence[str],
        user_rules: UserRules | None,
        homes: HomeReader | None = None,
        data_dir: Path,
        database_limit_bytes: int | None = None,
        clock: Callable[[], datetime],
    ) -> None:
        """``hubs`` have series from the first snapshot on; ``user_rules`` is None where users are
        not shown one by one, ``homes`` where nobody reads them."""
        self._database = database
        self._metrics = metrics
        self._interval = interval
        self._hubs = hubs
        self._user_rules = user_rules
        self._homes = homes
        self._data_dir = data_dir
        self._database_limit_bytes = database_limit_bytes
        self._clock = clock
        self._complaint = ""
        metrics.watch_source(SOURCE, clock)

    async def run(self) -> None:
        """Takes snapshots for ever; what fails is tried again."""
        interval = self._interval.total_seconds()
        while True:
            pause = interval
            try:
                await self.take()
            except MetricsError as error:
                self._failed(str(error))
                pause = min(RETRY_SECONDS, interval)
            except Exception:
                self._metrics.task_errors.labels("snapshots").inc()
                log.exception("A snapshot failed for a reason this code does not know")
            await asyncio.sleep(pause)

    async def take(self) -> None:
        """One snapshot, which scrapes then show. Raises DatabaseUnavailable or
        SchemaMismatch."""
        present = self._database.store().present
        now = self._clock()
        with self._metrics.snapshot_duration.time():
            families = await self._families(present, now)
            # while it is rendered, posts and scrapes go on
            snapshot = await asyncio.to_thread(self._metrics.rendered, families)
        self._metrics.show(snapshot)
        self._metrics.source_answered(SOURCE, now)
        self._complaint = ""

    def _failed(self, complaint: str) -> None:
        """Posts of events go on: whether the database is away is for others to find out."""
        self._metrics.source_failures.labels(SOURCE).inc()
        if complaint != self._complaint and self._database.reason is None:
            log.warning("Metrics keep telling of the last snapshot: %s", complaint)
            self._complaint = complaint

    async def _families(self, present: Present, now: datetime) -> list[Metric]:
        disk = await asyncio.to_thread(shutil.disk_usage, self._data_dir)
        seen = Seen(
            sessions=await present.open_sessions(),
            users=await present.active_users(now),
            database_bytes=await present.database_bytes(),
            database_limit_bytes=self._database_limit_bytes,
            disk=Disk(disk.total, disk.free),
        )
        families = await asyncio.to_thread(present_families, seen, self._hubs)
        if self._user_rules is not None:
            members, users = await present.members(), await present.users_and_requests(now)
            homes = self._homes.homes() if self._homes is not None else None
            families += await asyncio.to_thread(
                user_families, self._user_rules, members, users, homes
            )
        return families
