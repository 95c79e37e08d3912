"""The four roles of a database: who owns it, who writes, who samples, who only reads.

Called by the command line. What each may do stands in ``docs/roles.md``; what is printed is read
from the catalog, whatever the documentation says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from .. import _data
from .._private_files import read_secret
from ..errors import ConfigurationError
from .connections import connected
from .queries import query
from .schema import prepare
from .scram import scram_verifier

ROLES: Final = ("owner", "writer", "sampler", "reader")
DEFAULT_PREFIX: Final = "jupyterhub_metrics_"
MIN_PASSWORD_CHARACTERS: Final = 16
READS: Final = ("plain", "pseudonymised")

_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class Right:
    """What a role may do with some objects: ``kind`` is schema, relation or routine."""

    kind: str
    rights: str
    objects: tuple[str, ...]


@dataclass(frozen=True)
class RoleRights:
    """One role as the database knows it; ``connection_limit`` is -1 where there is none."""

    name: str
    can_login: bool
    connection_limit: int
    settings: tuple[str, ...]
    on_database: tuple[str, ...]
    rights: tuple[Right, ...]


def role_names(prefix: str) -> dict[str, str]:
    """The name of each role in the database. Raises ConfigurationError for an odd prefix."""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"found the prefix {prefix!r}; expected a lower-case letter or _ and then at most 40 "
            "of a-z, 0-9 and _; correct --prefix"
        )
    return {role: prefix + role for role in ROLES}


def read_passwords(folder: Path) -> dict[str, str]:
    """The passwords of those roles that have a file of their name in the folder.

    Raises ConfigurationError if none has, if another may read one, or for one that is too short
    or not ASCII.
    """
    passwords = {}
    for role in ROLES:
        path = folder / role
        password = read_secret(path)
        if password is None:
            continue
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(
                f"found {path} open to others; expected mode 0600; chmod 600 it, and write a new "
                "password into it"
            )
        if len(password) < MIN_PASSWORD_CHARACTERS or not (
            password.isascii() and password.isprintable()
        ):
            raise ConfigurationError(
                f"found a password in {path} that is short or not ASCII; expected at least "
                f"{MIN_PASSWORD_CHARACTERS} printable ASCII characters; write another, for example "
                "by openssl rand -hex 24"
            )
        passwords[role] = password
    if not passwords:
        raise ConfigurationError(
            f"found no password in {folder}; expected files named {', '.join(ROLES)}, one for each "
            "role that shall log in; write them or correct --passwords"
        )
    return passwords


async def create_roles(
    dsn: str, prefix: str, *, passwords: dict[str, str] | None = None, reads: str | None = None
) -> None:
    """Make the roles where they are missing and bring what each may do up to this version.

    ``passwords`` are those of roles that shall log in; the others keep what they have, and a new
    one cannot log in. ``reads`` is ``plain`` or ``pseudonymised``; None keeps what the reader has,
    which is plain at first. All of it happens or nothing.

    Raises ConfigurationError, DatabaseUnavailable, or SchemaMismatch if the schema is not up to
    date.
    """
    names = role_names(prefix)
    verifiers = {role: scram_verifier(password) for role, password in (passwords or {}).items()}
    async with connected(dsn) as connection:
        await prepare(connection, "never")
        async with connection.transaction():
            await connection.execute(query("lock_migrations"))
            if reads is None:
                pseudonymised = await connection.fetchval(
                    query("reader_is_pseudonymised"), names["reader"]
                )
                reads = READS[1] if pseudonymised else READS[0]
            given = {"prefix": prefix, "reads": reads, "verifiers": verifiers}
            await connection.execute(query("set_roles"), json.dumps(given))
            if reads == "pseudonymised":
                await connection.execute(_script("pseudonymised.sql"))
            try:
                await connection.execute(_script("grant.sql"))
            except asyncpg.DuplicateObjectError as error:
                raise ConfigurationError(f"{error}; give another --prefix") from error


def _script(name: str) -> str:
    return _data.path("sql", "roles", name).read_text(encoding="utf-8")


async def read_roles(dsn: str, prefix: str) -> list[RoleRights]:
    """Those of the four roles that exist, in their order, with all that each may do."""
    names = list(role_names(prefix).values())
    async with connected(dsn) as connection, connection.transaction(readonly=True):
        there = {row["name"]: row for row in await connection.fetch(query("roles_there"), names)}
        rights = await connection.fetch(query("role_rights"), names)
    return [_role(there[name], rights) for name in names if name in there]


def _role(row: asyncpg.Record, rights: Sequence[asyncpg.Record]) -> RoleRights:
    return RoleRights(
        name=row["name"],
        can_login=row["can_login"],
        connection_limit=row["connection_limit"],
        settings=tuple(row["settings"]),
        on_database=tuple(row["on_database"] or ()),
        rights=tuple(
            Right(right["kind"], right["rights"], tuple(right["objects"]))
            for right in rights
            if right["role"] == row["name"]
        ),
    )
