"""Measures every panel of the Grafana dashboards on the store's year of truth.

    python benchmarks/panels.py [--users N] [--sessions N] [--days N] [--dsn-file FILE]
                                [--folder FOLDER]

Fills the embedded PostgreSQL, or the empty database in --dsn-file, as ``store_year.py`` does, puts
every user into one of 60 groups and 12 departments, lets every session be sampled
(``panels.sql``), and asks each panel over 24 hours, 30 days and a year: of everyone, of one group,
and of the user who ran most. Prints for each the least of three times as a client sees them and of
the database's processor, in milliseconds, and which are over 200. --folder has the database that
``store_year.py --folder`` has filled; people and samples are added to it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import year
from store_year import database, ingest, processor_seconds, upkeep

from jupyterhub_metrics.store import Statement, Store, open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from dashboards import EVERYONE, Panel, all_panels, variable_statements
from grafana_macros import Everything, Value, between

LIMIT_SECONDS = 0.2
GROUPS = 60
DEPARTMENTS = 12
BEFORE = year.BEGIN - timedelta(days=30)


async def people(store: Store, users: int) -> None:
    names = [f"user-{number:04}" for number in range(users)]
    groups = {f"group-{number:02}": names[number::GROUPS] for number in range(GROUPS)}
    await store.record_memberships(year.HUB, groups, BEFORE)
    await store.record_people(
        [
            Statement(
                year.HUB,
                name,
                "file",
                BEFORE,
                {
                    "email": f"{name}@example.org",
                    "full_name": name.title(),
                    "department": f"department {number % DEPARTMENTS}",
                    "job_title": f"title {number % 5}",
                },
            )
            for number, name in enumerate(names)
        ]
    )


async def least_of_three(
    connection: asyncpg.Connection, statement: str
) -> tuple[float, float, int]:
    """Seconds of the clock, of the database's processor, and how many rows came."""
    pid = connection.get_server_pid()
    seconds = processor = float("inf")
    rows = 0
    for _ in range(3):
        began, used = time.perf_counter(), processor_seconds(pid)
        rows = len(await connection.fetch(statement))
        seconds = min(seconds, time.perf_counter() - began)
        processor = min(processor, processor_seconds(pid) - used)
    return seconds, processor, rows


async def measure_panels(connection: asyncpg.Connection, days: int) -> None:
    whole = (year.BEGIN, year.BEGIN + timedelta(days=days))
    middle = year.BEGIN + timedelta(days=days // 2, hours=10, minutes=7)
    ranges: dict[str, tuple[datetime, datetime]] = {
        "24 hours": (middle, middle + timedelta(days=1)),
        "30 days": (middle, middle + timedelta(days=30)),
        "a year": whole,
    }
    busiest = await connection.fetchval("SELECT username FROM top_users($1, $2, 1)", *whole)
    everyone: dict[str, Value | Everything] = {
        "hub": [year.HUB],
        "group": Everything(EVERYONE),
        "node": Everything(EVERYONE),
        "image": Everything(EVERYONE),
        "user": busiest,
    }
    variables: dict[str, Mapping[str, Value | Everything]] = {
        "": everyone,
        " of a group": {**everyone, "group": ["group-07"]},
    }
    slow = []
    for who, chosen in variables.items():
        for name, statement in questions(grouped=bool(who)):
            parts = []
            for length, (since, until) in ranges.items():
                sent = between(since, until, chosen).sends(statement)
                seconds, processor, rows = await least_of_three(connection, sent)
                parts.append(f"{length} {seconds * 1e3:.0f} ({processor * 1e3:.0f}), {rows} rows")
                if seconds > LIMIT_SECONDS:
                    slow.append(
                        f"{name}{who} over {length}: {seconds * 1e3:.0f} ms "
                        f"(processor {processor * 1e3:.0f})"
                    )
            print(f"{name}{who}: {'; '.join(parts)}")
    print(f"over {LIMIT_SECONDS * 1e3:.0f} ms: {'; '.join(slow) or 'none'}")


def questions(*, grouped: bool) -> list[tuple[str, str]]:
    """Panels and variables by name; those alone that follow the variable group if asked."""
    panels: list[Panel] = [panel for panel in all_panels() if panel.statements]
    found = [(panel.name, panel.statements[0]) for panel in panels]
    found += list(variable_statements())
    return [one for one in found if not grouped or "${group" in one[1]]


async def measure(options: argparse.Namespace, given: str | None) -> None:
    async with database(given, options.folder) as dsn:
        store = await open_store(dsn, migrate="always")
        if options.folder is None:
            runs = year.year(users=options.users, sessions=options.sessions, days=options.days)
            await ingest(store, runs)
        await people(store, options.users)
        connection = await asyncpg.connect(dsn)
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM session_samples)"):
            await connection.execute(Path(__file__).with_suffix(".sql").read_text(), timeout=None)
        await upkeep(store, year.BEGIN + timedelta(days=options.days + 4))
        await connection.execute("VACUUM ANALYZE")
        await measure_panels(connection, options.days)
        await connection.close()
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=year.USERS)
    parser.add_argument("--sessions", type=int, default=year.SESSIONS)
    parser.add_argument("--days", type=int, default=year.DAYS)
    parser.add_argument("--dsn-file", type=Path)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    given = options.dsn_file.read_text().strip() if options.dsn_file else None
    asyncio.run(measure(options, given))


if __name__ == "__main__":
    main()
