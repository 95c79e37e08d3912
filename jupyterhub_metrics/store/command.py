"""``jupyterhub-metrics db``: migrate the database and say what is in it.

Called by the command line. A DSN is never an argument: arguments are shown to everyone on the
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import actions
from .roles_command import ROLES_OPTIONS
from .upkeep import UpkeepRules
from .where import DESCRIPTION, add_database_arguments, database_of

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
        "compress all chunks that have closed",
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
    "roles": Action(
        "make owner, writer, sampler and reader, and print what each may do",
        lambda dsn, arguments: actions.roles(dsn, arguments),
        options=ROLES_OPTIONS,
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
    parser.description = DESCRIPTION
    subparsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, action in ACTIONS.items():
        taken = subparsers.add_parser(name, help=action.help, description=action.help)
        add_database_arguments(taken)
        for names, settings in action.options:
            taken.add_argument(*names, **settings)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; gives the exit status. Raises MetricsError."""
    return asyncio.run(_run(arguments, os.environ))


async def _run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    action = ACTIONS[arguments.action]
    async with database_of(arguments, environment, create=action.creates) as dsn:
        return await action.run(dsn, arguments)
