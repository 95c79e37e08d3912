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
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from .._clock import utc_now
from .._names import DATA_DIR_VARIABLE
from .._private_files import read_secret
from ..dsn import DSN_VARIABLE, check_dsn, dsn_from_environment
from ..errors import ConfigurationError
from ..model import isoformat
from .administration import Status, embedded_dsn, migrate_database, read_status
from .backup import write_backup
from .progress import beginning_on
from .restore import restore_backup


_Options = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]


@dataclass(frozen=True)
class Action:
    """Something that ``db`` does: ``run`` takes the DSN and the arguments and gives the exit
    status; ``creates`` says that a data folder without a database gets one for it."""

    help: str
    run: Callable[[str, argparse.Namespace], Awaitable[int]]
    options: _Options = ()
    creates: bool = False


def _option(name: str, help_text: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    return (name,), {"action": "store_true", "help": help_text}


_FILE: Final = (("file",), {"type": Path, "metavar": "FILE"})

ACTIONS: Final[Mapping[str, Action]] = {
    "migrate": Action(
        "bring the schema up to date; a new database gets one",
        lambda dsn, arguments: _migrate(dsn),
        creates=True,
    ),
    "status": Action(
        "print what is in the database; exit status 1 if the service refuses it",
        lambda dsn, arguments: _status(dsn),
    ),
    "backup": Action(
        "write all of the database to a file, while the service runs",
        lambda dsn, arguments: _backup(dsn, arguments.file, replace=arguments.replace),
        options=(_FILE, _option("--replace", "replace the file if there is one of that name")),
    ),
    "restore": Action(
        "check a backup and bring all of it into an empty database",
        lambda dsn, arguments: _restore(dsn, arguments.file, replace=arguments.replace),
        options=(_FILE, _option("--replace", "delete what is in the database")),
        creates=True,
    ),
}
"""What ``db`` can do, by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``db`` to its parser."""
    parser.description = (
        f"The database is the one of --dsn-file or --data-dir; else of {DSN_VARIABLE}, of DB_HOST, "
        f"DB_PORT, DB_NAME, DB_USER and DB_PASSWORD, or of the folder {DATA_DIR_VARIABLE}."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, action in ACTIONS.items():
        taken = actions.add_parser(name, help=action.help, description=action.help)
        where = taken.add_mutually_exclusive_group()
        where.add_argument("--dsn-file", type=Path, help="a file that holds the DSN")
        where.add_argument(
            "--data-dir",
            type=Path,
            help="the Hub's data folder: its secrets/dsn, or the embedded server in it",
        )
        for names, settings in action.options:
            taken.add_argument(*names, **settings)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; gives the exit status. Raises MetricsError."""
    return asyncio.run(_run(arguments, os.environ))


async def _run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    action = ACTIONS[arguments.action]
    async with _dsn(arguments, environment, create=action.creates) as dsn:
        return await action.run(dsn, arguments)


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


async def _backup(dsn: str, path: Path, *, replace: bool) -> int:
    begin = beginning_on(sys.stderr)
    manifest = await write_backup(dsn, path, replace=replace, begin=begin, now=utc_now())
    _print(
        f"wrote {manifest.rows:,} rows of {len(manifest.tables)} tables to {path}, "
        f"{path.stat().st_size:,} bytes"
    )
    return 0


async def _restore(dsn: str, path: Path, *, replace: bool) -> int:
    manifest = await restore_backup(dsn, path, replace=replace, begin=beginning_on(sys.stderr))
    _print(
        f"restored {manifest.rows:,} rows of {len(manifest.tables)} tables, as they were at "
        f"{isoformat(manifest.made_at)}; row counts and checksums are those of the backup"
    )
    return 0


def _moment(moment: datetime | None) -> str:
    return isoformat(moment) if moment else "none"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
