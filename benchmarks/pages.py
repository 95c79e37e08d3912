"""Measures pages and API on a year of truth: how long they take, how many a second, how large.

    python benchmarks/pages.py [--users N] [--sessions N] [--days N] [--dsn-file FILE]
    python benchmarks/pages.py --many-users 100000

Ingests the year (see year.py) into the embedded PostgreSQL, or takes the database in --dsn-file,
which holds it already, lets upkeep count and summarise, and serves pages from one process with a
login that costs nothing. Times are those between request and answer within that process; beside
them its processor's time, which other work on the machine changes less. With --many-users, only the
operator's table, of so many users of whom nothing but days of usage is made up (many_users.sql).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import store_year
import year
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.service.app import MetricsService
from jupyterhub_metrics.store import open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fake_logins import Logins
from hub_process import free_port
from service_fixtures import make_data_dir

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
    try:
        yield url, http
    finally:
        http.close()
        await server.close()


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def measure(
    http: AsyncHTTPClient, name: str, urls: Sequence[str], headers: dict[str, str]
) -> None:
    took, sizes = [], []
    for warm in (True, False):
        used = time.process_time()
        for url in urls:
            began = time.perf_counter()
            answer = await fetch(http, url, headers)
            if not warm:
                took.append(time.perf_counter() - began)
                sizes.append(len(answer.body))
        used = time.process_time() - used
    print(
        f"{name}: p50 {percentile(took, 0.5) * 1e3:.1f} ms, p95 {percentile(took, 0.95) * 1e3:.1f} "
        f"ms, p99 {percentile(took, 0.99) * 1e3:.1f} ms; "
        f"processor {used / len(urls) * 1e3:.1f} ms; {max(sizes) / 1e3:.0f} kB compressed at most"
    )


async def fetch(http: AsyncHTTPClient, url: str, headers: dict[str, str]) -> HTTPResponse:
    answer = await http.fetch(
        url,
        headers={**headers, "Accept-Encoding": "gzip"},
        decompress_response=False,
        request_timeout=60,
    )
    assert answer.code == 200
    return answer


async def rate(
    http: AsyncHTTPClient, urls: Sequence[str], headers: dict[str, str], seconds: float = 5.0
) -> None:
    """As many as eight clients at once get, each asking again when answered."""
    count, stop = 0, time.perf_counter() + seconds
    used = time.process_time()

    async def client(offset: int) -> None:
        nonlocal count
        at = offset
        while time.perf_counter() < stop:
            await fetch(http, urls[at % len(urls)], headers)
            at += 8
            count += 1

    await asyncio.gather(*(client(offset) for offset in range(8)))
    used = time.process_time() - used
    print(
        f"{count / seconds:.0f} requests a second of {len(urls)} addresses, processor of service "
        f"and clients {used / count * 1e3:.2f} ms each"
    )


async def run(dsn: str, options: argparse.Namespace) -> None:
    if options.dsn_file is None:
        await prepare(dsn, options)
    dice = random.Random(1)
    now = noon_of_the_last_day(options.days)
    logins = Logins()
    runs = year.year(users=options.users, sessions=options.sessions, days=options.days)
    names = dice.choices(sorted({run.username for run in runs}), k=ROUNDS)
    async with logins.listening(), served(dsn, now, logins) as (url, http):
        operator = logins.log_in("operator", admin=True)
        pages = [f"{url}users/{name}" for name in names]
        await measure(http, "a user's page", pages, operator)
        months = [f"2025-{month:02}" for month in range(1, max(options.days // 31, 1) + 1)]
        table = [f"{url}users?month={dice.choice(months)}" for _ in range(ROUNDS // 2)]
        await measure(http, "the operator's table, a past month", table, operator)
        await measure(http, "the operator's table, this month", [f"{url}users"] * 20, operator)
        sorted_by = [f"{url}users?sort=-gpu_hours&search={n}" for n in range(10)]
        await measure(http, "the operator's table, searched", sorted_by, operator)
        await measure(http, "usage by profile", [f"{url}usage"] * 10, operator)
        groups = [f"{url}groups/group-{n:02}" for n in range(10)]
        await measure(http, "a group's page", groups, operator)
        await measure(http, "all groups", [f"{url}groups"] * 5, operator)
        own = [f"{url}api/v1/sessions?user={name}&limit=50" for name in names]
        await measure(http, "API: a user's sessions", own, operator)
        by_day = [f"{url}api/v1/usage?user={name}&step=day&zone=Europe/Berlin" for name in names]
        await measure(http, "API: a user's days", by_day, operator)
        await rate(http, [*own, *by_day, *[f"{url}api/v1/me"] * 20], operator)
        await rate(http, pages, operator)


async def run_with_many_users(dsn: str, options: argparse.Namespace) -> None:
    """Two months of so many users, in a database with nothing else."""
    if options.dsn_file is None:
        await (await open_store(dsn)).close()
        statements = Path(__file__).with_name("many_users.sql").read_text()
        connection = await asyncpg.connect(dsn)
        await connection.execute(statements.format(users=options.many_users), timeout=None)
        await connection.close()
    logins = Logins()
    now = noon_of_the_last_day(year.DAYS)
    async with logins.listening(), served(dsn, now, logins) as (url, http):
        operator = logins.log_in("operator", admin=True)
        table = f"{url}users?month=2025-"
        for name, asked in {
            "this month": [""],
            "the month before": [f"{table}11"],
            "by any column": [
                f"{table}12&sort={column}"
                for column in ("username", "-gpu_hours", "gib_hours", "-starts", "-username")
            ],
            "part of many names": [f"{table}12&search=person00"],
            "part of one name": [f"{table}12&search=person031415"],
            "part of an e-mail or name": [
                f"{table}12&search=31415@campus",
                f"{table}12&search=abc",
            ],
        }.items():
            urls = [one or f"{url}users" for one in asked] * 10
            await measure(http, f"{options.many_users:,} users, {name}", urls, operator)
        urls = [f"{url}api/v1/users?limit=1000&since=2025-12-01"]
        for _ in range(20):
            answer = await http.fetch(urls[-1], headers=operator)
            query = urlencode({"cursor": json.loads(answer.body)["next"]})
            urls.append(f"{url}api/v1/users?limit=1000&since=2025-12-01&{query}")
        await measure(http, "API: 1,000 users on each of 20 pages", urls, operator)


async def main_with(options: argparse.Namespace) -> None:
    given = options.dsn_file.read_text().strip() if options.dsn_file else None
    async with store_year.database(given) as dsn:
        await (run_with_many_users if options.many_users else run)(dsn, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=year.USERS)
    parser.add_argument("--sessions", type=int, default=year.SESSIONS)
    parser.add_argument("--days", type=int, default=year.DAYS)
    parser.add_argument("--many-users", type=int, default=0)
    parser.add_argument("--dsn-file", type=Path)
    asyncio.run(main_with(parser.parse_args()))


if __name__ == "__main__":
    main()
