"""Which database a command of the command line means. A DSN is never an argument: arguments are
shown to everyone on the machine.

Called by the commands of this room and of others.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from .._names import DATA_DIR_VARIABLE
from .._private_files import read_secret
from ..dsn import DSN_VARIABLE, check_dsn, dsn_from_environment
from ..errors import ConfigurationError
from .administration import embedded_dsn

DESCRIPTION: Final = (
    f"The database is the one of --dsn-file or --data-dir; else of {DSN_VARIABLE}, of DB_HOST, "
    f"DB_PORT, DB_NAME, DB_USER and DB_PASSWORD, or of the folder {DATA_DIR_VARIABLE}."
)


def add_database_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--dsn-file`` and ``--data-dir``."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dsn-file", type=Path, help="a file that holds the DSN")
    where.add_argument(
        "--data-dir",
        type=Path,
        help="the Hub's data folder: its secrets/dsn, or the embedded server in it",
    )


@asynccontextmanager
async def database_of(
    arguments: argparse.Namespace, environment: Mapping[str, str], *, create: bool = False
) -> AsyncIterator[str]:
    """The DSN of the database that is meant; an embedded server runs at least that long.

    ``create`` lets an embedded server be made where there is none. Raises ConfigurationError.
    """
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
