"""What the database server can do. Called by :mod:`.store` and the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import asyncpg

from ..errors import DatabaseUnavailable
from .queries import query

OLDEST_MAJOR = 14

Engine = Literal["timescale", "timescale-apache", "plain"]
"""The kinds of database; to readers all have one schema."""


@dataclass(frozen=True)
class Capabilities:
    """The server's version, and TimescaleDB's with its licence (``apache`` or ``timescale``);
    both None where it is not installed in this database."""

    server_version: str
    timescaledb_version: str | None
    timescaledb_licence: str | None

    @property
    def engine(self) -> Engine:
        """``timescale`` can compress and aggregate continuously, ``timescale-apache`` has
        hypertables only, ``plain`` has none of it."""
        if self.timescaledb_version is None:
            return "plain"
        return "timescale" if self.timescaledb_licence == "timescale" else "timescale-apache"

    def without_timescaledb(self) -> Capabilities:
        """As for a schema that makes no use of it."""
        return replace(self, timescaledb_version=None, timescaledb_licence=None)

    def __str__(self) -> str:
        if self.timescaledb_version is None:
            return f"PostgreSQL {self.server_version} without TimescaleDB"
        return (
            f"PostgreSQL {self.server_version} with TimescaleDB {self.timescaledb_version} "
            f"({self.timescaledb_licence} licence)"
        )


async def read_capabilities(connection: asyncpg.Connection) -> Capabilities:
    """What this server can do; raises DatabaseUnavailable if it is too old to be used."""
    row = await connection.fetchrow(query("capabilities"))
    major = row["server_version_number"] // 10000
    if major < OLDEST_MAJOR:
        raise DatabaseUnavailable(
            f"found PostgreSQL {row['server_version']}; expected {OLDEST_MAJOR} or newer; upgrade "
            "the server, or use another"
        )
    installed = row["timescaledb_version"]
    return Capabilities(
        server_version=row["server_version"].split(" ")[0],
        timescaledb_version=installed,
        timescaledb_licence=row["timescaledb_licence"] if installed else None,
    )
