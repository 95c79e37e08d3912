"""``CompleteResourceMonitor``: samples into the ring from a program without an event loop.

It works over a connection of psycopg or psycopg2, whichever the program has, and imports one of
them only to connect to a DSN.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from ..errors import ConfigurationError
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
    positional,
    state_lines,
    summary_lines,
)
from .samples import Sample

DRIVERS = ("psycopg", "psycopg2")


class CompleteResourceMonitor:
    """Samples this node and its containers into a ring.

    ``conn`` is a connection of psycopg or psycopg2, which stays the caller's, or a DSN, of which
    this monitor makes one of its own. Each method ends its transaction. The other parameters, and
    what is raised, are those of :class:`.ResourceMonitor`.
    """

    def __init__(
        self,
        conn: Any,
        table_name: str = DEFAULT_TABLE,
        capacity: int = DEFAULT_CAPACITY,
        master: bool = False,
        node_name: str | None = None,
        use_null_for_empty: bool = True,
        *,
        unlogged: bool | None = None,
        measuring: Measuring | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.table_name = table_name
        checked_capacity(capacity)
        self._with_null = use_null_for_empty
        self._sleep = sleep
        self._measuring = measuring or Measuring(node_name, master=master)
        self._own = _connected(conn) if isinstance(conn, str) else None
        self._connection = self._own or conn
        try:
            self.capacity: int = self._value("ring_open", table_name, capacity, master, unlogged)
        except BaseException:
            self.close()
            raise

    @property
    def node_name(self) -> str:
        return self._measuring.node_name

    def __enter__(self) -> CompleteResourceMonitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what this monitor opened itself."""
        self._measuring.close()
        if self._own is not None:
            self._own.close()
            self._own = None

    def sample_node(self, interval_seconds: float = 1.0, source: str = "psutil") -> Sample:
        """Measure the node over an interval and store the sample, which is given back."""
        seconds = checked_seconds(interval_seconds)
        before = self._measuring.read_node()
        self._sleep(seconds)
        sample = self._measuring.node(before, self._measuring.read_node(), source)
        self.write([sample])
        return sample

    def sample_container(
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
        before, _ = self._measuring.read_container(container_id)
        self._sleep(seconds)
        after, _ = self._measuring.read_container(container_id)
        sample = self._measuring.container(container_name or container_id, before, after, source)
        self.write([sample])
        return sample

    def write(self, samples: Sequence[Sample]) -> Account:
        """Store samples in one transaction; gives what became of them."""
        if not samples:
            return Account(0)
        [row] = self._rows("ring_write", self.table_name, batch(samples))
        return Account(**row)

    def get_recent_samples(
        self,
        limit: int = 100,
        node_filter: str | None = None,
        container_filter: str | None = None,
    ) -> list[dict[str, Any]]:
        """The newest samples, newest first, as dictionaries by column."""
        return self._rows(
            "ring_recent", self.table_name, checked_limit(limit), node_filter, container_filter
        )

    def set_capacity(self, new_capacity: int) -> None:
        """Let the ring hold so many samples; the newest stay."""
        self._value("ring_resize", self.table_name, checked_capacity(new_capacity))
        self.capacity = new_capacity

    def cleanup_old_samples(self, keep_hours: float = 24) -> int:
        """Empty the slots of samples older than so many hours; gives how many."""
        hours = checked_hours(keep_hours)
        return int(self._value("ring_clean", self.table_name, hours, self._with_null))

    def print_sample_summary(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Print what samples say."""
        sys.stdout.write("\n".join(summary_lines(samples)) + "\n")

    def debug_table_state(self) -> dict[str, Any]:
        """Print what the ring holds, and give it by name."""
        [state] = self._rows("ring_state", self.table_name)
        sys.stdout.write("\n".join(state_lines(self.table_name, state)) + "\n")
        return state

    def _value(self, name: str, *values: Any) -> Any:
        [row] = self._rows(name, *values)
        return next(iter(row.values()))

    def _rows(self, name: str, *values: Any) -> list[dict[str, Any]]:
        connection = self._connection
        try:
            with connection.cursor() as cursor:
                cursor.execute(positional(name), values)
                names = [column[0] for column in cursor.description]
                # whatever kind of row the connection makes
                rows = [_row(names, row) for row in cursor.fetchall()]
            connection.commit()
        except Exception as error:
            if not _of_a_driver(error):
                raise
            if not connection.closed:
                connection.rollback()
            raise failure(error) from error
        return rows


def _row(names: Sequence[str], row: Any) -> dict[str, Any]:
    return dict(row) if isinstance(row, Mapping) else dict(zip(names, row, strict=True))


def _of_a_driver(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in DRIVERS


def _connected(dsn: str) -> Any:
    """A connection by the first driver that is there."""
    for name in DRIVERS:
        try:
            driver = importlib.import_module(name)
        except ImportError:
            continue
        try:
            return driver.connect(dsn, connect_timeout=10)
        except driver.OperationalError as error:
            raise failure(error) from error
        except driver.ProgrammingError:
            # the driver's text may hold the whole address
            raise ConfigurationError(
                "the database's DSN cannot be read; expected postgresql://user@host:port/name "
                "with special characters as %XX; correct it"
            ) from None
    raise ConfigurationError(
        f"found none of {', '.join(DRIVERS)}; expected a driver to connect with; "
        "pip install 'psycopg[binary]'"
    )
