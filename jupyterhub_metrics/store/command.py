"""``jupyterhub-metrics db``: migrate the database, say what is in it, and who may do what.

Called by the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime

from ..model import isoformat
from .administration import Status, migrate_database, read_status
from .roles_command import add_roles_arguments, roles
from .where import DESCRIPTION, add_database_arguments, database_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``db`` to its parser."""
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_text in (
        ("migrate", "bring the schema up to date; a new database gets one"),
        ("status", "print what is in the database; exit status 1 if the service refuses it"),
        ("roles", "make owner, writer, sampler and reader, and print what each may do"),
    ):
        action = actions.add_parser(name, help=help_text)
        if name == "roles":
            add_roles_arguments(action)
        add_database_arguments(action)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; gives the exit status. Raises MetricsError."""
    migrating = arguments.action == "migrate"
    actions: dict[str, Callable[[str], Awaitable[int]]] = {
        "migrate": _migrate,
        "status": _status,
        "roles": lambda dsn: _roles(dsn, arguments),
    }
    return asyncio.run(_with_dsn(arguments, actions[arguments.action], create=migrating))


async def _with_dsn(
    arguments: argparse.Namespace,
    action: Callable[[str], Awaitable[int]],
    *,
    create: bool,
) -> int:
    async with database_of(arguments, os.environ, create=create) as dsn:
        return await action(dsn)


async def _migrate(dsn: str) -> int:
    applied = await migrate_database(dsn)
    for migration in applied:
        _print(f"applied {migration.label}")
    if not applied:
        _print("nothing to apply, the schema is up to date")
    return 0


async def _status(dsn: str) -> int:
    status = await read_status(dsn)
    for line in _lines(status):
        _print(line)
    return 1 if status.pending else 0


async def _roles(dsn: str, arguments: argparse.Namespace) -> int:
    for line in await roles(dsn, arguments):
        _print(line)
    return 0


def _lines(status: Status) -> list[str]:
    labelled = [
        ("engine", str(status.capabilities)),
        ("database", status.place),
        ("schema version", f"{status.applied_version} of {status.known_version}"),
        ("pending", ", ".join(status.pending) or "none"),
    ]
    if not status.pending:
        labelled += [
            ("oldest session", _moment(status.oldest_session_at)),
            ("newest session", _moment(status.newest_session_at)),
        ]
    lines = [f"{label:<16}{value}" for label, value in labelled]
    if status.tables:
        lines += ["", f"{'table':<24}{'rows':>14}{'KiB':>14}"]
        lines += [
            f"{table.name:<24}{table.rows:>14,}{table.bytes // 1024:>14,}"
            for table in status.tables
        ]
    return lines


def _moment(moment: datetime | None) -> str:
    return isoformat(moment) if moment else "none"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
