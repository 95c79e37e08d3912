"""``jupyterhub-metrics``: picks the command and turns failures into one line.

Each command is a module of the room that it belongs to, with ``add_arguments(parser)`` and
``run(arguments)``, loaded only when it is asked for.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from . import __version__
from .errors import MetricsError


@dataclass(frozen=True)
class Command:
    """A subcommand: where its code is, what it does, and the extra that it needs."""

    module: str
    help: str
    extra: str


COMMANDS: Final = {
    "db": Command(
        "store.command",
        "migrate, back up, restore and check the database; make its roles",
        "service",
    ),
    "users": Command(
        "sources.users_command", "tell e-mail, name, department and job title of users", "service"
    ),
    "sample": Command(
        "sampler.command", "sample this host, node or server and what runs on it", "sampler"
    ),
    "demo": Command("demo.command", "run a complete Hub with a simulated past", "demo"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit status: 0, or 1 with one line on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="jupyterhub-metrics")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: subparsers.add_parser(name, help=command.help) for name, command in COMMANDS.items()
    }
    asked = next((word for word in given if not word.startswith("-")), None)
    try:
        if asked not in COMMANDS:
            parser.parse_args(given)
            return 0
        module = importlib.import_module(f"{__package__}.{COMMANDS[asked].module}")
        module.add_arguments(parsers[asked])
        return int(module.run(parser.parse_args(given)))
    except MetricsError as error:
        return _failed(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__package__):
            raise
        return _failed(
            f"found no module {error.name}; expected the extra for {asked}; "
            f"pip install 'jupyterhub-metrics[{COMMANDS[asked or ''].extra}]'"
        )
    except KeyboardInterrupt:
        return _failed("interrupted")


def _failed(reason: str) -> int:
    sys.stderr.write(f"jupyterhub-metrics: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
