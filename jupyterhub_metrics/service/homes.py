"""Reads now and then how large homes are, and keeps what it read for the next snapshot.

Called by ``service.server``. Each of several services reads for itself. What a source told last
stays while it does not answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from ..errors import ConfigurationError, DatabaseUnavailable, SourceUnavailable
from ..sources.dirsize import Sizes
from ..sources.home_sizes import HomeSizes
from .database import Database
from .home_owners import Homes
from .metrics import Metrics

log = logging.getLogger(__name__)

SOURCE: Final = "home_sizes"
FIRST_READ_SECONDS: Final = 5.0
"""Soon after the start, when the database is likely to be open."""

RETRY_SECONDS: Final = 60.0
"""After a failure, unless the interval itself is shorter."""


class HomeReader:
    """The homes of the users of ``hubs``. ``run`` once, as a task, and ``close`` after it."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        source: HomeSizes,
        *,
        hubs: Sequence[str],
        own_namespace: str,
        clock: Callable[[], datetime],
    ) -> None:
        """``own_namespace`` is that of directories that nobody told a namespace of."""
        self._database = database
        self._metrics = metrics
        self._source = source
        self._hubs = hubs
        self._own_namespace = own_namespace
        self._clock = clock
        self._read: dict[str, tuple[Mapping[tuple[str, str], float], datetime]] = {}
        self._sizes: dict[tuple[str, str], float] = {}
        self._complaints: dict[str, str] = {}
        self._users: list[tuple[str, str]] = []
        metrics.watch_source(SOURCE, clock)

    async def run(self) -> None:
        """Reads for ever; what fails is tried again, not later than at the next interval."""
        interval = self._source.interval_seconds
        pause = min(FIRST_READ_SECONDS, interval)
        while True:
            await asyncio.sleep(pause)
            pause = min(RETRY_SECONDS, interval)
            try:
                if await self.read():
                    pause = interval
            except DatabaseUnavailable as error:
                self._database.lost(error)
            except Exception:
                self._metrics.task_errors.labels("homes").inc()
                log.exception("A reading of homes failed for a reason this code does not know")

    async def read(self) -> bool:
        """Reads every source once; whether all of them answered. Raises DatabaseUnavailable."""
        failed = False
        for url in self._source.urls:
            try:
                self._keep(url, await self._source.read(url))
            except (ConfigurationError, SourceUnavailable) as error:
                failed = True
                self._metrics.source_failures.labels(SOURCE).inc()
                self._complain(url, f"Sizes of homes stay as they were: {error}")
        self._sizes = _largest(sizes for sizes, _ in self._read.values())
        if len(self._read) == len(set(self._source.urls)):
            # as old as the oldest of what is shown
            self._metrics.source_answered(SOURCE, min(at for _, at in self._read.values()))
        self._users = await self._database.store().reading.usernames(self._hubs)
        return not failed

    def homes(self) -> Homes:
        """What was last read of each source; of a directory of several its largest size."""
        return Homes(self._sizes, self._users)

    def close(self) -> None:
        """Ends its connections."""
        self._source.close()

    def _keep(self, url: str, told: Sizes) -> None:
        sizes = _largest(
            {(directory.namespace or self._own_namespace, directory.name): size}
            for directory, size in told.by_directory.items()
        )
        self._read[url] = (sizes, self._clock())
        if told.unusable:
            self._complain(
                url,
                f"HomeSizes.urls[{self._source.urls.index(url)}] told of {told.unusable} "
                "directories without a name or with a size that is no number of bytes; expected "
                "both; these are left out, see what the exporter says of them",
            )
        elif self._complaints.pop(url, None) is not None:
            log.info("Sizes of homes are read again")

    def _complain(self, url: str, complaint: str) -> None:
        if complaint != self._complaints.get(url):
            log.warning("%s", complaint)
        self._complaints[url] = complaint


def _largest(several: Iterable[Mapping[tuple[str, str], float]]) -> dict[tuple[str, str], float]:
    """All in one, of what is told several times the largest."""
    largest: dict[tuple[str, str], float] = {}
    for sizes in several:
        for directory, size in sizes.items():
            largest[directory] = max(size, largest.get(directory, 0.0))
    return largest
