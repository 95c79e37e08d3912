"""Whether a Hub that starts and stops 1,000 servers a minute is followed without falling behind.

    python benchmarks/following.py [--minutes 3] [--rate 1000] [--running 1000]

The Hub's half runs in this process: the real recorder, its outbox on disk and its delivery, moved
at ``rate`` starts and as many stops a minute while ``running`` servers run. The service is a
process of its own with the embedded PostgreSQL; it checks every 30 s what this process answers as
the Hub's REST API. Each second the outbox is looked at; a batch's lag is from when its oldest
event was added to the service's acknowledgement, which comes after the commit.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import psutil
from ingest import until_ready
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

from jupyterhub_metrics.hub.actor import acting
from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.hub.secret_files import ensure_secrets, write_dsn
from jupyterhub_metrics.model import isoformat
from jupyterhub_metrics.store import EmbeddedServer

HUB = "bench"
CHECK_SECONDS = 30


class Hub:
    """Servers that start and stop around the recorder, and the REST API that shows them."""

    def __init__(self, recorder: MetricsRecorder) -> None:
        self.recorder = recorder
        self.running: deque[Any] = deque()
        self.started = self.stopped = 0
        self.asked = 0

    def start_server(self) -> None:
        self.started += 1
        name = f"user-{self.started}"
        spawner = SimpleNamespace(
            name="",
            user=SimpleNamespace(name=name, groups=[SimpleNamespace(name="staff")]),
            orm_spawner=SimpleNamespace(id=self.started, started=datetime.now(timezone.utc)),
            user_options={"profile": "small", "image": "registry.example/lab:1"},
            handler=None,
            _log_name=name,
        )
        self.recorder.requested(spawner)
        self.recorder.polled(spawner, None, self.recorder.moment_of(spawner))
        self.recorder.ready(spawner)
        self.running.append(spawner)

    def stop_server(self) -> None:
        spawner = self.running.popleft()
        with acting(f"user:{spawner.user.name}"):
            self.recorder.stopping(spawner)
            self.recorder.polled(spawner, None, self.recorder.moment_of(spawner))
            spawner.orm_spawner.started = None
            self.recorder.ended(spawner, None)
        self.stopped += 1

    def listen(self, port: int) -> None:
        hub = self

        class List(RequestHandler):
            def get(self, path: str) -> None:
                users = list(hub.running) if path == "users" else []
                hub.asked += path == "users" and self.get_argument("offset") == "0"
                offset, limit = (int(self.get_argument(name)) for name in ("offset", "limit"))
                page = {"offset": offset, "limit": limit, "total": len(users), "next": None}
                items = [_shown(one) for one in users[offset : offset + limit]]
                self.write({"items": items, "_pagination": page})

        Application([("/hub/api/(users|groups)", List)], log_function=lambda _: None).listen(
            port, "127.0.0.1"
        )


def _shown(spawner: Any) -> dict[str, Any]:
    started = isoformat(spawner.orm_spawner.started)
    server = {"name": "", "started": started, "ready": True, "last_activity": started}
    return {"name": spawner.user.name, "servers": {"": server}}


async def drive(hub: Hub, rate: int, minutes: float) -> None:
    """One start and one stop after another, evenly."""
    began, pause = time.monotonic(), 60 / rate
    for turn in range(int(rate * minutes)):
        hub.start_server()
        hub.stop_server()
        await asyncio.sleep(max(0.0, began + turn * pause - time.monotonic()))


async def watch(hub: Hub, depths: list[int], lags: list[float]) -> None:
    outbox = hub.recorder.outbox
    acknowledge = outbox.acknowledge

    def timed(delivered: Any) -> None:
        oldest = outbox.depth().oldest_seconds
        acknowledge(delivered)
        if oldest is not None:
            lags.append(oldest)

    outbox.acknowledge = timed  # type: ignore[method-assign]
    while True:
        depths.append(outbox.depth().events)
        await asyncio.sleep(1)


def start_service(
    folder: Path, api_token: str, port: int, api_port: int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "jupyterhub_metrics.service", "--log-level=WARN"],
        env={
            **os.environ,
            "COLLECTION_INTERVAL": str(CHECK_SECONDS),
            "JUPYTERHUB_METRICS_DATA_DIR": str(folder),
            "JUPYTERHUB_METRICS_HUB_NAME": HUB,
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/",
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{api_port}/hub/api",
            "JUPYTERHUB_API_TOKEN": api_token,
        },
    )


async def until_empty(recorder: MetricsRecorder) -> None:
    for _ in range(10_000):
        if not recorder.outbox.depth().events:
            return
        await asyncio.sleep(0.01)
    raise SystemExit("the service fell behind: the outbox was not empty after 100 s")


async def follow(options: argparse.Namespace, folder: Path, dsn: str) -> None:
    secrets = ensure_secrets(folder)
    write_dsn(folder, dsn)
    port, api_port = _free_port(), _free_port()
    log = logging.getLogger("following")
    recorder = MetricsRecorder(hub_name=HUB, data_dir=str(folder), log=log)
    recorder.open()
    hub = Hub(recorder)
    hub.listen(api_port)
    service = start_service(folder, secrets["api_token"], port, api_port)
    url = f"http://127.0.0.1:{port}/services/jupyterhub-metrics/"
    depths: list[int] = []
    lags: list[float] = []
    try:
        await until_ready(AsyncHTTPClient(), url)
        recorder.start_delivery(f"{url}api/v1/events", folder / "secrets" / "events_token")
        for _ in range(options.running):
            hub.start_server()
        await until_empty(recorder)
        watching = asyncio.create_task(watch(hub, depths, lags), name="watch")
        here, there = time.process_time(), sum(psutil.Process(service.pid).cpu_times()[:2])
        began = time.monotonic()
        await drive(hub, options.rate, options.minutes)
        took = time.monotonic() - began
        here = time.process_time() - here
        there = sum(psutil.Process(service.pid).cpu_times()[:2]) - there
        drained = time.monotonic()
        await until_empty(recorder)
        drained = time.monotonic() - drained
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    finally:
        await recorder.close()
        service.send_signal(signal.SIGTERM)
        service.wait(30)
    turns = int(options.rate * options.minutes)
    print(f"{turns} starts and {turns} stops in {took:.0f} s, {hub.asked} checks meanwhile")
    print(f"outbox each second: median {statistics.median(depths):.0f} events, max {max(depths)}")
    p99 = statistics.quantiles(lags, n=100)[98]
    print(
        f"event to commit, the oldest of each of {len(lags)} batches: median "
        f"{statistics.median(lags) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, max {max(lags):.2f} s; "
        f"empty {drained:.2f} s after the last event"
    )
    print(f"CPU: {here:.1f} s here, {there:.1f} s in the service")
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT state, inferred, count(*) FROM sessions GROUP BY 1, 2")
    await connection.close()
    print("sessions:", ", ".join(f"{n} {state}{', inferred' * bool(i)}" for state, i, n in rows))
    print(f"faults {recorder.faults}, lost {recorder.outbox.lost_events}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


async def with_database(options: argparse.Namespace, folder: Path) -> None:
    server = EmbeddedServer(folder / "database")
    try:
        await follow(options, folder, await server.start())
    finally:
        await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--rate", type=int, default=1000, help="starts, and stops, a minute")
    parser.add_argument("--running", type=int, default=1000, help="servers that run meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jhm-") as folder:
        Path(folder).chmod(0o711)
        (Path(folder) / "database").mkdir(mode=0o711)
        asyncio.run(with_database(options, Path(folder)))


if __name__ == "__main__":
    main()
