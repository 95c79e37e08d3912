"""``jupyterhub-metrics demo``: its options. Called by the command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from .campus import MAX_PEOPLE
from .folder import DemoFolder
from .running import Demo

DESCRIPTION = """\
Start a complete JupyterHub with its proxy, real JupyterLab servers, the usage service and an
embedded PostgreSQL, and fill in a simulated past. It listens on 127.0.0.1 only, behind a random
password. Ctrl-C ends everything; the next start in the same folder goes on with the same data.
All servers run as the user who starts the demo and can read each other's files and the Hub's:
it is for trying out, not for people who do not trust one another.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument(
        "--port",
        type=_between(1, 65535),
        default=8000,
        help="port of the Hub (default %(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("jupyterhub-metrics-demo"),
        metavar="DIR",
        help="folder that keeps everything (default ./%(default)s)",
    )
    parser.add_argument(
        "--history",
        type=_between(0, 3650),
        default=30,
        metavar="DAYS",
        help="days of simulated past, 0 for none (default %(default)s)",
    )
    parser.add_argument(
        "--users",
        type=_between(1, MAX_PEOPLE),
        default=20,
        metavar="N",
        help=f"simulated users, at most {MAX_PEOPLE} (default %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, another past (default %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo until it is ended; gives the exit status.

    Raises ConfigurationError, one line, when it cannot start.
    """

    async def demo() -> int:
        return await Demo(
            DemoFolder(arguments.data),
            port=arguments.port,
            history_days=arguments.history,
            users=arguments.users,
            seed=arguments.seed,
            say=say,
        ).run()

    return asyncio.run(demo())


def say(line: str) -> None:
    """One line for whoever started the demo; a reader who is gone is no reason to stop."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"found {value}; expected {low} to {high}")
        return value

    number.__name__ = f"number from {low} to {high}"
    return number
