"""What an administrator asks of a database: bring its schema up to date, say what is in it.

Called by the command line. Nothing here is needed while the service runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from ..errors import ConfigurationError
from .area import Area
from .capabilities import Capabilities
from .connections import connected
from .embedded import EmbeddedServer, dsn_of_running
from .failures import place
from .migrations import Migration, pending
from .queries import query
from .schema import prepare, read_schema
from .upkeep import UpkeepRules, upkeep_lag


@dataclass(frozen=True)
class TableSize:
    """One table: exact rows, and bytes on disk with its indexes and partitions.

    Of a hypertable also its chunks, how many of them are compressed, and how many bytes it would
    have without; None for what cannot be compressed.
    """

    name: str
    rows: int
    bytes: int
    chunks: int
    compressed_chunks: int
    uncompressed_bytes: int | None


@dataclass(frozen=True)
class TimeRange:
    """The oldest and the newest moment of ``what`` is kept: session (its start), event (where it
    is filed: its session's start) or observation. None where there is none."""

    what: str
    oldest_at: datetime | None
    newest_at: datetime | None


@dataclass(frozen=True)
class Status:
    """What is in a database. ``applied_version`` is 0 where there is no schema; the rest is empty
    until the schema is up to date. ``lag_seconds`` says how far behind each duty of upkeep is;
    ``compiles`` whether questions are compiled just in time, which takes longer than they do."""

    place: str
    capabilities: Capabilities
    applied_version: int
    known_version: int
    pending: Sequence[str]
    tables: Sequence[TableSize] = ()
    ranges: Sequence[TimeRange] = ()
    lag_seconds: Mapping[str, float] = field(default_factory=dict)
    compiles: bool = False


async def read_status(dsn: str, rules: UpkeepRules, now: datetime) -> Status:
    """The state of the database at ``dsn``, read without changing anything.

    Raises DatabaseUnavailable, or SchemaMismatch for a schema that this code does not know.
    """
    async with connected(dsn) as connection, connection.transaction(readonly=True):
        schema = await read_schema(connection)
        missing = pending(schema.known, schema.applied)
        status = Status(
            place=place(dsn),
            capabilities=schema.capabilities,
            applied_version=len(schema.applied),
            known_version=len(schema.known),
            pending=[migration.label for migration in missing],
        )
        if missing:
            return status
        plain = schema.capabilities.engine == "plain"
        sizes = await connection.fetch(query("table_sizes" if plain else "table_sizes_timescale"))
        ranges = await connection.fetch(query("time_ranges"))
        return replace(
            status,
            tables=[TableSize(**dict(row)) for row in sizes],
            ranges=[TimeRange(**dict(row)) for row in ranges],
            lag_seconds=await upkeep_lag(connection, rules, now),
            compiles=await connection.fetchval(query("compiles")),
        )


async def migrate_database(dsn: str) -> list[Migration]:
    """Apply what is pending; gives what was applied. Raises like :func:`read_status`."""
    async with connected(dsn) as connection:
        _, applied = await prepare(connection, "always")
        return applied


@asynccontextmanager
async def embedded_dsn(data_dir: Path, *, create: bool) -> AsyncIterator[str]:
    """The DSN of a data folder's embedded server: the running one, or one started for the moment.

    Raises ConfigurationError if there is none and ``create`` is false.
    """
    running = dsn_of_running(data_dir)
    if running is not None:
        yield running
        return
    if not create and Area.existing(data_dir) is None:
        raise ConfigurationError(
            f"found no database in {data_dir}; expected its secrets/dsn, or an embedded server "
            "that was started once; run jupyterhub-metrics db migrate to make one"
        )
    server = EmbeddedServer(data_dir)
    dsn = await server.start()
    try:
        yield dsn
    finally:
        await server.stop()
