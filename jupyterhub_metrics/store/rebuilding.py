"""Computes again what the database has computed, from what it was told: day by day, so that it
may run beside the service. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from .connections import connected
from .locks import hub_locks
from .migrations import check
from .progress import Begin
from .queries import query
from .schema import read_schema

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Rebuilt:
    """How many sessions were computed again, and how many removed that no event speaks of."""

    sessions: int
    removed: int


@dataclass(frozen=True)
class Difference:
    """A session that is not what its events say: it ``is missing``, ``has no events`` or
    ``differs``."""

    session_id: UUID
    how: str


@dataclass(frozen=True)
class Verdict:
    """How many sessions the events tell of, and which are not as they say."""

    sessions: int
    differences: Sequence[Difference]


async def rebuild(dsn: str, begin: Begin) -> Rebuilt:
    """Bring every session up to what its events say, each day's in a transaction.

    What checks have measured of sessions stays. It may be stopped and done again at any time.
    Raises DatabaseUnavailable, or SchemaMismatch for a schema that is not up to date.
    """
    sessions = removed = 0
    async with connected(dsn) as connection:
        await check(connection, (await read_schema(connection)).known)
        days = await _days(connection)
        advance = begin("rebuild", sum(told for _, told in days))
        for day, told in days:
            async with connection.transaction():
                hubs = [row["hub"] for row in await connection.fetch(query("known_hubs"))]
                await connection.execute(query("lock_hubs"), hub_locks(hubs))
                until = day + _DAY
                sessions += await connection.fetchval(query("refold_between"), day, until, hubs)
                for name in ("remove_open_without_events", "remove_ended_without_events"):
                    removed += len(await connection.fetch(query(name), day, until))
            advance(told)
    return Rebuilt(sessions, removed)


async def verify(dsn: str, begin: Begin) -> Verdict:
    """Compute everything again and compare, all as it is at one moment; changes nothing.

    Raises DatabaseUnavailable, or SchemaMismatch for a schema that is not up to date.
    """
    found: list[Difference] = []
    async with (
        connected(dsn) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await check(connection, (await read_schema(connection)).known)
        days = await _days(connection)
        advance = begin("verify", sum(told for _, told in days))
        for day, told in days:
            rows = await connection.fetch(query("sessions_unlike_events"), day, day + _DAY)
            found += [Difference(row["id"], row["how"]) for row in rows]
            advance(told)
    return Verdict(sum(told for _, told in days), found)


async def _days(connection: asyncpg.Connection) -> list[tuple[datetime, int]]:
    rows = await connection.fetch(query("rebuild_days"))
    return [(row["day"], row["told"]) for row in rows]
