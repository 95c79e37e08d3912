"""Upkeep that a person asks for at once: compression and retention. What is due is what
:mod:`.upkeep` says. Called by the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from .capabilities import Capabilities
from .connections import connected
from .progress import Begin
from .queries import query
from .schema import prepare
from .upkeep import DUTIES, Duty, UpkeepRules

_DUTIES: Final = {duty.name: duty for duty in DUTIES}


@dataclass(frozen=True)
class Compression:
    """How many chunks were compressed; None where the database, as it says what it can do, does
    not compress."""

    capabilities: Capabilities
    chunks: int | None


@dataclass(frozen=True)
class Retention:
    """Observations from before ``before`` go: so many polls, which saw so many servers. None
    where they are kept for ever."""

    before: datetime | None
    polls: int = 0
    observations: int = 0


async def compress(dsn: str, now: datetime, begin: Begin) -> Compression:
    """Compress every chunk that has closed, each in a transaction of its own.

    Upkeep waits some days longer. Raises DatabaseUnavailable, or SchemaMismatch for a schema
    that is not up to date.
    """
    async with connected(dsn) as connection:
        schema, _ = await prepare(connection, "never")
        if schema.capabilities.engine != "timescale":
            return Compression(schema.capabilities, None)
        chunks = await _work_off(connection, _DUTIES["compression"], now, begin)
        return Compression(schema.capabilities, chunks)


async def retention(
    dsn: str, rules: UpkeepRules, now: datetime, begin: Begin, *, apply: bool
) -> Retention:
    """What goes by these rules, and with ``apply`` let it go.

    Whole blocks of at most half a day go, so the newest of what is due may stay until its block
    is. Raises DatabaseUnavailable, or SchemaMismatch for a schema that is not up to date.
    """
    duty = _DUTIES["observation_retention"]
    before = duty.due(rules, now)
    async with connected(dsn) as connection:
        await prepare(connection, "never")
        if before is None:
            return Retention(None)
        row = await connection.fetchrow(query("observations_that_would_go"), before)
        if apply:
            await _work_off(connection, duty, before, begin)
        return Retention(before, row["polls"], row["observations"])


async def _work_off(connection: asyncpg.Connection, duty: Duty, due: datetime, begin: Begin) -> int:
    """Do all of a duty that is due, portion by portion; gives how many pieces were done."""
    behind = await connection.fetchval(query(duty.behind), due)
    if behind is None:
        return 0
    advance = begin(duty.name.replace("_", " "), round((due - behind).total_seconds()))
    pieces = 0
    while behind is not None:
        portion = await connection.fetchval(query(duty.work), due)
        if portion == 0:
            break
        pieces += portion
        left = await connection.fetchval(query(duty.behind), due)
        advance(round(((left or due) - behind).total_seconds()))
        behind = left
    return pieces
