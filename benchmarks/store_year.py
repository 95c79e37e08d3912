"""Measures the store with a year of truth: rebuild, panels, upkeep, bytes, and errors in hours.

    python benchmarks/store_year.py [--users N] [--sessions N] [--days N] [--dsn-file FILE]

Ingests the year's events (three for each session) into the embedded PostgreSQL, or into the empty
database in --dsn-file, adds what checks every five minutes would have seen, rebuilds sessions and
usage from events, lets upkeep summarise, and asks what dashboards ask, over a year, 30 days and 24
hours. Times are those of the server as a client sees them, the least of three; beside them the
processor's time of the database's process, which other work on the machine changes less. Hours of
every user are compared with the truth in whole microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import year

from jupyterhub_metrics.store import EmbeddedServer, Store, UpkeepRules, open_store

PANELS = {
    "active users": "SELECT * FROM active_users_over_time($1, $2, $3)",
    "running servers": "SELECT * FROM running_servers_over_time($1, $2, $3)",
    "per node": "SELECT * FROM nodes_over_time($1, $2, $3)",
    "per image": "SELECT * FROM images_over_time($1, $2, $3)",
    "top users": "SELECT * FROM top_users($1, $2)",
    "image table": "SELECT * FROM image_table($1, $2)",
}
BATCH = 3000


def passable(folder: str) -> Path:
    """Open to the embedded server's own account."""
    path = Path(folder)
    path.chmod(0o711)
    return path


@asynccontextmanager
async def database(given: str | None) -> AsyncIterator[str]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="jhm-", dir="/tmp") as folder:
        server = EmbeddedServer(passable(folder))
        yield await server.start()
        await server.stop()


async def ingest(store: Store, runs: Sequence[year.Run]) -> None:
    seconds = 0.0
    for at in range(0, len(runs), BATCH // 3):
        batch = [event for run in runs[at : at + BATCH // 3] for event in year.events(run)]
        began = time.perf_counter()
        await store.ingest(batch)
        seconds += time.perf_counter() - began
    events = 3 * len(runs)
    print(f"ingested {events} events in {seconds:.0f} s, {events / seconds:.0f} a second")


async def observe(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    # one at a time: VACUUM takes no others beside it
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            await connection.execute(statement, timeout=None)
    await connection.close()


async def rebuild(store: Store, sessions: int) -> None:
    began = time.perf_counter()
    folded = await store.rebuild(datetime.now(tz=year.EPOCH.tzinfo))
    print(
        f"rebuild: {time.perf_counter() - began:.1f} s; sessions lost: {sessions - folded}",
    )


async def upkeep(store: Store, until: datetime) -> None:
    took = []
    while True:
        began = time.perf_counter()
        found = await store.upkeep(UpkeepRules(), until)
        took.append(time.perf_counter() - began)
        if not any(found.done.values()):
            break
    print(
        f"upkeep: {len(took)} rounds, mean {sum(took) / len(took) * 1e3:.1f} ms, "
        f"longest {max(took) * 1e3:.1f} ms, with nothing to do {took[-1] * 1e3:.1f} ms"
    )


def processor_seconds(pid: int) -> float:
    """Of a process on this machine; 0 if the database is elsewhere."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


async def panels(connection: asyncpg.Connection, begin: datetime, days: int) -> None:
    windows = [
        ("a year", begin, begin + timedelta(days=days), timedelta(days=1)),
        ("30 days", begin + timedelta(days=days // 2, hours=10), None, timedelta(hours=1)),
        ("24 hours", begin + timedelta(days=days // 2, hours=10), None, timedelta(minutes=5)),
    ]
    pid = connection.get_server_pid()
    for name, since, until, step in windows:
        until = until or since + (timedelta(days=30) if name == "30 days" else timedelta(days=1))
        total = busy = 0.0
        parts = []
        for panel, statement in PANELS.items():
            values = (since, until, step)[: statement.count("$")]
            seconds = processor = float("inf")
            for _ in range(3):
                began, used = time.perf_counter(), processor_seconds(pid)
                await connection.fetch(statement, *values)
                seconds = min(seconds, time.perf_counter() - began)
                processor = min(processor, processor_seconds(pid) - used)
            total += seconds
            busy += processor
            parts.append(f"{panel} {seconds * 1e3:.0f}")
        print(
            f"panels over {name}: {total * 1e3:.0f} ms together, processor {busy * 1e3:.0f} ms "
            f"({', '.join(parts)})"
        )


async def errors(
    connection: asyncpg.Connection, runs: Sequence[year.Run], begin: datetime, days: int
) -> None:
    dice = random.Random(1)
    whole = (begin, begin + timedelta(days=days))
    windows = [whole]
    for longest in (days, 30, 2, 1 / 24):
        since = begin + timedelta(days=dice.random() * days * 0.9)
        until = min(since + timedelta(days=dice.uniform(longest / 2, longest)), whole[1])
        windows.append((since, until))
    for since, until in windows:
        truth = year.seconds_of_users(runs, since, until)
        for path, statement in {
            "top_users": "SELECT username, round(hours * 3.6e9)::bigint AS microseconds "
            "FROM top_users($1, $2, 1000000)",
            "usage_between": "SELECT username, "
            "sum(round(seconds * 1e6)::bigint)::bigint AS microseconds "
            "FROM usage_between($1, $2, '1 day', 'Europe/Berlin') GROUP BY username",
        }.items():
            rows = await connection.fetch(statement, since, until)
            found = {row["username"]: row["microseconds"] for row in rows if row["microseconds"]}
            wrong = {name for name in truth | found if truth.get(name, 0) != found.get(name, 0)}
            hours = sum(truth.values()) / year.HOUR
            print(
                f"{path} {since:%m-%d %H:%M:%S} to {until:%m-%d %H:%M:%S}: {len(truth)} users, "
                f"{hours:.0f} h, users with another sum: {len(wrong)}"
            )


async def sizes(connection: asyncpg.Connection, users: int, days: int) -> None:
    rows = await connection.fetch("""
        SELECT coalesce(parent.relname, one.relname) AS name,
            sum(pg_total_relation_size(one.oid)) AS bytes
        FROM pg_class AS one
        LEFT JOIN pg_inherits ON inhrelid = one.oid
        LEFT JOIN pg_class AS parent ON parent.oid = inhparent
        WHERE one.relkind = 'r' AND one.relnamespace = current_schema()::regnamespace
        GROUP BY 1 ORDER BY 2 DESC
    """)
    total = float(sum(row["bytes"] for row in rows))
    share = total / users / (days / 365)
    print(f"{total / 1e6:.0f} MB in tables, {share / 1e6:.3f} MB per user and year:")
    for row in rows:
        if row["bytes"] > 100_000:
            name, megabytes = row["name"], float(row["bytes"]) / 1e6
            print(f"  {name}: {megabytes:.1f} MB")


async def measure(options: argparse.Namespace, given: str | None) -> None:
    runs = year.year(users=options.users, sessions=options.sessions, days=options.days)
    until = year.BEGIN + timedelta(days=options.days + 4)
    async with database(given) as dsn:
        store = await open_store(dsn)
        await ingest(store, runs)
        await observe(dsn)
        await rebuild(store, len(runs))
        await upkeep(store, until)
        connection = await asyncpg.connect(dsn)
        await connection.execute("VACUUM ANALYZE")
        await panels(connection, year.BEGIN, options.days)
        await errors(connection, runs, year.BEGIN, options.days)
        await sizes(connection, options.users, options.days)
        await connection.close()
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=year.USERS)
    parser.add_argument("--sessions", type=int, default=year.SESSIONS)
    parser.add_argument("--days", type=int, default=year.DAYS)
    parser.add_argument("--dsn-file", type=Path)
    options = parser.parse_args()
    given = options.dsn_file.read_text().strip() if options.dsn_file else None
    asyncio.run(measure(options, given))


if __name__ == "__main__":
    main()
