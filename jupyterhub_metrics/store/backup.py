"""Writes all that a database holds into one file. Called by the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import asyncpg

from .. import __version__
from .archive import AppliedMigration, ArchiveWriter, Manifest, TableStream, writing
from .connections import connected
from .migrations import check
from .progress import Begin
from .queries import query
from .schema import Schema, prepare
from .tables import ARCHIVED, Table, archived_tables


async def write_backup(
    dsn: str, path: Path, *, replace: bool, begin: Begin, now: datetime
) -> Manifest:
    """Write the database at ``dsn``, as it is at one moment, to ``path``; gives what is in it.

    The service may run meanwhile. ``replace`` allows a file that is there to be replaced. Raises
    DatabaseUnavailable, SchemaMismatch for a schema that is not up to date, and BackupRefused;
    then ``path`` is as it was.
    """
    with writing(path, replace=replace) as archive:
        async with connected(dsn) as connection:
            schema, _ = await prepare(connection, "never")
            lock = await connection.fetchval(query("lock_for_reading"), list(ARCHIVED))
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # comes first: the snapshot is that of the first statement which reads
                await connection.execute(lock)
                await check(connection, schema.known)
                tables = await archived_tables(connection)
                streams = await _write(connection, archive, tables, begin)
                manifest = await _manifest(connection, schema, streams, now)
        archive.finish(manifest)
    return manifest


async def _write(
    connection: asyncpg.Connection,
    archive: ArchiveWriter,
    tables: Sequence[Table],
    begin: Begin,
) -> list[TableStream]:
    advance = begin("backup", sum([await table.count(connection) for table in tables]))
    streams = []
    for table in tables:
        with archive.table(table.name) as write:
            tally = await table.read(connection, write, advance)
        streams.append(tally.stream(table.name, table.columns))
    return streams


async def _manifest(
    connection: asyncpg.Connection, schema: Schema, streams: Sequence[TableStream], now: datetime
) -> Manifest:
    return Manifest(
        made_at=now,
        made_by=f"jupyterhub-metrics {__version__}",
        server=str(schema.capabilities),
        migrations=[
            AppliedMigration(entry.version, entry.name, entry.checksum, entry.dialect)
            for entry in schema.applied
        ],
        hubs=[row["hub"] for row in await connection.fetch(query("known_hubs"))],
        months=[row["month"] for row in await connection.fetch(query("archived_months"))],
        tables=streams,
    )
