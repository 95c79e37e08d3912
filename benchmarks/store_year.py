"""Measures the store with a year of truth: rebuild, panels, upkeep, bytes, and errors in hours.

    python benchmarks/store_year.py [--users N] [--sessions N] [--days N] [--dsn-file FILE]
                                    [--folder FOLDER] [--steps STEP...]

Ingests the year's events (three for each session) into the embedded PostgreSQL, or into the empty
database in --dsn-file, adds what checks every five minutes would have seen, rebuilds sessions and
usage from events, lets upkeep summarise, and asks over a year, 30 days and 24 hours: six functions,
and the six panels of the dashboard Overview that ask the same, as Grafana sends them. Times are the
least of three, of a client that makes Python objects of all rows and of one that only takes them in
as text, as Grafana's driver does; beside them the processor's time of the database's process, which
other work on the machine changes less. Hours of every user are compared with the truth in whole
microseconds, by every path that tells them.

--folder keeps the embedded PostgreSQL there; with a database that is already filled, give the
--steps that are to be done: of fill, rebuild, upkeep, panels, errors and sizes, in this order.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import year

from jupyterhub_metrics.store import EmbeddedServer, Store, UpkeepRules, open_store
from jupyterhub_metrics.store.queries import query
from jupyterhub_metrics.store.rebuild import rebuild as rebuilt
from jupyterhub_metrics.store.rebuild import silent
from jupyterhub_metrics.store.upkeep import upkeep_round

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from dashboards import all_panels
from grafana_macros import between

PANELS = {
    "active users": "SELECT * FROM active_users_over_time($1, $2, $3)",
    "running servers": "SELECT * FROM running_servers_over_time($1, $2, $3)",
    "per node": "SELECT * FROM nodes_over_time($1, $2, $3)",
    "per image": "SELECT * FROM images_over_time($1, $2, $3)",
    "top users": "SELECT * FROM top_users($1, $2)",
    "image table": "SELECT * FROM image_table($1, $2)",
}
OVERVIEW = {
    "active users": "Active users",
    "running servers": "Applications",
    "per node": "Applications by node",
    "per image": "Applications by type",
    "top users": "Top users",
    "image table": "Applications used",
}
PATHS = {
    "top_users": "SELECT username, round(hours * 3.6e9)::bigint AS microseconds "
    "FROM top_users($1, $2, 1000000)",
    "usage_between": "SELECT username, "
    "sum(round(seconds * 1e6)::bigint)::bigint AS microseconds "
    "FROM usage_between($1, $2, '1 day', 'Europe/Berlin') GROUP BY username",
    "the operator's table": "SELECT username, sum(running)::bigint AS microseconds "
    "FROM usage_totals($1, $2) JOIN servers ON servers.id = server_id GROUP BY username",
    "the dashboards' users": "SELECT username, round(hours * 3.6e9)::bigint AS microseconds "
    f"FROM panel_usage_by_user($1, $2, '{{{year.HUB}}}', '{{*}}')",
}
OF_USER = (
    "SELECT $1 AS username, sum(running)::bigint AS microseconds "
    f"FROM usage_asked('{{{year.HUB}}}', $1, NULL, $2, $3, '1 day', 'Europe/Berlin', 'hub')"
)
DAILY = (
    "SELECT username, sum(round(seconds * 1e6)::bigint)::bigint AS microseconds "
    "FROM usage_daily WHERE day >= $1 AND day < $2 GROUP BY username"
)
HOURLY = DAILY.replace("usage_daily", "usage_hourly")
OF_ALL_TIME = {
    "user_session_stats": "SELECT split_part(user_email, '@', 1) AS username, "
    "round(total_hours * 3600000000)::bigint AS microseconds FROM user_session_stats",
    "user_sessions": "SELECT username, "
    "sum(round(runtime_hours * 3600000000))::bigint AS microseconds "
    "FROM user_sessions GROUP BY username",
}
STEPS = ("fill", "rebuild", "upkeep", "panels", "errors", "sizes")
BATCH = 3000


def passable(folder: str) -> Path:
    """Open to the embedded server's own account."""
    path = Path(folder)
    path.mkdir(exist_ok=True)
    path.chmod(0o711)
    return path


@asynccontextmanager
async def database(given: str | None, kept: Path | None = None) -> AsyncIterator[str]:
    """The DSN that is given, or that of an embedded server, in a folder that may be kept."""
    if given is not None:
        yield given
        return
    with ExitStack() as stack:
        if kept is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="jhm-", dir="/tmp"))
        else:
            folder = str(kept)
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


async def rebuild(dsn: str, sessions: int) -> None:
    connection = await asyncpg.connect(dsn)
    pid = connection.get_server_pid()
    began, used = time.perf_counter(), processor_seconds(pid)
    folded = await rebuilt(connection, datetime.now(tz=year.EPOCH.tzinfo), silent)
    print(
        f"rebuild: {time.perf_counter() - began:.1f} s, processor "
        f"{processor_seconds(pid) - used:.1f} s; sessions lost: {sessions - folded}",
    )
    await connection.close()


async def upkeep(store: Store, until: datetime) -> None:
    """All that there is to do, for who measures something else."""
    while any((await store.upkeep(UpkeepRules(), until)).done.values()):
        pass


async def upkeep_rounds(dsn: str, until: datetime) -> None:
    """The same, each round measured."""
    connection = await asyncpg.connect(dsn)
    pid = connection.get_server_pid()
    files = await temporary_files(connection)
    took, longest = [], dict[str, tuple[float, float]]()
    while True:
        began, used = time.perf_counter(), processor_seconds(pid)
        found = await upkeep_round(connection, UpkeepRules(), until)
        one = time.perf_counter() - began, processor_seconds(pid) - used
        took.append(one)
        name = " and ".join(name for name, pieces in found.done.items() if pieces)
        longest[name] = max(longest.get(name, one), one)
        if one[0] > 0.05:
            print(f"  round {len(took)}, {name}: {one[0] * 1e3:.1f} ms, {one[1] * 1e3:.1f} ms")
        if not name:
            break
    clock, processor = zip(*took, strict=True)
    print(
        f"upkeep: {len(took)} rounds, {sum(clock):.0f} s, processor {sum(processor):.0f} s; "
        f"longest {max(clock) * 1e3:.1f} ms, processor {max(processor) * 1e3:.1f} ms; "
        f"over 50 ms {sum(one > 0.05 for one in clock)}; "
        f"temporary files: {await temporary_files(connection) - files}"
    )
    for name, (seconds, busy) in longest.items():
        print(f"  longest of {name or 'none'}: {seconds * 1e3:.1f} ms, {busy * 1e3:.1f} ms")
    await connection.close()


async def temporary_files(connection: asyncpg.Connection) -> int:
    """How many the database has written so far."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    found: int = await connection.fetchval(
        "SELECT temp_files FROM pg_stat_database WHERE datname = current_database()"
    )
    return found


def processor_seconds(pid: int) -> float:
    """Of a process on this machine; 0 if the database is elsewhere."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


async def panels(connection: asyncpg.Connection, begin: datetime, days: int) -> None:
    middle = begin + timedelta(days=days // 2, hours=10)
    windows = {
        "a year": (begin, begin + timedelta(days=days), timedelta(days=1)),
        "30 days": (middle, middle + timedelta(days=30), timedelta(hours=1)),
        "24 hours": (middle, middle + timedelta(days=1), timedelta(minutes=5)),
    }
    drawn = {panel.name: panel.statements[0] for panel in all_panels() if panel.statements}
    for name, (since, until, step) in windows.items():
        functions = {
            panel: (statement, (since, until, step)[: statement.count("$")])
            for panel, statement in PANELS.items()
        }
        view = between(since, until, {"hub": [year.HUB]})
        overview: dict[str, tuple[str, tuple[object, ...]]] = {
            panel: (view.sends(drawn[f"overview / {title}"]), ())
            for panel, title in OVERVIEW.items()
        }
        await ask_all(connection, f"functions over {name}", functions)
        await ask_all(connection, f"panels of Overview over {name}", overview)


async def ask_all(
    connection: asyncpg.Connection,
    name: str,
    questions: Mapping[str, tuple[str, tuple[object, ...]]],
) -> None:
    pid = connection.get_server_pid()
    total = taken_in = busy = 0.0
    rows = 0
    parts = []
    for panel, (statement, values) in questions.items():
        seconds = plain = processor = float("inf")
        found: list[asyncpg.Record] = []
        for _ in range(3):
            began, used = time.perf_counter(), processor_seconds(pid)
            found = await connection.fetch(statement, *values)
            seconds = min(seconds, time.perf_counter() - began)
            processor = min(processor, processor_seconds(pid) - used)
            began = time.perf_counter()
            await connection.copy_from_query(statement, *values, output=drop)
            plain = min(plain, time.perf_counter() - began)
        total, taken_in, busy = total + seconds, taken_in + plain, busy + processor
        rows += len(found)
        parts.append(f"{panel} {seconds * 1e3:.0f} ({plain * 1e3:.0f})")
    print(
        f"{name}, {rows} rows: {total * 1e3:.0f} ms together, {taken_in * 1e3:.0f} ms without "
        f"objects, processor {busy * 1e3:.0f} ms ({', '.join(parts)})"
    )


async def drop(_: bytes) -> None:
    """Takes rows in and keeps none."""


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
        hours = sum(truth.values()) / year.HOUR
        print(
            f"{since:%m-%d %H:%M:%S} to {until:%m-%d %H:%M:%S}: {len(truth)} users, {hours:.0f} h"
        )
        for path, statement in PATHS.items():
            compared(path, truth, await connection.fetch(statement, since, until))
        of_users: list[asyncpg.Record] = []
        for name in truth:
            of_users += await connection.fetch(OF_USER, name, since, until)
        compared("a user's page", truth, of_users)
    truth = year.seconds_of_users(runs, *whole)
    daily = await connection.fetch(DAILY, whole[0].date(), whole[1].date())
    compared("usage_daily over the year", truth, daily)
    hourly = await connection.fetch(HOURLY, whole[0].date(), whole[1].date())
    compared("usage_hourly over the year", truth, hourly)
    ever = year.seconds_of_users(runs, begin, begin + timedelta(days=10 * days))
    for path, statement in OF_ALL_TIME.items():
        compared(f"{path}, all time", ever, await connection.fetch(statement))


def compared(path: str, truth: Mapping[str, int], rows: Sequence[asyncpg.Record]) -> None:
    """Prints how many users a path gives other microseconds than the truth."""
    found = {row["username"]: row["microseconds"] for row in rows if row["microseconds"]}
    wrong = {name for name in truth | found if truth.get(name, 0) != found.get(name, 0)}
    print(f"  {path}: users with another sum: {len(wrong)}")


async def sizes(connection: asyncpg.Connection, users: int, days: int) -> None:
    timescale = await connection.fetchval("SELECT to_regnamespace('_timescaledb_catalog') NOTNULL")
    rows = await connection.fetch(query("table_sizes_timescale" if timescale else "table_sizes"))
    total = sum(row["bytes"] for row in rows)
    share = total / users / (days / 365)
    print(f"{total / 1e6:.0f} MB in tables, {share / 1e6:.3f} MB per user and year:")
    for row in sorted(rows, key=lambda row: row["bytes"], reverse=True):
        if row["bytes"] > total / 1000:
            each = row["bytes"] / max(1, row["rows"])
            print(
                f"  {row['name']}: {row['bytes'] / 1e6:.1f} MB, {row['rows']} rows of {each:.0f} "
                f"bytes, {row['compressed_chunks'] or 0} of {row['chunks']} chunks compressed"
            )


async def measure(options: argparse.Namespace, given: str | None) -> None:
    runs = year.year(users=options.users, sessions=options.sessions, days=options.days)
    until = year.BEGIN + timedelta(days=options.days + 4)
    async with database(given, options.folder) as dsn:
        store = await open_store(dsn, migrate="always")
        if "fill" in options.steps:
            await ingest(store, runs)
        await store.close()
        if "fill" in options.steps:
            await observe(dsn)
        if "rebuild" in options.steps:
            await rebuild(dsn, len(runs))
        if "upkeep" in options.steps:
            await upkeep_rounds(dsn, until)
        connection = await asyncpg.connect(dsn)
        await connection.execute("VACUUM ANALYZE")
        if "panels" in options.steps:
            await panels(connection, year.BEGIN, options.days)
        if "errors" in options.steps:
            await errors(connection, runs, year.BEGIN, options.days)
        if "sizes" in options.steps:
            await sizes(connection, options.users, options.days)
        await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=year.USERS)
    parser.add_argument("--sessions", type=int, default=year.SESSIONS)
    parser.add_argument("--days", type=int, default=year.DAYS)
    parser.add_argument("--dsn-file", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    options = parser.parse_args()
    given = options.dsn_file.read_text().strip() if options.dsn_file else None
    asyncio.run(measure(options, given))


if __name__ == "__main__":
    main()
