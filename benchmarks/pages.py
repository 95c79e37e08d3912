"""Measures pages and API on a year of truth: how long they take, how many a second, how large.

    python benchmarks/pages.py [--users N] [--sessions N] [--days N] [--folder FOLDER]
    python benchmarks/pages.py --many-users 100000

Ingests the year (see year.py) into the embedded PostgreSQL, with --folder only the first time, lets
upkeep count and summarise, or takes the database in --dsn-file, which has all that already, and
serves pages from one process with a login that costs nothing. Times are those between request and
answer within that process; beside them the processor's time of this process and of the database's,
which other work on the machine changes less. How many requests a second are answered is asked by
another process (light_client.py). With --many-users, only the operator's table, of so many users
of whom nothing but days of usage is made up (many_users.sql).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import asyncpg
import store_year
import year
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.service.app import MetricsService
from jupyterhub_metrics.store import open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fake_logins import Logins
from ports import free_port
from service_fixtures import make_data_dir

OTHERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
ROUNDS = 60
GROUPS = 60


def noon_of_the_last_day(days: int) -> datetime:
    """The moment at which pages are asked: all days before it are closed."""
    return year.BEGIN + timedelta(days=days - 1, hours=12)


async def prepare(dsn: str, options: argparse.Namespace) -> None:
    store = await open_store(dsn)
    runs = year.year(users=options.users, sessions=options.sessions, days=options.days)
    await store_year.ingest(store, runs)
    users = range(options.users)
    groups = {
        f"group-{number:02}": [f"user-{user:04}" for user in users[number::GROUPS]]
        for number in range(GROUPS)
    }
    await store.record_memberships(year.HUB, groups, year.BEGIN)
    await store_year.upkeep(store, noon_of_the_last_day(options.days))
    await store.close()


@asynccontextmanager
async def served(dsn: str, now: datetime, logins: Logins) -> Any:
    """The service at the moment ``now``; gives its address."""
    os.environ.update(logins.environment)
    port = free_port()
    settings = MetricsService(
        data_dir=str(make_data_dir()),
        hub_name=year.HUB,
        url=f"http://127.0.0.1:{port}/",
        dsn=dsn,
        check_interval_seconds=0.0,
    )
    settings.environment = logins.environment
    began = utc_now()
    server = settings.make_server(lambda: now + (utc_now() - began))
    await server.open()
    url = f"http://127.0.0.1:{port}/services/jupyterhub-metrics/"
    http = AsyncHTTPClient(force_instance=True, max_clients=64)
    for _ in range(300):
        if (await http.fetch(url + "health/ready", raise_error=False)).code == 200:
            break
        await asyncio.sleep(0.1)
    # as the service does when it is a process of its own
    gc.collect()
    gc.freeze()
    try:
        yield url, http
    finally:
        http.close()
        await server.close()


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


@dataclass
class Asked:
    """The service, as an operator's browser asks it, and the database that it asks."""

    url: str
    http: AsyncHTTPClient
    headers: dict[str, str]
    watching: asyncpg.Connection

    async def measure(self, name: str, paths: Sequence[str]) -> None:
        took, service, database, sizes = [], [], [], []
        for warm in (True, False):
            pids = [row["pid"] for row in await self.watching.fetch(OTHERS)]
            for path in paths:
                busy = sum(map(store_year.processor_seconds, pids))
                used, began = time.process_time(), time.perf_counter()
                answer = await self.fetch(path)
                if not warm:
                    took.append(time.perf_counter() - began)
                    service.append(time.process_time() - used)
                    database.append(sum(map(store_year.processor_seconds, pids)) - busy)
                    sizes.append(len(answer.body))
        together = [one + other for one, other in zip(service, database, strict=True)]
        print(
            f"{name}: {percentiles(took)} ms; of the processor {percentiles(together)} ms, the "
            f"database's part {percentiles(database)} ms; {max(sizes) / 1e3:.0f} kB compressed at "
            "most",
            flush=True,
        )

    async def busy(self) -> dict[int, float]:
        """Seconds of the processor that each of the database's processes has used, by its id."""
        pids = [row["pid"] for row in await self.watching.fetch(OTHERS)]
        return {pid: store_year.processor_seconds(pid) for pid in pids}

    async def fetch(self, path: str) -> HTTPResponse:
        answer = await self.http.fetch(
            self.url + path,
            headers={**self.headers, "Accept-Encoding": "gzip"},
            decompress_response=False,
            request_timeout=60,
        )
        assert answer.code == 200
        return answer

    async def rate(self, paths: Sequence[str], seconds: float = 5.0) -> None:
        """As many as eight clients at once get, each asking again when answered."""
        url = urlsplit(self.url)
        headers = {**self.headers, "Host": url.netloc, "Accept-Encoding": "gzip"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        requests = [f"GET {url.path}{path} HTTP/1.1\r\n{lines}\r\n" for path in paths]
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("light_client.py"))),
            *(str(url.hostname), str(url.port), "8", str(seconds), "0"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        # connections that are opened meanwhile count from their beginning
        before = await self.busy()
        used = time.process_time()
        told, _ = await client.communicate(json.dumps(requests).encode())
        used = time.process_time() - used
        busy = sum(then - before.get(pid, 0.0) for pid, then in (await self.busy()).items())
        took = json.loads(told)
        print(
            f"{len(took) / seconds:.0f} requests a second of {len(paths)} addresses, answered "
            f"after {percentiles(took)} ms; of the processor {used / len(took) * 1e3:.2f} ms each "
            f"in the service, {busy / len(took) * 1e3:.2f} ms in the database",
            flush=True,
        )


def percentiles(seconds: Sequence[float]) -> str:
    return " ".join(
        f"p{share:.0%}"[:-1] + f" {percentile(seconds, share) * 1e3:.1f}" for share in (0.5, 0.95)
    )


@asynccontextmanager
async def asked(dsn: str, days: int) -> AsyncIterator[Asked]:
    logins = Logins()
    watching = await asyncpg.connect(dsn)
    async with logins.listening(), served(dsn, noon_of_the_last_day(days), logins) as (url, http):
        yield Asked(url, http, logins.log_in("operator", admin=True), watching)
    await watching.close()


async def run(dsn: str, options: argparse.Namespace) -> None:
    if options.dsn_file is None and not await is_filled(dsn):
        await prepare(dsn, options)
    dice = random.Random(1)
    runs = year.year(users=options.users, sessions=options.sessions, days=options.days)
    known = sorted({run.username for run in runs})
    # not for the service to look through
    del runs
    names = dice.choices(known, k=ROUNDS)
    months = [f"2025-{month:02}" for month in range(1, max(options.days // 31, 1) + 1)]
    whole = f"since=2025-01-01&until={noon_of_the_last_day(options.days):%Y-%m-%d}"
    async with asked(dsn, options.days) as one:
        await one.measure("a user's page", [f"users/{name}" for name in names])
        await one.measure("a user's year", [f"users/{name}?{whole}" for name in names])
        table = [f"users?month={dice.choice(months)}" for _ in range(ROUNDS // 2)]
        await one.measure("the operator's table, a past month", table)
        await one.measure("the operator's table, this month", ["users"] * 20)
        searched = [f"users?sort=-gpu_hours&search={n}" for n in range(10)]
        await one.measure("the operator's table, searched", searched)
        await one.measure("the operator's table, the year", [f"users?{whole}"] * 10)
        for by in ("profile", "image", "node"):
            await one.measure(f"usage by {by}", [f"usage?by={by}"] * 10)
        await one.measure("a group's page", [f"groups/group-{n:02}" for n in range(10)])
        await one.measure("all groups", ["groups"] * 10)
        own = [f"api/v1/sessions?user={name}&limit=50" for name in names]
        await one.measure("API: a user's sessions", own)
        by_day = [f"api/v1/usage?user={name}&step=day&zone=Europe/Berlin" for name in names]
        await one.measure("API: a user's days", by_day)
        await one.rate([*own, *by_day, *["api/v1/me"] * 20])
        await one.rate([f"users/{name}" for name in dice.choices(known, k=500)])


async def is_filled(dsn: str) -> bool:
    """Whether the folder is one that was filled before."""
    store = await open_store(dsn)
    found = await store.reading.groups([year.HUB])
    await store.close()
    return bool(found)


async def run_with_many_users(dsn: str, options: argparse.Namespace) -> None:
    """Two months of so many users, in a database with nothing else."""
    if options.dsn_file is None:
        await (await open_store(dsn)).close()
        statements = Path(__file__).with_name("many_users.sql").read_text()
        connection = await asyncpg.connect(dsn)
        await connection.execute(statements.format(users=options.many_users), timeout=None)
        await connection.close()
    columns = ("username", "-gpu_hours", "gib_hours", "-starts", "-username")
    async with asked(dsn, year.DAYS) as one:
        for name, paths in {
            "this month": ["users"],
            "the month before": ["users?month=2025-11"],
            "by any column": [f"users?month=2025-12&sort={column}" for column in columns],
            "part of many names": ["users?month=2025-12&search=person00"],
            "part of one name": ["users?month=2025-12&search=person031415"],
            "part of e-mails": ["users?month=2025-12&search=9@campus"],
        }.items():
            await one.measure(f"{options.many_users:,} users, {name}", paths * 10)
        first = "api/v1/users?limit=1000&since=2025-12-01"
        paths = [first]
        for _ in range(20):
            answer = await one.http.fetch(one.url + paths[-1], headers=one.headers)
            paths.append(f"{first}&{urlencode({'cursor': json.loads(answer.body)['next']})}")
        await one.measure("API: 1,000 users on each of 20 pages", paths)


async def main_with(options: argparse.Namespace) -> None:
    given = options.dsn_file.read_text().strip() if options.dsn_file else None
    async with store_year.database(given, options.folder) as dsn:
        await (run_with_many_users if options.many_users else run)(dsn, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=year.USERS)
    parser.add_argument("--sessions", type=int, default=year.SESSIONS)
    parser.add_argument("--days", type=int, default=year.DAYS)
    parser.add_argument("--many-users", type=int, default=0)
    parser.add_argument("--dsn-file", type=Path)
    parser.add_argument("--folder", type=Path)
    asyncio.run(main_with(parser.parse_args()))


if __name__ == "__main__":
    main()
