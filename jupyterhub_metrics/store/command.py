"""``jupyterhub-metrics db``: migrate the database and say what is in it.

Called by the command line. A DSN is never an argument: arguments are shown to everyone on the
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .._names import DATA_DIR_VARIABLE
from .._private_files import read_secret
from ..dsn import DSN_VARIABLE, check_dsn, dsn_from_environment
from ..errors import ConfigurationError
from . import actions
from .administration import embedded_dsn
from .upkeep import UpkeepRules

_Options = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]


@dataclass(frozen=True)
class Action:
    """Something that ``db`` does: ``run`` takes the DSN and the arguments and gives the exit
    status; ``creates`` says that a data folder without a database gets one for it."""

    help: str
    run: Callable[[str, argparse.Namespace], Awaitable[int]]
    options: _Options = ()
    creates: bool = False


def _switch(name: str, help_text: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    return (name,), {"action": "store_true", "help": help_text}


def _days(text: str) -> int:
    days = int(text)
    if not 0 <= days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"found {days}; expected 0 to {_MOST_DAYS} days")
    return days


_MOST_DAYS: Final = 36_500
_FILE: Final = (("file",), {"type": Path, "metavar": "FILE", "help": "the backup"})
_OBSERVATION_DAYS: Final = (
    ("--observation-days",),
    {
        "type": _days,
        "default": UpkeepRules().observation_days,
        "metavar": "DAYS",
        "help": "how long observations are kept, by default %(default)s days; 0: for ever",
    },
)

ACTIONS: Final[Mapping[str, Action]] = {
    "migrate": Action(
        "bring the schema up to date; a new database gets one",
        lambda dsn, arguments: actions.migrate(dsn),
        creates=True,
    ),
    "status": Action(
        "print what is in the database; exit status 1 if the service refuses it",
        lambda dsn, arguments: actions.status(dsn),
    ),
    "compress": Action(
        "compress all chunks of events that have closed",
        lambda dsn, arguments: actions.compress(dsn),
    ),
    "retention": Action(
        "print what is kept how long, and what would go",
        lambda dsn, arguments: actions.retention(
            dsn, arguments.observation_days, apply=arguments.apply
        ),
        options=(_OBSERVATION_DAYS, _switch("--apply", "let it go")),
    ),
    "backup": Action(
        "write all of the database to a file, while the service runs",
        lambda dsn, arguments: actions.backup(dsn, arguments.file, replace=arguments.replace),
        options=(_FILE, _switch("--replace", "replace the file if there is one of that name")),
    ),
    "restore": Action(
        "check a backup and bring all of it into an empty database",
        lambda dsn, arguments: actions.restore(dsn, arguments.file, replace=arguments.replace),
        options=(_FILE, _switch("--replace", "delete what is in the database")),
        creates=True,
    ),
    "rebuild": Action(
        "compute all sessions and usage again from events",
        lambda dsn, arguments: actions.rebuild(dsn),
    ),
    "verify": Action(
        "compute all sessions and usage again and compare; exit status 1 if any differs",
        lambda dsn, arguments: actions.verify(dsn),
    ),
}
"""What ``db`` can do, by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``db`` to its parser."""
    parser.description = (
        f"The database is the one of --dsn-file or --data-dir; else of {DSN_VARIABLE}, of DB_HOST, "
        f"DB_PORT, DB_NAME, DB_USER and DB_PASSWORD, or of the folder {DATA_DIR_VARIABLE}."
    )
    subparsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, action in ACTIONS.items():
        taken = subparsers.add_parser(name, help=action.help, description=action.help)
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
