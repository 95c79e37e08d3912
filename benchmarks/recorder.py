"""What the recorder adds to the Hub's event loop, per moment of a server.

    python benchmarks/recorder.py [--servers 2000] [--service away|slow|there]

Drives the methods that JupyterHub calls on a real spawner class, once as it is and once as its
recording subclass, in one run on one event loop, with the outbox on the disk of --folder. While
it measures, the delivery task runs against a service that is there (answers at once), slow
(accepts and never answers) or away (refuses), so that a figure that depended on the network
would show.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import statistics
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

from jupyterhub.spawner import SimpleLocalProcessSpawner
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.hub.spawner import RECORDER_SETTING, recording

MOMENTS = ("requested", "ready", "polled", "stopping", "ended")


class Alive(SimpleLocalProcessSpawner):
    """The least spawner there is: its process is always alive."""

    async def poll(self):
        return None


class Accept(RequestHandler):
    def post(self) -> None:
        events = json.loads(self.request.body)["events"]
        self.write({"received": len(events), "rejected": []})


def make(cls: type, settings: dict, number: int):
    groups = [SimpleNamespace(name=f"group-{n}") for n in range(5)]
    user = SimpleNamespace(name=f"user-{number}", groups=groups, settings=settings)
    row = SimpleNamespace(
        id=number, name="", server=None, started=datetime.now(timezone.utc), oauth_client=None
    )
    spawner = cls(user=user, orm_spawner=row, hub=None)
    spawner.user_options = {"profile": "small", "image": "registry.example/lab:1"}
    return spawner


async def live(spawner, times: dict[str, list[float]]) -> None:
    """One server's life, as User.spawn and User.stop walk through it."""

    async def took(moment: str, call) -> None:
        began = time.perf_counter()
        answer = call()
        if asyncio.iscoroutine(answer):
            await answer
        times[moment].append(time.perf_counter() - began)

    await took("requested", spawner.run_pre_spawn_hook)
    await asyncio.sleep(0)
    await took("ready", lambda: spawner.add_poll_callback(lambda: None))
    await asyncio.sleep(0)
    await took("polled", spawner.poll)
    await asyncio.sleep(0)
    await took("stopping", spawner.stop_polling)
    spawner.orm_spawner.started = None
    await took("ended", spawner.run_post_stop_hook)
    await asyncio.sleep(0)


async def service(kind: str):
    """A port of the wished behaviour, and what ends it."""
    if kind == "there":
        server = HTTPServer(Application([(r"/.*", Accept)]))
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        server.add_socket(listening)
        return listening.getsockname()[1], server.stop
    listening = socket.create_server(("127.0.0.1", 0))
    if kind == "away":
        port = listening.getsockname()[1]
        listening.close()
        return port, lambda: None
    return listening.getsockname()[1], listening.close


def report(name: str, times: dict[str, list[float]]) -> None:
    every = [value for values in times.values() for value in values]
    for moment, values in [*times.items(), ("all", every)]:
        p50, p99 = statistics.median(values), statistics.quantiles(values, n=100)[98]
        print(
            f"{name:10} {moment:10} p50 {p50 * 1e3:7.3f} ms   p99 {p99 * 1e3:7.3f} ms"
            f"   max {max(values) * 1e3:7.3f} ms"
        )


async def measure(servers: int, kind: str, folder: Path) -> None:
    recorder = MetricsRecorder(hub_name="bench", data_dir=str(folder), log=logging.getLogger("b"))
    recorder.open()
    (folder / "token").write_text("token")
    port, end = await service(kind)
    recorder.start_delivery(f"http://127.0.0.1:{port}/events", folder / "token")
    plain = {moment: [] for moment in MOMENTS}
    recorded = {moment: [] for moment in MOMENTS}
    for number in range(servers):
        await live(make(Alive, {}, number), plain)
        settings = {RECORDER_SETTING: recorder}
        await live(make(recording(Alive), settings, number), recorded)
    delivered, waiting = recorder.delivery.delivered_events, recorder.outbox.depth().events
    await recorder.close()
    end()
    report("plain", plain)
    report("recorded", recorded)
    print(f"service {kind}: {delivered} events delivered meanwhile, {waiting} wait on disk")
    print(f"faults {recorder.faults}, lost {recorder.outbox.lost_events}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=2000)
    parser.add_argument("--service", choices=("away", "slow", "there"), default="there")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: temporary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(measure(options.servers, options.service, Path(folder)))


if __name__ == "__main__":
    main()
