"""One connection, for what is done once. Called by the parts of the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from .failures import connecting, translated
from .store import CONNECT_SECONDS


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose failures are this software's own; statements take as long as they take.

    Raises DatabaseUnavailable, SchemaMismatch or ConfigurationError.
    """
    with connecting(dsn):
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_SECONDS,
            server_settings={"application_name": "jupyterhub-metrics db", "timezone": "UTC"},
        )
    try:
        with translated(dsn):
            yield connection
    finally:
        await connection.close()
