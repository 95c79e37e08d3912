"""What a scrape costs: its time with many running sessions, its memory, and what it takes from
ingest.

    python benchmarks/scrape.py [--sessions 10000] [--rounds 20] [--batches 20] [--users]
                                [--answer-seconds 5]

Starts the real service as a process of its own over the embedded PostgreSQL, with a snapshot every
5 seconds; posts the starts of as many servers (on 200 nodes, with 10 images and 8 profiles) and
waits until a scrape shows them. Then it scrapes, plainly and gzipped, and compares the counts of
executed statements before and after, which must not differ but for what the service does by
itself. At last it posts batches of 100 events in pairs of rounds, one of each with 10 scrapes a
second beside, and gives the ratio of the two rates: the whole run in one process' life, so that the
machine's mood meets both alike, and which round of a pair comes first by dice, so that snapshots,
which come at an interval, do too. ``--users`` shows users one by one too; ``--answer-seconds 0``
renders each answer anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from jupyterhub_metrics.hub.secret_files import ensure_secrets
from jupyterhub_metrics.model import Event, session_id

HUB = "bench"
SCRAPES_PER_SECOND = 10
SNAPSHOT = ("open_sessions", "active_users", "database_size", "members_now", "users_and_requests")


def starts(count: int, offset: int) -> Iterator[Event]:
    """The request and the readiness of ``count`` servers, one for each user."""
    began = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=1)
    for number in range(offset, offset + count):
        username, started_at = f"user-{number}", began + timedelta(milliseconds=number)
        common = {
            "hub": HUB,
            "username": username,
            "server_name": "",
            "session_id": session_id(HUB, username, "", started_at),
            "started_at": started_at,
            "source": "hub",
        }
        facts = {
            "profile": f"profile-{number % 8}",
            "image": f"registry.example:5000/lab/notebook-{number % 10}:2026-01",
            "namespace": "jhub",
            "memory_guarantee_bytes": 2**30,
            "cpu_guarantee_cores": 0.5,
            "node": f"node-{zlib.crc32(username.encode()) % 200}",
        }
        yield Event(kind="requested", occurred_at=started_at, facts=facts, **common)
        yield Event(kind="ready", occurred_at=started_at + timedelta(seconds=9), **common)


def batches(events: list[Event], size: int) -> list[bytes]:
    texts = [event.to_json() for event in events]
    return [
        f'{{"hub":"{HUB}","events":[{",".join(texts[at : at + size])}]}}'.encode()
        for at in range(0, len(texts), size)
    ]


class Service:
    """The running service, as its Hub and as Prometheus."""

    def __init__(self, url: str, secrets: dict[str, str], pid: int) -> None:
        self._url = url
        self._secrets = secrets
        self._http = AsyncHTTPClient()
        self.process = psutil.Process(pid)

    async def ready(self) -> None:
        for _ in range(600):
            try:
                answer = await self._http.fetch(self._url + "health/ready", raise_error=False)
            except OSError:
                answer = None
            if answer is not None and answer.code == 200:
                return
            await asyncio.sleep(0.1)
        raise SystemExit("the service was not ready within a minute")

    async def post(self, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {self._secrets['events_token']}"}
        await self._http.fetch(
            self._url + "api/v1/events",
            method="POST",
            body=body,
            headers=headers,
            request_timeout=60,
        )

    async def scrape(self, coding: str = "gzip") -> HTTPResponse:
        return await self._http.fetch(
            self._url + "metrics",
            headers={
                "Authorization": f"Bearer {self._secrets['metrics_token']}",
                "Accept": "application/openmetrics-text; version=1.0.0",
                "Accept-Encoding": coding,
            },
            decompress_response=False,
        )

    async def lines(self, prefix: str) -> list[str]:
        text = (await self.scrape("identity")).body.decode()
        return [line for line in text.splitlines() if line.startswith(prefix)]

    def start_scraping(self) -> subprocess.Popen[bytes]:
        """Scrapes in a process of its own, over one connection, as Prometheus does, and with as
        little work as that can be done: what the scraper needs is not the service's."""
        url = urlsplit(self._url)
        request = "\r\n".join(
            (
                f"GET {url.path}metrics HTTP/1.1",
                f"Host: {url.netloc}",
                f"Authorization: Bearer {self._secrets['metrics_token']}",
                "Accept: application/openmetrics-text; version=1.0.0",
                "Accept-Encoding: gzip",
                "\r\n",
            )
        )
        client, every = str(Path(__file__).with_name("light_client.py")), 1 / SCRAPES_PER_SECOND
        command = [sys.executable, client, str(url.hostname), str(url.port), "1", "0", str(every)]
        scraper = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert scraper.stdin is not None
        scraper.stdin.write(json.dumps([request]).encode())
        scraper.stdin.close()
        return scraper

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident(self) -> int:
        return int(self.process.memory_info().rss)


async def fill(service: Service, sessions: int) -> None:
    await asyncio.sleep(6)
    empty = service.resident()
    for body in batches(list(starts(sessions, 0)), 1000):
        await service.post(body)
    wanted = f'jupyterhub_metrics_sessions_open{{hub="{HUB}",state="running"}} {sessions}.0'
    for _ in range(120):
        if wanted in await service.lines("jupyterhub_metrics_sessions_open{"):
            break
        await asyncio.sleep(0.5)
    else:
        raise SystemExit("no scrape showed the sessions within a minute")
    # one more, rendered ahead for the formats that were asked for
    await asyncio.sleep(12)
    taken = (service.resident() - empty) / 2**20
    print(
        f"{sessions} running sessions: {service.resident() / 2**20:.0f} MiB resident, "
        f"{taken:.0f} MiB more than without, {1000 * taken / sessions:.1f} MiB per 1,000 sessions"
    )


async def time_scrapes(service: Service, count: int = 200) -> None:
    statements = 'jupyterhub_metrics_database_query_duration_seconds_count{query="'
    by_itself = {"ping", "other", *SNAPSHOT}
    before = await service.lines(statements)
    for coding in ("identity", "gzip"):
        took, sizes = [], []
        for _ in range(count):
            began = time.perf_counter()
            answer = await service.scrape(coding)
            took.append(time.perf_counter() - began)
            sizes.append(len(answer.body))
        p99 = statistics.quantiles(took, n=100)[98]
        print(
            f"a scrape, {coding}: p50 {statistics.median(took) * 1e3:.1f} ms, p99 "
            f"{p99 * 1e3:.1f} ms, {max(sizes) / 1e6:.2f} MB"
        )
    print(f"series: {len(await service.lines('jupyterhub_'))}")
    after = await service.lines(statements)
    changed = {line.split('"')[1] for line in set(after) - set(before)}
    print(f"statements during {2 * count} scrapes beside snapshots and upkeep:")
    print(f"  {sorted(name for name in changed if name not in by_itself) or 'none'}")


def in_pairs(rounds: int) -> Iterator[bool]:
    """Whether each round is scraped: one of two that follow one another, by dice."""
    dice = random.Random(1)
    for _ in range(rounds):
        yield from dice.sample((True, False), 2)


async def compare_ingest(service: Service, sessions: int, rounds: int, count: int) -> None:
    took: dict[bool, list[float]] = {False: [], True: []}
    used: dict[bool, list[float]] = {False: [], True: []}
    offset = sessions
    scraper = service.start_scraping()
    try:
        await asyncio.sleep(1)
        for scraped in in_pairs(rounds):
            scraper.send_signal(signal.SIGCONT if scraped else signal.SIGSTOP)
            bodies = batches(list(starts(50 * count, offset)), 100)
            offset += 50 * count
            before = service.cpu_seconds()
            for body in bodies:
                began = time.perf_counter()
                await service.post(body)
                took[scraped].append(time.perf_counter() - began)
            used[scraped].append(service.cpu_seconds() - before)
    finally:
        scraper.kill()
        scraper.wait()
    with_scrapes, without = (100 * len(took[x]) / sum(took[x]) for x in (True, False))
    # of the median rounds too: a snapshot falls into few, and takes more than all scrapes of one
    medians = {scraped: statistics.median(spent) for scraped, spent in used.items()}
    print(
        f"ingest: {without:.0f} events/s, with {SCRAPES_PER_SECOND} scrapes/s {with_scrapes:.0f}; "
        f"ratio {with_scrapes / without:.3f}; of the median batches "
        f"{statistics.median(took[False]) / statistics.median(took[True]):.3f}; the service's own "
        f"CPU {sum(used[True]) / sum(used[False]):.3f} times as much, in the median round "
        f"{medians[True] / medians[False]:.3f}"
    )


async def measure(service: Service, options: argparse.Namespace) -> None:
    await service.ready()
    await fill(service, options.sessions)
    await time_scrapes(service)
    await compare_ingest(service, options.sessions, options.rounds, options.batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--users", action="store_true")
    parser.add_argument("--answer-seconds", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jhm-") as folder:
        Path(folder).chmod(0o711)
        secrets = ensure_secrets(Path(folder))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterhub_metrics.service",
                "--log-level=ERROR",
                "--Scraping.snapshot_interval_seconds=5",
                f"--Scraping.answer_seconds={options.answer_seconds}",
                f"--Scraping.user_series={options.users}",
            ],
            env={
                **os.environ,
                "JUPYTERHUB_METRICS_DATA_DIR": folder,
                "JUPYTERHUB_METRICS_HUB_NAME": HUB,
                "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/",
                "JUPYTERHUB_API_TOKEN": secrets["api_token"],
            },
        )
        try:
            url = f"http://127.0.0.1:{port}/services/jupyterhub-metrics/"
            asyncio.run(measure(Service(url, secrets, process.pid), options))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


if __name__ == "__main__":
    main()
