"""What each action of ``jupyterhub-metrics db`` does and prints; gives the exit status.

Results go to standard output, progress to standard error. Called by :mod:`.command`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from .._clock import utc_now
from ..model import isoformat
from . import rebuild as recompute
from . import roles_command, tidying
from .administration import migrate_database, read_status
from .backup import write_backup
from .connections import connected
from .progress import Begin, beginning_on
from .report import status_lines
from .restore import restore_backup
from .schema import prepare
from .upkeep import UpkeepRules

_SHOWN: Final = 20
"""Differences that are printed one by one."""

_PER_MILLE: Final = 1000


async def migrate(dsn: str) -> int:
    """Bring the schema up to date."""
    applied = await migrate_database(dsn)
    for migration in applied:
        _print(f"applied {migration.label}")
    if not applied:
        _print("nothing to apply, the schema is up to date")
    return 0


async def status(dsn: str) -> int:
    """Print what is in the database; 1 if the service refuses its schema."""
    status = await read_status(dsn, UpkeepRules(), utc_now())
    for line in status_lines(status):
        _print(line)
    return 1 if status.pending else 0


async def compress(dsn: str) -> int:
    """Compress what can be compressed."""
    done = await tidying.compress(dsn, utc_now(), beginning_on(sys.stderr))
    if done.chunks is None:
        _print(
            f"found {done.capabilities}, which does not compress; expected TimescaleDB with its "
            "full licence; nothing was changed"
        )
    else:
        _print(f"compressed {done.chunks} chunks")
    return 0


async def roles(dsn: str, arguments: argparse.Namespace) -> int:
    """Make the roles if that was asked for, and print what each may do."""
    for line in await roles_command.roles(dsn, arguments):
        _print(line)
    return 0


async def retention(dsn: str, observation_days: int, *, apply: bool) -> int:
    """Print what is kept how long, and with ``apply`` let go what is older."""
    rules = UpkeepRules.of_days(observation_days)
    done = await tidying.retention(dsn, rules, utc_now(), beginning_on(sys.stderr), apply=apply)
    _print("sessions, usage, events: kept for ever")
    if done.before is None:
        _print("observations: kept for ever")
        return 0
    _print(
        f"observations: kept for {observation_days} days; {done.observations:,} of "
        f"{done.polls:,} checks before {isoformat(done.before)} "
        + ("are gone" if apply else "would go, --apply lets them")
    )
    return 0


async def backup(dsn: str, path: Path, *, replace: bool) -> int:
    """Write everything to a file."""
    begin = beginning_on(sys.stderr)
    manifest = await write_backup(dsn, path, replace=replace, begin=begin, now=utc_now())
    _print(
        f"wrote {manifest.rows:,} rows of {len(manifest.tables)} tables to {path}, "
        f"{_bytes(path):,} bytes"
    )
    return 0


async def restore(dsn: str, path: Path, *, replace: bool) -> int:
    """Bring everything back from a file."""
    manifest = await restore_backup(dsn, path, replace=replace, begin=beginning_on(sys.stderr))
    _print(
        f"restored {manifest.rows:,} rows of {len(manifest.tables)} tables, as they were at "
        f"{isoformat(manifest.made_at)}; row counts and checksums are those of the backup"
    )
    return 0


async def rebuild(dsn: str) -> int:
    """Compute sessions and usage again."""
    async with _up_to_date(dsn) as connection:
        sessions = await recompute.rebuild(connection, utc_now(), _parts(beginning_on(sys.stderr)))
    _print(f"rebuilt {sessions:,} sessions and their usage from events")
    return 0


async def verify(dsn: str) -> int:
    """Compute sessions and usage again and compare; 1 if anything differs."""
    async with _up_to_date(dsn) as connection:
        found = await recompute.differences(connection, utc_now(), _parts(beginning_on(sys.stderr)))
    told = [
        *(f"session {one}" for one in sorted(found.sessions)),
        *(f"usage of {day}" for day in sorted(found.usage_days)),
        *(f"summary of usage of {day}" for day in sorted(found.rollup_days)),
        *(f"what is kept of user {username} of {hub}" for hub, username in sorted(found.users)),
    ]
    for one in told[:_SHOWN]:
        _print(f"{one} is not what events say")
    if len(told) > _SHOWN:
        _print(f"and {len(told) - _SHOWN:,} more")
    if told:
        _print(
            f"found {len(found.sessions):,} sessions and {len(found.usage_days):,} days of usage "
            f"that differ, summaries of {len(found.rollup_days):,} days and "
            f"{len(found.users):,} users; expected none; run jupyterhub-metrics db rebuild"
        )
        return 1
    _print("verified: all sessions and their usage are what events say")
    return 0


@asynccontextmanager
async def _up_to_date(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(dsn) as connection:
        await prepare(connection, "never")
        yield connection


def _parts(begin: Begin) -> Callable[[str, float], None]:
    """Takes how much of which part is done, from 0 to 1, one part after another."""
    advances: dict[str, Callable[[int], None]] = {}
    reached: dict[str, int] = {}

    def tell(doing: str, done: float) -> None:
        if doing not in advances:
            advances[doing] = begin(doing, _PER_MILLE)
        now = round(done * _PER_MILLE)
        advances[doing](now - reached.get(doing, 0))
        reached[doing] = now

    return tell


def _bytes(path: Path) -> int:
    return path.stat().st_size


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
