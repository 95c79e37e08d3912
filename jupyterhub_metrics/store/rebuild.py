"""Computes sessions and usage from events anew, or compares them with what is stored.

Called by the command line. Both are done in portions of time, so that memory and locks stay small
and progress can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from .queries import query

PORTION: Final = timedelta(days=7)
_STATEMENT_SECONDS: Final = 3600.0

Progress = Callable[[str, float], None]
"""Told what is being done and how much of it is done, from 0 to 1."""


def silent(_doing: str, _done: float) -> None:
    """For who wants no progress told."""


@dataclass(frozen=True)
class Differences:
    """What is stored and should not be so, or should be and is not: sessions by id, days whose
    usage or whose rollups differ, and users, by Hub and name, of whose servers another owner or
    of whom another first session is kept."""

    sessions: frozenset[UUID]
    usage_days: frozenset[date]
    rollup_days: frozenset[date]
    users: frozenset[tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.sessions or self.usage_days or self.rollup_days or self.users)


async def rebuild(connection: asyncpg.Connection, now: datetime, progress: Progress) -> int:
    """Sessions and usage anew, from events and what checks measured; gives how many sessions.

    One transaction: whoever reads meanwhile sees what was there before, whoever writes waits, and
    a rebuild that is broken off has changed nothing. Summaries follow in rounds of upkeep.
    """
    async with connection.transaction():
        await _each(connection, "use_much_memory", "have_usage_alone", "keep_activity")
        await _each(connection, "find_activity", "find_activity_of_one", "analyse_activity")
        await _each(connection, "make_room_for_folds", "forget_sessions", "open_all_usage")
        bounds = await connection.fetchrow(query("sessions_filed"), timeout=_STATEMENT_SECONDS)
        folded = 0
        for since, until, done in portions(bounds["first_at"], bounds["last_at"]):
            count = await connection.fetchval(
                query("fold_filed"), since, until, timeout=_STATEMENT_SECONDS
            )
            folded += count or 0
            progress("sessions", done)
        await _each(connection, "analyse_sessions", "own_servers_anew")
        for _, _, done in portions(bounds["first_at"], now):
            await connection.fetchval(
                query("close_usage_days"), now, PORTION.days, timeout=_STATEMENT_SECONDS
            )
            progress("usage", done)
    return folded


async def differences(
    connection: asyncpg.Connection, now: datetime, progress: Progress
) -> Differences:
    """What is not as it is computed anew, at one moment. Changes nothing."""
    sessions: set[UUID] = set()
    days: set[date] = set()
    rollups: set[date] = set()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await _each(connection, "use_much_memory")
        bounds = await connection.fetchrow(query("sessions_filed"), timeout=_STATEMENT_SECONDS)
        for since, until, done in portions(bounds["first_at"], bounds["last_at"]):
            rows = await connection.fetch(
                query("sessions_that_differ"), since, until, timeout=_STATEMENT_SECONDS
            )
            sessions.update(row["id"] for row in rows)
            progress("sessions", done)
        for since, until, done in portions(bounds["first_at"], now):
            rows = await connection.fetch(
                query("usage_that_differs"), since, until, timeout=_STATEMENT_SECONDS
            )
            days.update(row["day"] for row in rows)
            rows = await connection.fetch(
                query("resource_sums_that_differ"), since, until, timeout=_STATEMENT_SECONDS
            )
            rollups.update(row["day"] for row in rows)
            progress("usage", done)
        rows = await connection.fetch(query("rollups_that_differ"), timeout=_STATEMENT_SECONDS)
        rollups.update(row["day"] for row in rows)
        rows = await connection.fetch(query("owners_that_differ"), timeout=_STATEMENT_SECONDS)
        users = frozenset((row["hub"], row["username"]) for row in rows)
    return Differences(frozenset(sessions), frozenset(days), frozenset(rollups), users)


async def _each(connection: asyncpg.Connection, *names: str) -> None:
    for name in names:
        await connection.execute(query(name), timeout=_STATEMENT_SECONDS)


def portions(
    first_at: datetime | None, last_at: datetime | None
) -> Iterator[tuple[datetime, datetime, float]]:
    """``[since, until)`` of each portion from the first moment to the last, and how much is done
    after it; whole days, nothing where there is no first."""
    if first_at is None or last_at is None:
        return
    begin = since = first_at.replace(hour=0, minute=0, second=0, microsecond=0)
    while since <= last_at:
        until = since + PORTION
        yield since, until, 1.0 if until > last_at else (until - begin) / (last_at - begin)
        since = until
