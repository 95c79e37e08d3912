"""``ResourceMonitor``: samples into the ring from a program with an event loop, by asyncpg."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import asyncpg

from ..errors import ConfigurationError, MetricsError
from .failures import failure
from .measuring import Measuring
from .ring import (
    DEFAULT_CAPACITY,
    DEFAULT_TABLE,
    Account,
    batch,
    checked_capacity,
    checked_hours,
    checked_limit,
    checked_seconds,
    state_lines,
    statement,
    summary_lines,
)
from .rounds import PodUse
from .samples import Sample

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 30.0
_DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # what asyncpg says if the server's goodbye arrives just before the next statement
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
)


class ResourceMonitor:
    """Samples this node and its containers into a ring.

    - ``conn``: an asyncpg connection or pool, which stays the caller's, or a DSN, of which this
      monitor makes a connection of its own;
    - ``table_name``, ``capacity``: the ring, and how many samples it holds. Who opens a ring first
      decides its capacity; later a ``master`` does, and :meth:`set_capacity`;
    - ``master``: mark this node's samples as a master's;
    - ``node_name``: the node's name in each sample; the host's name unless given;
    - ``use_null_for_empty``: whether slots that are cleaned have the time NULL, otherwise 0;
    - ``unlogged``: True for a table that is faster and empty after a crash, None as it is.

    Use it as ``async with ResourceMonitor(...)``, or call :meth:`open` and :meth:`close`. Methods
    raise DatabaseUnavailable while the database is away, SchemaMismatch where it has no ring,
    ConfigurationError for a parameter that is wrong.
    """

    def __init__(
        self,
        conn: asyncpg.Connection | asyncpg.Pool | str,
        table_name: str = DEFAULT_TABLE,
        capacity: int = DEFAULT_CAPACITY,
        master: bool = False,
        node_name: str | None = None,
        use_null_for_empty: bool = True,
        *,
        unlogged: bool | None = None,
        measuring: Measuring | None = None,
    ) -> None:
        self.table_name = table_name
        self.capacity = checked_capacity(capacity)
        self._given = conn
        self._master = master
        self._with_null = use_null_for_empty
        self._unlogged = unlogged
        self._measuring = measuring or Measuring(node_name, master=master)
        self._own: asyncpg.Connection | None = None
        self._opened = False

    @property
    def node_name(self) -> str:
        return self._measuring.node_name

    async def __aenter__(self) -> ResourceMonitor:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Make the ring if it is not there; :attr:`capacity` is the one that it has then."""
        self.capacity = await self._value(
            "ring_open", self.table_name, self.capacity, self._master, self._unlogged
        )
        self._opened = True

    async def close(self) -> None:
        """Close what this monitor opened itself."""
        self._measuring.close()
        if self._own is not None:
            own, self._own = self._own, None
            if not own.is_closed():
                await own.close(timeout=CONNECT_SECONDS)

    async def sample_node(self, interval_seconds: float = 1.0, source: str = "psutil") -> Sample:
        """Measure the node over an interval and store the sample, which is given back."""
        seconds = checked_seconds(interval_seconds)
        before = self._measuring.read_node()
        await asyncio.sleep(seconds)
        sample = self._measuring.node(before, self._measuring.read_node(), source)
        await self.write([sample])
        return sample

    async def sample_container(
        self,
        container_id: str,
        container_name: str | None = None,
        interval_seconds: float = 1.0,
        source: str = "docker",
    ) -> Sample:
        """Measure a container over an interval and store the sample, which is given back.

        Raises SourceUnavailable if it does not run, or ends meanwhile.
        """
        seconds = checked_seconds(interval_seconds)
        before, _ = await asyncio.to_thread(self._measuring.read_container, container_id)
        await asyncio.sleep(seconds)
        after, _ = await asyncio.to_thread(self._measuring.read_container, container_id)
        sample = self._measuring.container(container_name or container_id, before, after, source)
        await self.write([sample])
        return sample

    async def write(
        self, samples: Sequence[Sample], pods: Sequence[PodUse] | None = None
    ) -> Account:
        """Store samples in one transaction; gives what became of them.

        ``pods`` is what users' pods used, for the sessions that they run.
        """
        if not self._opened:
            await self.open()
        account = Account(0)
        try:
            async with self._connection() as connection, connection.transaction():
                if samples:
                    statements = statement("ring_write"), self.table_name, batch(samples)
                    account = Account(**dict(await connection.fetchrow(*statements)))
                if pods:
                    told = json.dumps([use.to_row() for use in pods])
                    await connection.execute(statement("record_pod_samples"), told)
        except _DRIVER_ERRORS as error:
            raise self._failed(error) from error
        return account

    async def get_recent_samples(
        self,
        limit: int = 100,
        node_filter: str | None = None,
        container_filter: str | None = None,
    ) -> list[dict[str, Any]]:
        """The newest samples, newest first, as dictionaries by column."""
        return await self._rows(
            "ring_recent", self.table_name, checked_limit(limit), node_filter, container_filter
        )

    async def set_capacity(self, new_capacity: int) -> None:
        """Let the ring hold so many samples; the newest stay."""
        await self._value("ring_resize", self.table_name, checked_capacity(new_capacity))
        self.capacity = new_capacity

    async def cleanup_old_samples(self, keep_hours: float = 24) -> int:
        """Empty the slots of samples older than so many hours; gives how many."""
        return int(
            await self._value(
                "ring_clean", self.table_name, checked_hours(keep_hours), self._with_null
            )
        )

    def print_sample_summary(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Print what samples say."""
        sys.stdout.write("\n".join(summary_lines(samples)) + "\n")

    async def debug_table_state(self) -> dict[str, Any]:
        """Print what the ring holds, and give it by name."""
        [state] = await self._rows("ring_state", self.table_name)
        sys.stdout.write("\n".join(state_lines(self.table_name, state)) + "\n")
        return state

    async def _value(self, name: str, *values: Any) -> Any:
        [row] = await self._rows(name, *values)
        return next(iter(row.values()))

    async def _rows(self, name: str, *values: Any) -> list[dict[str, Any]]:
        try:
            async with self._connection() as connection:
                rows = await connection.fetch(statement(name), *values)
        except _DRIVER_ERRORS as error:
            raise self._failed(error) from error
        return [dict(row) for row in rows]

    def _failed(self, error: BaseException) -> MetricsError:
        """What it means; after anything but the database's own word, connect anew."""
        if self._own is not None and not isinstance(error, asyncpg.PostgresError):
            own, self._own = self._own, None
            own.terminate()
        return failure(error)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        if isinstance(self._given, asyncpg.Pool):
            async with self._given.acquire(timeout=CONNECT_SECONDS) as connection:
                yield connection
        elif isinstance(self._given, str):
            if self._own is None or self._own.is_closed():
                self._own = await _connected(self._given)
            yield self._own
        else:
            yield self._given


async def _connected(dsn: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(
            dsn,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings={"application_name": "jupyterhub-metrics sample"},
        )
    except ValueError:
        # asyncpg's own text may hold the whole address
        raise ConfigurationError(
            "the database's DSN cannot be read; expected postgresql://user@host:port/name with "
            "special characters as %XX; correct it"
        ) from None
