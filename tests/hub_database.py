"""Reads what a test Hub's service has stored: from its embedded database, or from a given one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from hub_process import HubProcess, until

from jupyterhub_metrics.dsn import DSN_VARIABLE
from jupyterhub_metrics.store import dsn_of_running

TEST_DSN_VARIABLE = "JUPYTERHUB_METRICS_TEST_DSN"


def hub_environment() -> dict[str, str]:
    """What a Hub needs to use the given database; nothing for its embedded one."""
    given = os.environ.get(TEST_DSN_VARIABLE)
    return {DSN_VARIABLE: given} if given else {}


@contextlib.asynccontextmanager
async def database_of(hub: HubProcess) -> AsyncIterator[asyncpg.Connection]:
    """A connection, as soon as the Hub's service has its database running."""
    given = os.environ.get(TEST_DSN_VARIABLE)
    await until(
        lambda: bool(given or dsn_of_running(hub.data_dir)), "the database runs", seconds=30
    )
    connection = await asyncpg.connect(given or dsn_of_running(hub.data_dir))
    try:
        yield connection
    finally:
        await connection.close()


async def rows_of(hub: HubProcess, table: str) -> list[dict[str, Any]]:
    """All rows of one Hub, whole, in a stable order."""
    async with database_of(hub) as connection:
        rows = await connection.fetch(f"SELECT * FROM {table} WHERE hub = $1 ORDER BY id", hub.name)
    return [dict(row) for row in rows]


async def sessions_of(hub: HubProcess) -> list[dict[str, Any]]:
    """The sessions, oldest first."""
    rows = await rows_of(hub, "sessions")
    return sorted(rows, key=lambda row: row["started_at"])


async def settled_sessions(
    hub: HubProcess, states: dict[str, int], *, seconds: float = 20.0
) -> list[dict[str, Any]]:
    """The sessions once there are so many of each state; AssertionError with what there is."""
    found: list[dict[str, Any]] = []

    async def settled() -> bool:
        found[:] = await sessions_of(hub)
        return counted(found) == states

    try:
        await until(settled, "the sessions are stored", seconds=seconds, every_seconds=0.2)
    except AssertionError:
        lines = [
            f"{row['username']}/{row['server_name']} {row['state']} {row['end_reason']}"
            for row in found
        ]
        raise AssertionError(
            f"found {counted(found)}, expected {states}:\n" + "\n".join(lines) + hub.log_tail()
        ) from None
    return found


def counted(sessions: list[dict[str, Any]]) -> dict[str, int]:
    states = [row["state"] for row in sessions]
    return {state: states.count(state) for state in sorted(set(states))}
