"""Turns what asyncpg and the network raise into this software's own exceptions.

One line with what was found, what was expected and the remedy, and never the password. Called by
:mod:`.store` and :mod:`.migrations`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from ..errors import (
    ConfigurationError,
    DatabaseUnavailable,
    MetricsError,
    SchemaMismatch,
    UnknownZone,
)

CONNECTION_LOST = (
    OSError,
    asyncpg.InterfaceError,
    # what asyncpg says if the server's goodbye arrives just before the next statement
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""The connection broke or was broken; another one may work at once."""

UNSTORABLE = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""The values themselves are refused; sending them again gives the same answer."""

_LOST_FROM_THE_SCHEMA = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
)


def place(dsn: str) -> str:
    """Where a DSN points, for people: ``user@host:port/name`` without the password."""
    try:
        parts = urlsplit(dsn)
        options = parse_qs(parts.query)
        host = options.get("host", [parts.hostname or "localhost"])[0]
        port = options.get("port", [str(parts.port or 5432)])[0]
        user = unquote(parts.username or options.get("user", ["?"])[0])
    except ValueError:
        return "an address that cannot be read"
    return f"{user}@{host}:{port}/{unquote(parts.path.lstrip('/')) or user}"


@contextmanager
def translated(dsn: str) -> Iterator[None]:
    """Raises errors of this software in place of asyncpg's."""
    try:
        yield
    except (asyncpg.PostgresError, asyncio.TimeoutError, *CONNECTION_LOST) as error:
        raise translation(error, dsn) from error


@contextmanager
def connecting(dsn: str) -> Iterator[None]:
    """Like :func:`translated`, for the first contact, where the DSN itself may be at fault."""
    with translated(dsn):
        try:
            yield
        except ValueError:
            # asyncpg's own text may hold the whole address, so it is not passed on
            raise ConfigurationError(
                "the database's DSN cannot be read; expected "
                "postgresql://user:password@host:port/name with special characters as %XX; "
                "correct it"
            ) from None


def translation(error: BaseException, dsn: str) -> MetricsError:
    """What this error means for the database at ``dsn``."""
    where = place(dsn)
    text = _one_line(error)
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return DatabaseUnavailable(
            f"the database refused {where}: {text}; expected its user and password; correct the "
            "DSN (JUPYTERHUB_METRICS_DSN or DB_USER and DB_PASSWORD)"
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return DatabaseUnavailable(
            f"the database server has no such database ({where}): {text}; create it, or correct "
            "the DSN"
        )
    if isinstance(error, _LOST_FROM_THE_SCHEMA):
        return SchemaMismatch(
            f"the schema of {where} lost what this version needs: {text}; restore it, or run "
            "jupyterhub-metrics db migrate"
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return DatabaseUnavailable(
            f"the database forbids {where} what is needed: {text}; expected the owner of the "
            "schema; grant it, or use another user"
        )
    if isinstance(error, asyncpg.InvalidParameterValueError) and "time zone" in text:
        return UnknownZone(f"found {text}; expected the name of a zone, as Europe/Berlin")
    if isinstance(error, asyncpg.DiskFullError):
        return DatabaseUnavailable(
            f"found the disk of the database at {where} full: {text}; expected room for what is "
            "written; make room and try again"
        )
    if isinstance(error, asyncio.TimeoutError) and not isinstance(error, asyncpg.PostgresError):
        text = "no answer in time"
    return DatabaseUnavailable(
        f"the database at {where} is not available: {text}; expected it to answer; check that it "
        "runs and can be reached"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
