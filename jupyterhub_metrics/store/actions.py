"""What each action of ``jupyterhub-metrics db`` does and prints; gives the exit status.

Results go to standard output, progress to standard error. Called by :mod:`.command`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from .._clock import utc_now
from ..model import isoformat
from . import rebuilding, tidying
from .administration import migrate_database, read_status
from .backup import write_backup
from .progress import beginning_on
from .report import status_lines
from .restore import restore_backup
from .upkeep import UpkeepRules

_SHOWN: Final = 20
"""Differences that are printed one by one."""


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
        _print(f"compressed {done.chunks} chunks of events")
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
    """Compute sessions again."""
    done = await rebuilding.rebuild(dsn, beginning_on(sys.stderr))
    _print(
        f"rebuilt {done.sessions:,} sessions from their events, removed {done.removed:,} that "
        "have none"
    )
    return 0


async def verify(dsn: str) -> int:
    """Compute sessions again and compare; 1 if one differs."""
    verdict = await rebuilding.verify(dsn, beginning_on(sys.stderr))
    wrong = verdict.differences
    for difference in wrong[:_SHOWN]:
        _print(f"session {difference.session_id} {difference.how}")
    if len(wrong) > _SHOWN:
        _print(f"and {len(wrong) - _SHOWN:,} more")
    if wrong:
        _print(
            f"found {len(wrong):,} sessions unlike their events, of {verdict.sessions:,}; expected "
            "none; run jupyterhub-metrics db rebuild"
        )
        return 1
    _print(f"verified {verdict.sessions:,} sessions: all are as their events say")
    return 0


def _bytes(path: Path) -> int:
    return path.stat().st_size


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
