"""What an administrator asks of a database: bring its schema up to date, say what is in it.

Called by the command line. Nothing here is needed while the service runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg

from ..errors import ConfigurationError
from .area import Area
from .capabilities import Capabilities
from .embedded import EmbeddedServer, dsn_of_running
from .failures import connecting, place, translated
from .migrations import Migration, pending
from .queries import query
from .schema import prepare, read_schema
from .store import CONNECT_SECONDS


@dataclass(frozen=True)
class TableSize:
    """One table: exact rows, and bytes on disk with its indexes."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Status:
    """What is in a database. ``applied_version`` is 0 where there is no schema; ``tables`` is
    empty and the sessions' range None until the schema is up to date."""

    place: str
    capabilities: Capabilities
    applied_version: int
    known_version: int
    pending: Sequence[str]
    tables: Sequence[TableSize]
    oldest_session_at: datetime | None
    newest_session_at: datetime | None


async def read_status(dsn: str) -> Status:
    """The state of the database at ``dsn``, read without changing anything.

    Raises DatabaseUnavailable, or SchemaMismatch for a schema that this code does not know.
    """
    async with _connected(dsn) as connection, connection.transaction(readonly=True):
        schema = await read_schema(connection)
        missing = pending(schema.known, schema.applied)
        rows = [] if missing else await connection.fetch(query("table_sizes"))
        span = None if missing else await connection.fetchrow(query("session_range"))
    return Status(
        place=place(dsn),
        capabilities=schema.capabilities,
        applied_version=len(schema.applied),
        known_version=len(schema.known),
        pending=[migration.label for migration in missing],
        tables=[TableSize(**dict(row)) for row in rows],
        oldest_session_at=span["oldest_at"] if span else None,
        newest_session_at=span["newest_at"] if span else None,
    )


async def migrate_database(dsn: str) -> list[Migration]:
    """Apply what is pending; gives what was applied. Raises like :func:`read_status`."""
    async with _connected(dsn) as connection:
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


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    with connecting(dsn):
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_SECONDS,
            server_settings={"application_name": "jupyterhub-metrics db", "timezone": "UTC"},
        )
    try:
        with translated(dsn):
            yield connection
    finally:
        await connection.close()
