"""``jupyterhub-metrics db``: migrate the database and say what is in it.

Called by the command line. A DSN is never an argument: arguments are shown to everyone on the
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from .._names import DATA_DIR_VARIABLE
from .._private_files import read_secret
from ..dsn import DSN_VARIABLE, check_dsn, dsn_from_environment
from ..errors import ConfigurationError
from ..model import isoformat
from .administration import Status, embedded_dsn, migrate_database, read_status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``db`` to its parser."""
    parser.description = (
        f"The database is the one of --dsn-file or --data-dir; else of {DSN_VARIABLE}, of DB_HOST, "
        f"DB_PORT, DB_NAME, DB_USER and DB_PASSWORD, or of the folder {DATA_DIR_VARIABLE}."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_text in (
        ("migrate", "bring the schema up to date; a new database gets one"),
        ("status", "print what is in the database; exit status 1 if the service refuses it"),
    ):
        action = actions.add_parser(name, help=help_text)
        where = action.add_mutually_exclusive_group()
        where.add_argument("--dsn-file", type=Path, help="a file that holds the DSN")
        where.add_argument(
            "--data-dir",
            type=Path,
            help="the Hub's data folder: its secrets/dsn, or the embedded server in it",
        )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; gives the exit status. Raises MetricsError."""
    migrating = arguments.action == "migrate"
    action: Callable[[str], Awaitable[int]] = _migrate if migrating else _status
    return asyncio.run(_with_dsn(arguments, os.environ, action, create=migrating))


async def _with_dsn(
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
    action: Callable[[str], Awaitable[int]],
    *,
    create: bool,
) -> int:
    async with _dsn(arguments, environment, create=create) as dsn:
        return await action(dsn)


@asynccontextmanager
async def _dsn(
    arguments: argparse.Namespace, environment: Mapping[str, str], *, create: bool
) -> AsyncIterator[str]:
    data_dir: Path | None = arguments.data_dir
    if arguments.dsn_file is not None:
        given = read_secret(arguments.dsn_file)
        if given is None:
            raise ConfigurationError(
                f"found no file {arguments.dsn_file}; expected the database's DSN in it; "
                "write it or correct --dsn-file"
            )
        yield check_dsn(given)
        return
    if data_dir is None:
        found = dsn_from_environment(environment)
        if found is not None:
            yield found
            return
        if not environment.get(DATA_DIR_VARIABLE):
            raise ConfigurationError(
                f"found no database; expected --dsn-file, --data-dir, {DSN_VARIABLE}, DB_HOST and "
                f"its companions, or {DATA_DIR_VARIABLE}; give one of them"
            )
        data_dir = Path(environment[DATA_DIR_VARIABLE])
    kept = read_secret(data_dir / "secrets" / "dsn")
    if kept is not None:
        yield check_dsn(kept)
        return
    async with embedded_dsn(data_dir, create=create) as dsn:
        yield dsn


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
