"""Opens a database for the service: a pool of connections to it, its schema checked."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from .failures import connecting, place, translated
from .queries import query
from .schema import Policy, prepare
from .store import CONNECT_SECONDS, Store

COMMAND_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


async def open_store(
    dsn: str,
    *,
    migrate: Policy = "if_empty",
    max_connections: int = 5,
    application_name: str = "jupyterhub-metrics",
    on_query: Callable[[str, float], None] | None = None,
) -> Store:
    """A store over the database at ``dsn``, its schema checked.

    ``migrate`` says what happens to a schema that is behind: ``always`` brings it up to date,
    ``if_empty`` makes one where there is none, ``never`` only checks. ``on_query`` is told the
    text of each statement that was executed and how many seconds it took.

    Raises DatabaseUnavailable, SchemaMismatch, or ConfigurationError for a DSN that cannot be read.
    """
    with connecting(dsn):
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=max_connections,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings={"application_name": application_name, "timezone": "UTC"},
            init=_reporting(on_query) if on_query else None,
            connection_class=_LeftClean,
        )
    try:
        with translated(dsn):
            async with pool.acquire() as connection:
                schema, applied = await prepare(connection, migrate)
            if applied:
                # migrations set what holds for connections opened from then on
                await pool.expire_connections()
            compiles = await pool.fetchval(query("compiles"))
    except BaseException:
        pool.terminate()
        raise
    if compiles:
        log.warning(
            "found jit on in the database at %s; expected off, as questions take many times as "
            "long with it; have the database's owner ALTER DATABASE ... SET jit = off",
            place(dsn),
        )
    log.info("opened the database at %s: %s", place(dsn), schema.capabilities)
    return Store(dsn, pool, schema.capabilities)


class _LeftClean(asyncpg.Connection):
    """Goes back to the pool as it is: what is set or locked here ends with its transaction.

    A reset would cost a round trip after every statement.
    """

    def get_reset_query(self) -> str:
        return ""


def _reporting(
    on_query: Callable[[str, float], None],
) -> Callable[[asyncpg.Connection], Awaitable[None]]:
    """Makes each new connection of the pool tell of its statements."""

    def report(executed: asyncpg.connection.LoggedQuery) -> None:
        on_query(executed.query, executed.elapsed)

    async def init(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(report)

    return init
