"""Whether the names that dashboards of sampled metrics use are as fast here as their own tables.

    python benchmarks/seed_names.py [--days 30] [--rounds 3] [--dsn-file FILE] [--folder FOLDER]
                                    [--steps fill ask sizes]

Puts the same sessions, ``--days`` of the year of truth that end now, into this store and into the
tables that a sampler would have filled from them every five minutes, in one embedded PostgreSQL or
in the empty database in ``--dsn-file``. On TimescaleDB the sampler's observations are in chunks of
a day, compressed after seven days with what TimescaleDB chooses itself, and upkeep has compressed
this store's. Then asks both every question of ``tests/seed_queries.sql`` over 24 hours, 30 days and
all of it, in turns, and prints the best time of each, this store's share of the other's, and the
sizes. ``--folder`` keeps the embedded PostgreSQL, which ``--steps ask`` then asks again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from seed_queries import as_grafana_sends, queries_of, seed_queries
from store_year import database, upkeep
from year import (
    BEGIN,
    DAYS,
    HUB,
    SESSIONS,
    Run,
    events,
    microseconds,
    moment,
    year,
)

from jupyterhub_metrics.model import session_id
from jupyterhub_metrics.store import Statement, Store, open_store

EVENTS_A_BATCH = 3_000
POLL = timedelta(minutes=5)
STEPS = ("fill", "ask", "sizes")
SAMPLER = queries_of(Path(__file__).with_suffix(".sql"))


def runs_until(now: datetime, days: int) -> list[Run]:
    """The first ``days`` of the year of truth, moved so that they end now."""
    moved = microseconds(now) - microseconds(BEGIN + timedelta(days=days))
    return [
        replace(
            run,
            started_at=run.started_at + moved,
            ready_at=run.ready_at + moved,
            ended_at=run.ended_at + moved,
        )
        for run in year(days=days, sessions=SESSIONS * days // DAYS)
        if run.started_at + moved < microseconds(now)
    ]


def email_of(run: Run) -> str:
    return f"{run.username}@campus.example"


def pod_of(run: Run) -> str:
    return f"jupyter-{run.username}" + (run.server_name and f"--{run.server_name}")


async def fill_ours(store: Store, runs: Sequence[Run], since: datetime, now: datetime) -> None:
    until = microseconds(now)
    happened = (
        event for run in runs for event in events(run) if microseconds(event.occurred_at) < until
    )
    while batch := list(itertools.islice(happened, EVENTS_A_BATCH)):
        await store.ingest(batch)
    people = {run.user: run for run in runs}
    await store.record_people(
        [
            Statement(
                HUB,
                run.username,
                "file",
                since,
                {
                    "email": email_of(run),
                    "full_name": run.username.title(),
                    "department": f"Department {run.user % 25}",
                    "job_title": f"Title {run.user % 9}",
                },
            )
            for run in people.values()
        ]
    )


async def fill_sampled(
    connection: asyncpg.Connection, runs: Sequence[Run], since: datetime, now: datetime
) -> None:
    await connection.execute(SAMPLER["make_runs"])
    columns = zip(
        *(
            (
                email_of(run),
                run.username.title(),
                run.node_name,
                run.image_reference,
                run.image_base,
                run.image_version,
                pod_of(run),
                *map(moment, (run.started_at, run.ready_at, run.ended_at)),
                session_id(HUB, run.username, run.server_name, moment(run.started_at)),
            )
            for run in runs
        ),
        strict=True,
    )
    await connection.execute(SAMPLER["fill_runs"], *columns, timeout=None)
    chunks = await has_timescale(connection)
    await fill_from_runs(connection, "fill_observations", since, now)
    await fill_from_runs(connection, "make_tables", since, now)
    if chunks:
        await connection.execute(SAMPLER["make_chunks_timescale"])
    await fill_from_runs(connection, "fill_tables", since, now)
    if chunks:
        await connection.execute(SAMPLER["compress_timescale"], timeout=None)


async def fill_from_runs(
    connection: asyncpg.Connection, name: str, since: datetime, until: datetime
) -> None:
    text = SAMPLER[name].replace("$hub$", f"'{HUB}'")
    text = text.replace("$since$", f"'{since.isoformat()}'")
    text = text.replace("$until$", f"'{until.isoformat()}'")
    # one at a time, so that the last is planned with what the first has made
    for statement in text.split(";\n"):
        await connection.execute(statement, timeout=None)


async def has_timescale(connection: asyncpg.Connection) -> bool:
    found: bool = await connection.fetchval(
        "SELECT count(*) > 0 FROM pg_extension WHERE extname = 'timescaledb'"
    )
    return found


async def best_seconds(
    connection: asyncpg.Connection, schema: str, text: str, rounds: int
) -> float:
    await connection.execute(f"SET search_path = {schema}, public")
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        await connection.fetch(text, timeout=None)
        taken.append(time.perf_counter() - began)
    return min(taken)


async def compare(connection: asyncpg.Connection, now: datetime, days: int, rounds: int) -> None:
    busiest = await connection.fetchval(
        "SELECT user_email FROM user_session_stats ORDER BY total_sessions DESC LIMIT 1"
    )
    print(f"{'question':44}{'days':>5}{'sampled ms':>12}{'ours ms':>10}{'ratio':>8}")
    for name, question in seed_queries().items():
        windows = sorted({1, min(30, days), days}) if "$__time" in question else [days]
        for window in windows:
            text = as_grafana_sends(
                question,
                now - timedelta(days=window),
                datetime.now(timezone.utc),
                interval="1 hour" if window < 60 else "1 day",
                user=busiest,
            )
            theirs = await best_seconds(connection, "sampled", text, rounds)
            ours = await best_seconds(connection, "public", text, rounds)
            print(
                f"{name:44}{window:5}{theirs * 1000:12.1f}{ours * 1000:10.1f}{ours / theirs:8.2f}",
                flush=True,
            )


async def fill(dsn: str, now: datetime, days: int) -> None:
    since = now - timedelta(days=days)
    runs = runs_until(now, days)
    store = await open_store(dsn)
    await fill_ours(store, runs, since, now)
    connection = await asyncpg.connect(dsn)
    await fill_sampled(connection, runs, since, now)
    await upkeep(store, now)
    # one by one: the WebAssembly engine leaves several at once out
    for (table,) in await connection.fetch(SAMPLER["tables"]):
        await connection.execute(f"VACUUM ANALYZE {table}", timeout=None)
    await connection.close()
    await store.close()
    print(f"{len(runs)} sessions in {days} days")


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dsn-file", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    given = parser.parse_args()
    dsn_file = given.dsn_file
    now = datetime.now(timezone.utc)
    async with database(dsn_file and dsn_file.read_text().strip(), given.folder) as dsn:
        if "fill" in given.steps:
            await fill(dsn, now, given.days)
        # the WebAssembly engine is one backend: what others have prepared is there still
        connection = await asyncpg.connect(dsn, statement_cache_size=0)
        if "ask" in given.steps:
            await compare(connection, now, given.days, given.rounds)
        if "sizes" in given.steps:
            sizes = "sizes_timescale" if await has_timescale(connection) else "sizes"
            for row in await connection.fetch(SAMPLER[sizes]):
                print(f"{row['name']:44}{row['megabytes']:10.1f} MB")
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
