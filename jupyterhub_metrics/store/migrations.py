"""Brings a database's schema to the one this code knows, and refuses one that it does not know.

Migrations are files ``sql/migrations/0001_what_it_does.sql``: numbered without gaps, append-only,
their checksums recorded when applied, one transaction each. Where TimescaleDB and plain PostgreSQL
differ, one number has two files, ``.timescale.sql`` and ``.plain.sql``; a database gets the one of
its engine and keeps to that engine. Called by :mod:`.store` and the command line.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, cast

import asyncpg

from .. import _data
from ..errors import SchemaMismatch
from .capabilities import Capabilities
from .queries import query

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)(?:\.(timescale|plain))?\.sql")
_MIGRATION_SECONDS = 24 * 3600.0
"""Longer than the pool's own limit for a statement: tables may be large."""
_REMEDY = "run jupyterhub-metrics db migrate"

log = logging.getLogger(__name__)


Dialect = Literal["timescale", "plain"]
"""Which of two twins a database gets."""


@dataclass(frozen=True)
class Migration:
    """One file: its number, its name, its text, the SHA-256 of that text, and the dialect that
    it is for; None if it is for all."""

    version: int
    name: str
    script: str
    dialect: Dialect | None = None

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.script.encode()).hexdigest()

    @property
    def label(self) -> str:
        """Number and name as in the file's name, for example ``0001_events_and_sessions``."""
        return f"{self.version:04}_{self.name}"


@dataclass(frozen=True)
class Applied:
    """What the database remembers of a migration."""

    version: int
    name: str
    checksum: str
    dialect: Dialect | None
    applied_at: datetime


def known_migrations(dialect: Dialect, folder: Path | None = None) -> list[Migration]:
    """The migrations of this code for one dialect, in order.

    Raises ValueError for a gap, an odd file name, or a file whose twin is missing.
    """
    by_number: dict[int, list[Migration]] = {}
    folder = folder or _data.path("sql", "migrations")
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        number = int(match[1]) if match else 0
        if match is None or number not in (len(by_number), len(by_number) + 1):
            raise ValueError(
                f"found migration {path.name}; expected number {len(by_number) + 1:04}"
            )
        # read as text: a checkout with other line ends is the same migration
        by_number.setdefault(number, []).append(
            Migration(
                number, match[2], path.read_text(encoding="utf-8"), cast("Dialect | None", match[3])
            )
        )
    return [_the_one_for(dialect, twins) for twins in by_number.values()]


def _the_one_for(dialect: Dialect, twins: Sequence[Migration]) -> Migration:
    dialects = [twin.dialect for twin in twins]
    names = {twin.name for twin in twins}
    if dialects not in ([None], ["plain", "timescale"]) or len(names) > 1:
        raise ValueError(
            f"found migration {twins[0].version:04} as {', '.join(sorted(names))} for "
            f"{', '.join(one or 'all' for one in dialects)}; expected one file, or plain and "
            "timescale of the same name"
        )
    return next(twin for twin in twins if twin.dialect in (None, dialect))


def dialect_of(capabilities: Capabilities, applied: Sequence[Applied]) -> Dialect:
    """The dialect of a database: the one that its schema was made with, else the server's.

    Raises SchemaMismatch if it was made with TimescaleDB and that is gone. One that was made
    without stays so where TimescaleDB has come since.
    """
    has: Dialect = "plain" if capabilities.timescaledb_version is None else "timescale"
    made = next((entry.dialect for entry in applied if entry.dialect is not None), has)
    if made == "timescale" and has == "plain":
        raise SchemaMismatch(
            "found a schema that was made with TimescaleDB in a database without it; expected the "
            "extension; install it again (CREATE EXTENSION timescaledb) and restore a backup if "
            "its tables went with it"
        )
    return made


async def applied_migrations(connection: asyncpg.Connection) -> list[Applied]:
    """What was applied to this database, in order; empty if nothing of ours is there.

    Raises SchemaMismatch if its ``schema_migrations`` is another program's.
    """
    if not await connection.fetchval(query("has_migrations")):
        return []
    try:
        rows = await connection.fetch(query("applied_migrations"))
    except asyncpg.UndefinedColumnError as error:
        raise SchemaMismatch(
            f"found another program's table schema_migrations ({error}); expected a database or "
            "schema of our own; give one by the DSN"
        ) from error
    return [Applied(**dict(row)) for row in rows]


def pending(known: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """What is still to be applied.

    Raises SchemaMismatch if the database has migrations that this code does not know, or knows
    with another content.
    """
    newest = len(known)
    for number, entry in enumerate(applied, start=1):
        if entry.version > newest:
            raise SchemaMismatch(
                f"found schema version {applied[-1].version}; expected at most {newest}; the "
                "database was migrated by a newer jupyterhub-metrics, upgrade this one"
            )
        migration = known[entry.version - 1]
        if entry.version != number:
            raise SchemaMismatch(
                f"found no record of migration {number:04} though later ones are recorded; "
                "expected all in order; restore the table schema_migrations"
            )
        if entry.checksum != migration.checksum:
            raise SchemaMismatch(
                f"found migration {migration.label} applied with another "
                f"content (checksum {entry.checksum[:12]}, expected {migration.checksum[:12]}); "
                "reinstall jupyterhub-metrics; a change belongs into a new migration"
            )
    return list(known[len(applied) :])


async def check(connection: asyncpg.Connection, known: Sequence[Migration]) -> None:
    """Raises SchemaMismatch unless the schema is exactly the one this code knows."""
    applied = await applied_migrations(connection)
    missing = pending(known, applied)
    if missing:
        found = f"schema version {applied[-1].version}" if applied else "no schema"
        raise SchemaMismatch(f"found {found}; expected version {len(known)}; {_REMEDY}")


async def migrate(
    connection: asyncpg.Connection, known: Sequence[Migration], *, only_if_empty: bool = False
) -> list[Migration]:
    """Apply what is pending, each migration in a transaction; gives what was applied.

    With ``only_if_empty`` a database that already has a schema is only checked, and an empty one
    gets all of it in one transaction, so that nobody ever finds a part of it. Any number of
    programs may do this at once: they take turns, and what one has applied the next finds.

    Raises SchemaMismatch; what was applied before stays, the failing migration leaves nothing.
    """
    done: list[Migration] = []
    while True:
        async with connection.transaction():
            await connection.execute(query("lock_migrations"), timeout=_MIGRATION_SECONDS)
            applied = await applied_migrations(connection)
            if only_if_empty and applied and not done:
                break
            missing = pending(known, applied)
            if not missing:
                break
            now = missing if only_if_empty else missing[:1]
            await apply(connection, now)
        done += now
        for migration in now:
            log.info("applied migration %s", migration.label)
    await check(connection, known)
    return done


async def apply(connection: asyncpg.Connection, migrations: Sequence[Migration]) -> None:
    """Apply these, in the transaction that is open; raises SchemaMismatch."""
    for migration in migrations:
        await _apply(connection, migration)


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    await connection.execute(_data.path("sql", "schema_migrations.sql").read_text())
    # what an old migration asked of TimescaleDB's catalog, a newer one does not know, and a later
    # migration asks otherwise
    await connection.execute(query("look_up_names_when_called"))
    try:
        await connection.execute(migration.script, timeout=_MIGRATION_SECONDS)
    except (asyncpg.DuplicateObjectError, asyncpg.DuplicateTableError) as error:
        raise SchemaMismatch(
            f"migration {migration.label} found something of that name "
            f"already there: {error}; expected a database or schema of our own; give one by the DSN"
        ) from error
    await connection.execute(
        query("record_migration"),
        migration.version,
        migration.name,
        migration.checksum,
        migration.dialect,
    )
