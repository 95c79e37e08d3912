"""``jupyterhub-metrics db roles``: make the four roles, and print what each may do.

Called by :mod:`.command`. Passwords come from files and are never arguments.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError
from .roles import (
    DEFAULT_PREFIX,
    READS,
    ROLES,
    RoleRights,
    create_roles,
    read_passwords,
    read_roles,
    role_names,
)

WIDTH = 100


ROLES_OPTIONS: Final = (
    (
        ("--create",),
        {"action": "store_true", "help": "make what is missing and grant; else only print"},
    ),
    (
        ("--prefix",),
        {
            "default": DEFAULT_PREFIX,
            "help": "how the roles' names begin, by default %(default)s",
        },
    ),
    (
        ("--passwords",),
        {
            "type": Path,
            "metavar": "FOLDER",
            "help": f"files named {', '.join(ROLES)}: the passwords of the roles that shall log in",
        },
    ),
    (
        ("--reads",),
        {
            "choices": READS,
            "help": "what the reader sees; else what it saw before, and everything at first",
        },
    ),
)
"""The arguments of ``db roles``, beside those that say which database."""


async def roles(dsn: str, arguments: argparse.Namespace) -> list[str]:
    """Do what was asked; gives the lines to print. Raises MetricsError."""
    names = role_names(arguments.prefix)
    if arguments.create:
        passwords = read_passwords(arguments.passwords) if arguments.passwords else None
        await create_roles(dsn, arguments.prefix, passwords=passwords, reads=arguments.reads)
    elif arguments.passwords or arguments.reads:
        raise ConfigurationError(
            "found --passwords or --reads without --create; expected to change something with "
            "them; add --create"
        )
    found = await read_roles(dsn, arguments.prefix)
    missing = [name for name in names.values() if name not in {role.name for role in found}]
    if missing:
        raise ConfigurationError(
            f"found no role {', '.join(missing)}; expected all four; run jupyterhub-metrics db "
            "roles --create, or correct --prefix"
        )
    return [line for role in found for line in _lines(role)]


def _lines(role: RoleRights) -> Iterator[str]:
    yield f"{role.name}: {'logs in' if role.can_login else 'cannot log in'}"
    if role.connection_limit >= 0:
        yield from _entry("connections", f"at most {role.connection_limit}")
    for setting in role.settings:
        yield from _entry("set", setting)
    yield from _entry("database", ", ".join(role.on_database))
    for right in role.rights:
        label = "schema" if right.kind == "schema" else right.rights
        objects = ", ".join(right.objects)
        yield from _entry(label, f"{right.rights} on {objects}" if label == "schema" else objects)


def _entry(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {label:<31}",
        subsequent_indent=" " * 33,
        break_long_words=False,
        break_on_hyphens=False,
    )
