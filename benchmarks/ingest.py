"""How many events one Hub can bring into the database over HTTP, and what the idle service weighs.

    python benchmarks/ingest.py [--events 20000] [--batch 100] [--dsn-file FILE]

Starts the real service as a process of its own (with the embedded PostgreSQL, or over the
database in --dsn-file), waits until it is ready, reads its resident memory, and posts the life of
servers (requested, ready, stopped) in batches, one after another, as a Hub's delivery does. The
service answers a batch when the database has committed it. At the end the same batches are sent
again, which must store nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
from tornado.httpclient import AsyncHTTPClient

from jupyterhub_metrics.hub.secret_files import ensure_secrets, write_dsn
from jupyterhub_metrics.model import Event, session_id

HUB = "bench"
FACTS = {
    "spawner_class": "kubespawner.spawner.KubeSpawner",
    "profile": "small",
    "image": "registry.example:5000/lab/scipy-notebook:2026-01",
    "namespace": "jhub",
    "memory_limit_bytes": 4 * 2**30,
    "cpu_limit_cores": 2.0,
    "groups": ["physics", "staff"],
    "started_by": "user:someone",
}


def lives(count: int) -> Iterator[Event]:
    """``count`` events: servers of 500 users, one after another, an hour each."""
    began = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for number in range(count // 3 + 1):
        username = f"user-{number % 500}"
        started_at = began + timedelta(hours=2 * (number // 500), milliseconds=number)
        common = {
            "hub": HUB,
            "username": username,
            "server_name": "",
            "session_id": session_id(HUB, username, "", started_at),
            "started_at": started_at,
            "source": "hub",
        }
        yield Event(kind="requested", occurred_at=started_at, facts=FACTS, **common)
        ready_at = started_at + timedelta(seconds=20)
        yield Event(kind="ready", occurred_at=ready_at, facts={"node": "node-1"}, **common)
        ended_at = started_at + timedelta(hours=1)
        yield Event(
            kind="stopped", occurred_at=ended_at, reason="stopped_by_user", actor=None, **common
        )


async def until_ready(client: AsyncHTTPClient, url: str) -> None:
    for _ in range(600):
        try:
            answer = await client.fetch(url + "health/ready", raise_error=False)
        except OSError:
            answer = None
        if answer is not None and answer.code == 200:
            return
        await asyncio.sleep(0.1)
    raise SystemExit("the service was not ready within a minute")


async def measure(url: str, token: str, bodies: list[bytes], pid: int) -> None:
    client = AsyncHTTPClient()
    await until_ready(client, url)
    await asyncio.sleep(2)
    print(f"idle service: {psutil.Process(pid).memory_info().rss / 2**20:.0f} MiB resident")
    for pass_name in ("first", "again"):
        new, took = 0, []
        began = time.perf_counter()
        for body in bodies:
            sent = time.perf_counter()
            answer = await client.fetch(
                url + "api/v1/events",
                method="POST",
                body=body,
                headers={"Authorization": f"Bearer {token}"},
            )
            took.append(time.perf_counter() - sent)
            result = json.loads(answer.body)
            if result["rejected"]:
                raise SystemExit(f"rejected: {result['rejected'][0]}")
            new += result["new"]
        seconds = time.perf_counter() - began
        events = sum(body.count(b'"kind":') for body in bodies)
        p99 = statistics.quantiles(took, n=100)[98]
        print(
            f"{pass_name}: {events} events in {seconds:.2f} s, {events / seconds:.0f} events/s, "
            f"{new} new; a batch p50 {statistics.median(took) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
        )
    print(f"service after it: {psutil.Process(pid).memory_info().rss / 2**20:.0f} MiB resident")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--dsn-file", type=Path)
    options = parser.parse_args()
    events = list(lives(options.events))[: options.events]
    bodies = []
    for at in range(0, len(events), options.batch):
        texts = ",".join(event.to_json() for event in events[at : at + options.batch])
        bodies.append(f'{{"hub":"{HUB}","events":[{texts}]}}'.encode())
    with tempfile.TemporaryDirectory(prefix="jhm-") as folder:
        data_dir = Path(folder)
        data_dir.chmod(0o711)
        dsn = options.dsn_file.read_text().strip() if options.dsn_file else None
        secrets = ensure_secrets(data_dir)
        write_dsn(data_dir, dsn)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        service = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub_metrics.service", "--log-level=WARN"],
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
            asyncio.run(measure(url, secrets["events_token"], bodies, service.pid))
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(30)


if __name__ == "__main__":
    main()
