"""Brings a database back from a backup, all of it or nothing. Called by the command line.

Everything happens in one transaction: whatever fails, also a full disk, leaves the database as it
was. Rows go through the same tables on every engine, so a backup of one restores into any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import asyncpg

from ..errors import BackupRefused
from .archive import ArchiveReader, Manifest, TableStream, reading
from .connections import connected
from .copying import copy_into, insert_into
from .failures import UNSTORABLE, place
from .migrations import Migration, apply, known_migrations, pending
from .progress import Begin
from .queries import query
from .schema import add_timescaledb, read_schema
from .tables import STATE, Table, archived_tables


async def restore_backup(dsn: str, path: Path, *, replace: bool, begin: Begin) -> Manifest:
    """Fill the database at ``dsn`` from the backup in ``path``; gives what is now in it.

    The backup is checked before the database is touched, and read back from the database before
    the change is committed. ``replace`` allows what is there to be deleted. Raises BackupRefused,
    DatabaseUnavailable or SchemaMismatch; then the database is as it was.
    """
    with reading(path) as archive:
        _check_version(archive)
        archive.check(begin("check", archive.manifest.bytes))
        async with connected(dsn) as connection:
            try:
                async with connection.transaction():
                    await _restore(connection, archive, replace=replace, dsn=dsn, begin=begin)
            except UNSTORABLE as error:
                text = " ".join(str(error).split())
                raise BackupRefused(
                    f"found rows in {path} that the database refuses: {text}; expected a backup "
                    "as it was written; take another, or an older one"
                ) from error
            except asyncpg.LockNotAvailableError as error:
                raise BackupRefused(
                    f"found {place(dsn)} in use by another program; expected to have it alone; "
                    "stop the Hub and its service, then try again"
                ) from error
        return archive.manifest


def _check_version(archive: ArchiveReader) -> None:
    """Raises BackupRefused for a backup of a schema that this code does not know."""
    made = archive.manifest.migrations
    dialect = next((entry.dialect for entry in made if entry.dialect is not None), "plain")
    known = known_migrations("timescale" if dialect == "timescale" else "plain")
    if len(made) > len(known):
        raise BackupRefused(
            f"found a backup of schema version {len(made)} in {archive.path}; expected at most "
            f"{len(known)}; it was made by a newer jupyterhub-metrics, upgrade this one"
        )
    for entry, migration in zip(made, known, strict=False):
        if (entry.version, entry.checksum) != (migration.version, migration.checksum):
            raise BackupRefused(
                f"found a backup whose schema had another migration {migration.label} (checksum "
                f"{entry.checksum[:12]}, expected {migration.checksum[:12]}) in {archive.path}; "
                f"expected a released version's; restore it with the {archive.manifest.made_by} "
                "that made it"
            )


async def _restore(
    connection: asyncpg.Connection, archive: ArchiveReader, *, replace: bool, dsn: str, begin: Begin
) -> None:
    await connection.execute(query("wait_briefly_for_locks"))
    await connection.execute(query("lock_migrations"))
    await add_timescaledb(connection)
    later = await _make_schema(connection, archive, dsn)
    tables = await archived_tables(connection)
    _check_tables(archive, tables)
    if not replace:
        await _check_empty(connection, tables, dsn)
    await _fill(connection, archive, tables, begin)
    await _read_back(connection, archive, tables, begin)
    await apply(connection, later)


async def _make_schema(
    connection: asyncpg.Connection, archive: ArchiveReader, dsn: str
) -> Sequence[Migration]:
    """Brings the schema to the version of the backup; gives what is to be applied after."""
    schema = await read_schema(connection)
    pending(schema.known, schema.applied)
    version = len(archive.manifest.migrations)
    if len(schema.applied) > version:
        raise BackupRefused(
            f"found a backup of schema version {version} and a schema of version "
            f"{len(schema.applied)} in {place(dsn)}; expected a database without a schema for an "
            "older backup; create one, the backup is brought up to date in it"
        )
    await apply(connection, schema.known[len(schema.applied) : version])
    return schema.known[version:]


def _check_tables(archive: ArchiveReader, tables: Sequence[Table]) -> None:
    found = {stream.name: list(stream.columns) for stream in archive.manifest.tables}
    expected = {table.name: list(table.columns) for table in tables}
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            raise BackupRefused(
                f"found {_columns(found.get(name))} of table {name} in {archive.path}; expected "
                f"{_columns(expected.get(name))}; give a backup as it was written"
            )


def _columns(names: Sequence[str] | None) -> str:
    return "nothing" if names is None else f"columns {', '.join(names)}"


async def _check_empty(connection: asyncpg.Connection, tables: Sequence[Table], dsn: str) -> None:
    for table in tables:
        rows = 0 if table.name in STATE else await table.count(connection)
        if rows:
            raise BackupRefused(
                f"found {rows} rows in {table.name} of {place(dsn)}; expected an empty database; "
                "create one, or give --replace to delete what is in this one"
            )


async def _fill(
    connection: asyncpg.Connection,
    archive: ArchiveReader,
    tables: Sequence[Table],
    begin: Begin,
) -> None:
    names = [table.name for table in tables]
    triggers = await connection.fetch(query("put_off_triggers"), names)
    for trigger in triggers:
        await connection.execute(trigger["off"])
    await connection.execute(await connection.fetchval(query("empty_tables"), names))
    await connection.execute(query("make_partitions"), list(archive.manifest.months))
    put = copy_into if await connection.fetchval(query("takes_copy")) else insert_into
    advance = begin("restore", archive.manifest.rows)
    for table in tables:
        await put(connection, table, archive.chunks(table.name), advance)
        if table.newest_statement is not None:
            newest = await connection.fetchval(table.newest_statement) or 0
            restart = await connection.fetchval(
                query("next_number"), table.namespace, table.name, table.identity, newest + 1
            )
            await connection.execute(restart)
        await connection.execute(table.analyze_statement)
    for trigger in triggers:
        await connection.execute(trigger["on_again"])


async def _read_back(
    connection: asyncpg.Connection,
    archive: ArchiveReader,
    tables: Sequence[Table],
    begin: Begin,
) -> None:
    """Raises BackupRefused unless the database gives back what the backup has, byte for byte."""
    streams: dict[str, TableStream] = {table.name: table for table in archive.manifest.tables}
    advance = begin("verify", archive.manifest.rows)
    for table in tables:
        expected = streams[table.name]
        tally = await table.read(connection, lambda data: None, advance)
        if tally.stream(table.name, table.columns) != expected:
            raise BackupRefused(
                f"found {tally.rows} rows in {table.name} after restoring {archive.path}, with "
                f"another checksum; expected {expected.rows} as in the backup; report this, the "
                "database is as it was"
            )
