"""How many events Hubs can bring into the database over HTTP, and what the idle service weighs.

    python benchmarks/ingest.py [--events 20000] [--batch 100] [--hubs 1] [--dsn-file FILE]

Starts the real service as a process of its own (with the embedded PostgreSQL, or over the
database in --dsn-file), waits until it is ready, reads its resident memory, and posts the life of
servers (requested, ready, stopped) in batches, one after another, as a Hub's delivery does;
several Hubs do so at the same time, each with its own secret and its share of the events. The
service answers a batch when the database has committed it. At the end the same batches are sent
again, which must store nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
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
from secrets import token_hex

import psutil
from tornado.httpclient import AsyncHTTPClient

from jupyterhub_metrics.hub.secret_files import ensure_secrets, write_dsn
from jupyterhub_metrics.model import Event, session_id

HUB = "bench-0"
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


def lives(count: int, hub: str) -> Iterator[Event]:
    """``count`` events: servers of 500 users, one after another, an hour each."""
    began = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for number in range(count // 3 + 1):
        username = f"user-{number % 500}"
        started_at = began + timedelta(hours=2 * (number // 500), milliseconds=number)
        common = {
            "hub": hub,
            "username": username,
            "server_name": "",
            "session_id": session_id(hub, username, "", started_at),
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


async def measure(url: str, bodies_of: dict[str, list[bytes]], pid: int) -> None:
    """``bodies_of`` has the batches of each Hub by its secret."""
    client = AsyncHTTPClient()
    service = psutil.Process(pid)
    await until_ready(client, url)
    await asyncio.sleep(2)
    print(f"idle service: {service.memory_info().rss / 2**20:.0f} MiB resident")
    for pass_name in ("first", "again"):
        took: list[float] = []

        async def deliver(token: str, bodies: list[bytes], took: list[float]) -> int:
            stored = 0
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
                stored += result["new"]
            return stored

        used = sum(service.cpu_times()[:2])
        began = time.perf_counter()
        deliveries = (deliver(token, bodies, took) for token, bodies in bodies_of.items())
        new = sum(await asyncio.gather(*deliveries))
        seconds = time.perf_counter() - began
        used = sum(service.cpu_times()[:2]) - used
        events = sum(body.count(b'"kind":') for bodies in bodies_of.values() for body in bodies)
        p99 = statistics.quantiles(took, n=100)[98]
        print(
            f"{pass_name}: {events} events in {seconds:.2f} s, {events / seconds:.0f} events/s, "
            f"{new} new; {used / events * 1e6:.0f} us of the service's CPU for each; "
            f"a batch p50 {statistics.median(took) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
        )
    print(f"service after it: {psutil.Process(pid).memory_info().rss / 2**20:.0f} MiB resident")


def bodies(hub: str, count: int, batch: int) -> list[bytes]:
    """What a Hub posts."""
    texts = [event.to_json() for event in itertools.islice(lives(count, hub), count)]
    return [
        f'{{"hub":"{hub}","events":[{",".join(texts[at : at + batch])}]}}'.encode()
        for at in range(0, len(texts), batch)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--hubs", type=int, default=1)
    parser.add_argument("--dsn-file", type=Path)
    options = parser.parse_args()
    bodies_of_hub = {
        f"bench-{number}": bodies(f"bench-{number}", options.events // options.hubs, options.batch)
        for number in range(options.hubs)
    }
    with tempfile.TemporaryDirectory(prefix="jhm-") as folder:
        data_dir = Path(folder)
        data_dir.chmod(0o711)
        dsn = options.dsn_file.read_text().strip() if options.dsn_file else None
        secrets = ensure_secrets(data_dir)
        write_dsn(data_dir, dsn)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        tokens = {HUB: secrets["events_token"]}
        arguments = []
        for hub in list(bodies_of_hub)[1:]:
            tokens[hub] = token_hex(32)
            path = data_dir / f"{hub}.token"
            path.touch(mode=0o600)
            path.write_text(tokens[hub])
            arguments.append(f"--MetricsService.hub_token_files={hub}={path}")
        service = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub_metrics.service", "--log-level=WARN", *arguments],
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
            bodies_of = {tokens[hub]: posts for hub, posts in bodies_of_hub.items()}
            asyncio.run(measure(url, bodies_of, service.pid))
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(30)


if __name__ == "__main__":
    main()
