"""A database with something of everything in it, and all that can be read from one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
from builders import at, event

from jupyterhub_metrics.model import session_id
from jupyterhub_metrics.store import Activity, Observation, open_store

READ = {
    "events": "id",
    "sessions_with_activity": "id",
    "session_activity": "session_id",
    "container_observations": '"timestamp", pod_name',
    "group_memberships": "hub, group_name, username, valid_from",
}
"""What people read, and what each of its rows is known by."""

AWKWARD = "tab\tline\nreturn\rback\\slash \\N \\. \"quotes\" ünï 'x' \b\f\v"
"""Everything that the format of a stream has to escape."""


async def fill(dsn: str, *, sessions: int = 3) -> None:
    """Sessions of several users, open and ended, a quarter of a year apart, and what checks saw."""
    quarter = 100 * 86400
    events = [event("rejected", 5, reason="throttled", actor=AWKWARD)]
    for number in range(sessions):
        user = {"username": f"user-{number % 7}", "started": number * quarter / sessions}
        began = user["started"]
        facts = {"image": "x/y:1", "display_name": AWKWARD, "groups": ["a,b", "{}"], "gpus": 0.1}
        events += [
            event("requested", began, facts=facts, **user),
            event("ready", began + 3, facts={**facts, "node": "node-1"}, **user),
        ]
        if number % 3:
            events.append(event("stopped", began + 60, reason="stopped_by_user", **user))
    store = await open_store(dsn)
    await store.ingest(events)
    first = session_id("campus", "user-0", "", at(0))
    await store.record_activity([Activity(first, at(30), at(40), 12.5, at(35), 300)])
    seen = Observation(
        "jhub", "jupyter-0", first, "ada@example.org", AWKWARD, "node-1", "x/y:1", "y", "1", 33.25
    )
    for minute in (1, 2, 3):
        await store.record_observations("campus", at(60 * minute), [seen])
    await store.record_memberships("campus", {"staff": ["ada", "bob"]}, at(1))
    await store.record_memberships("campus", {"staff": ["ada"]}, at(2))
    await store.close()


async def contents(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all that people read."""
    connection = await asyncpg.connect(dsn)
    try:
        found = {}
        for name, key in READ.items():
            rows = await connection.fetch(f"SELECT * FROM {name} ORDER BY {key}")
            found[name] = [tuple(row) for row in rows]
        return found
    finally:
        await connection.close()


async def count_hours(connection: asyncpg.Connection, until: datetime) -> None:
    """At once all hours before ``until``, of which a round of upkeep counts one."""
    await connection.fetchval("SELECT hourly_count($1, 10000)", until)


async def check_functions(connection: asyncpg.Connection) -> None:
    """Raises if a function of our schema names something that is not there.

    Migrations leave that open, because a later one may mend it.
    """
    definitions = await connection.fetch(
        "SELECT pg_get_functiondef(pg_proc.oid) AS text FROM pg_proc "
        "LEFT JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = pg_proc.oid "
        "AND deptype = 'e' WHERE pronamespace = current_schema()::regnamespace "
        "AND prokind = 'f' AND objid IS NULL"
    )
    assert len(definitions) > 100
    async with connection.transaction():
        await connection.execute("SET LOCAL check_function_bodies = on")
        for definition in definitions:
            await connection.execute(definition["text"])
