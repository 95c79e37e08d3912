"""Keeps the database open: opens it in the background, notices its loss, opens it again.

Called by ``service.app``; the handlers ask it for the open store. A database that is away never
stops the service, which says meanwhile why it cannot answer.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final, Protocol

from .._tasks import within
from ..errors import DatabaseUnavailable, MetricsError, SchemaMismatch
from ..store import PoolSize, Store
from .metrics import Metrics

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 15.0
SCHEMA_RETRY_SECONDS: Final = 30.0
CHECK_SECONDS: Final = 10.0
CHECK_TIMEOUT_SECONDS: Final = 10.0
RETRY_AFTER_SECONDS: Final = 5
"""What a caller is asked to wait; sent as ``Retry-After``."""


class Source(Protocol):
    """Where the store comes from."""

    async def open(self) -> Store:
        """Raises DatabaseUnavailable, SchemaMismatch or ConfigurationError."""

    def stale(self) -> bool:
        """Whether the place that :meth:`open` opened is no longer the one to use."""

    async def close(self) -> None:
        """Stops what :meth:`open` has started."""


class Database:
    """The store while it is open, and otherwise the reason why it is not."""

    def __init__(self, source: Source, metrics: Metrics) -> None:
        self._source = source
        self._metrics = metrics
        self._store: Store | None = None
        self._reason = "the database is being opened"
        self._up = False
        self._lost = asyncio.Event()
        self._attempt = 0
        metrics.watch_pool(self.pool_size)

    @property
    def reason(self) -> str | None:
        """Why the database cannot be used now, in one line without secrets; None if it can."""
        return None if self._up else self._reason

    def store(self) -> Store:
        """The open store. Raises DatabaseUnavailable, with the reason, while there is none."""
        if self._store is None or not self._up:
            raise DatabaseUnavailable(self._reason)
        return self._store

    def pool_size(self) -> PoolSize:
        """The connections as they are now; none while the database is not open."""
        return PoolSize(0, 0, 0) if self._store is None else self._store.pool_size()

    def lost(self, error: MetricsError) -> None:
        """A caller found the database away: checks at once instead of at the next round."""
        if self._up:
            self._turn_down(str(error), logging.WARNING)
            self._lost.set()

    async def keep_open(self) -> None:
        """Runs for ever: opens, checks every 10 s, opens again. One line for each change."""
        while True:
            delay = await self._round()
            await self._pause(delay)

    async def close(self) -> None:
        """Waits for the queries that run, closes the pool, stops an embedded server."""
        self._up = False
        self._reason = "the service is stopping"
        store, self._store = self._store, None
        if store is not None:
            await store.close()
        await self._source.close()

    async def _round(self) -> float:
        self._lost.clear()
        try:
            if self._store is not None and not self._up and self._source.stale():
                store, self._store = self._store, None
                await within(CHECK_TIMEOUT_SECONDS, store.close())
            if self._store is None:
                self._store = await self._source.open()
            else:
                await within(CHECK_TIMEOUT_SECONDS, self._store.ping())
        except SchemaMismatch as error:
            self._turn_down(str(error), logging.ERROR)
            self._metrics.schema_ready.set(0)
            return SCHEMA_RETRY_SECONDS
        except (DatabaseUnavailable, asyncio.TimeoutError) as error:
            reason = str(error) or "the database does not answer"
            self._turn_down(reason, logging.WARNING)
        except MetricsError as error:
            self._turn_down(str(error), logging.ERROR)
        except Exception:
            self._metrics.task_errors.labels("database").inc()
            log.exception("Cannot open the database for a reason this code does not know")
            self._turn_down("the database cannot be opened; the service's log says why", 0)
        else:
            self._turn_up()
            return CHECK_SECONDS
        self._attempt += 1
        return self._backoff()

    def _turn_up(self) -> None:
        self._attempt = 0
        if not self._up:
            log.info("The database is open")
        self._up = True
        self._metrics.database_up.set(1)
        self._metrics.schema_ready.set(1)

    def _turn_down(self, reason: str, level: int) -> None:
        if level and (self._up or reason != self._reason):
            log.log(level, "%s", reason)
        self._up = False
        self._reason = reason
        self._metrics.database_up.set(0)

    def _backoff(self) -> float:
        ceiling: float = min(
            LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(self._attempt - 1, 10)
        )
        # several services of one database must not come back at the same moment
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311

    async def _pause(self, seconds: float) -> None:
        if self._lost.is_set():
            await asyncio.sleep(FIRST_RETRY_SECONDS)
            return
        # not wait_for: before Python 3.12 it loses a cancellation that meets its result
        alarm = asyncio.get_running_loop().call_later(seconds, self._lost.set)
        try:
            await self._lost.wait()
        finally:
            alarm.cancel()
