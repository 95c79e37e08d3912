"""Makes a database ready for use: its engine is found, its schema checked or brought up to date.

Called by :mod:`.store` and :mod:`.administration`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from ..errors import SchemaMismatch
from .capabilities import Capabilities, read_capabilities
from .migrations import (
    Applied,
    Migration,
    applied_migrations,
    check,
    dialect_of,
    known_migrations,
    migrate,
)
from .queries import query

Policy = Literal["always", "if_empty", "never"]
"""What happens to a schema that is behind: it is brought up to date, made only where there is
none, or only checked."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schema:
    """What a database has, and what this code has for it."""

    capabilities: Capabilities
    applied: Sequence[Applied]
    known: Sequence[Migration]


async def read_schema(connection: asyncpg.Connection) -> Schema:
    """What is there, without changing anything. Raises DatabaseUnavailable, SchemaMismatch."""
    capabilities = await read_capabilities(connection)
    applied = await applied_migrations(connection)
    dialect = dialect_of(capabilities, applied)
    if dialect == "plain":
        capabilities = capabilities.without_timescaledb()
    if capabilities.engine == "timescale-apache":
        await _check_readable(connection, capabilities)
    return Schema(capabilities, applied, known_migrations(dialect))


async def _check_readable(connection: asyncpg.Connection, capabilities: Capabilities) -> None:
    """Raises SchemaMismatch if the full licence was there before: what it has compressed, the
    other leaves out of every answer without a word."""
    compressed = await connection.fetchval(query("compressed_chunks_timescale"))
    if compressed:
        raise SchemaMismatch(
            f"found {compressed} compressed chunks in {capabilities}, which leaves their rows out; "
            "expected the full licence that compressed them; give the server that package and "
            "timescaledb.license = 'timescale' again; a backup made there restores into any other"
        )


async def prepare(connection: asyncpg.Connection, policy: Policy) -> tuple[Schema, list[Migration]]:
    """The schema as it is after the policy was followed, and what was applied for that.

    An empty database gets TimescaleDB if the server has it and the role may have it made.
    Raises DatabaseUnavailable, SchemaMismatch.
    """
    if policy != "never":
        await add_timescaledb(connection)
    schema = await read_schema(connection)
    if policy == "never":
        await check(connection, schema.known)
        return schema, []
    done = await migrate(connection, schema.known, only_if_empty=policy == "if_empty")
    return schema, done


async def add_timescaledb(connection: asyncpg.Connection) -> None:
    """Add the extension to an empty database, if the server has it and the role may."""
    async with connection.transaction():
        await connection.execute(query("lock_migrations"))
        if await connection.fetchval(query("has_migrations")):
            return
        if await connection.fetchval(query("may_add_timescaledb")):
            await connection.execute(query("add_timescaledb"))
            log.info("added the extension timescaledb to this database")
