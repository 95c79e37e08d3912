"""What a check of 10,000 sessions costs: the comparison, and writing what runs.

    python benchmarks/drift.py [--sessions 10000] [--dsn-file FILE]

Compares sessions, the Hub's servers and pods that all agree, and again with one in a hundred of
each that does not. Then writes the observations and the activity of all of them, as a check does,
to the embedded PostgreSQL or the database in --dsn-file. CPU is that of this process; the
database's own comes beside it as elapsed time.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from asyncpg.pgproto.pgproto import UUID

from jupyterhub_metrics.model import session_id
from jupyterhub_metrics.service.measuring import measured_activity, observations
from jupyterhub_metrics.sources.drift import Findings, Memory, diff
from jupyterhub_metrics.sources.world import HubServer, HubView, Pod, PodView
from jupyterhub_metrics.store import CheckedSession, EmbeddedServer, open_store

HUB = "bench"
NOW = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
IMAGE = "registry.example:5000/lab/scipy-notebook:2026-01"
ROUNDS = 5


def world(count: int) -> tuple[list[CheckedSession], HubView, PodView]:
    """``count`` servers on which events, Hub and cluster agree."""
    sessions, servers, pods = [], {}, {}
    for number in range(count):
        username = f"user-{number}"
        started_at = NOW - timedelta(hours=1, milliseconds=number)
        sessions.append(
            CheckedSession(
                # of the type that the store gives
                id=UUID(str(session_id(HUB, username, "", started_at))),
                hub=HUB,
                username=username,
                original_username=username,
                server_name="",
                started_at=started_at,
                state="running",
                image=IMAGE,
                node=f"node-{number % 200}",
                namespace="jhub",
                pod_name=f"jupyter-{username}",
                last_event_at=started_at + timedelta(seconds=20),
                alive_at=started_at + timedelta(seconds=20),
                recorded=True,
            )
        )
        servers[username, ""] = HubServer(username, "", started_at, True, None, NOW)
        pods["jhub", f"jupyter-{username}"] = Pod(
            namespace="jhub",
            name=f"jupyter-{username}",
            uid=f"uid-{number}",
            username=username,
            server_name="",
            phase="Running",
            created_at=started_at + timedelta(seconds=1),
            running_since=started_at + timedelta(seconds=10),
            node=f"node-{number % 200}",
            image=IMAGE,
        )
    return sessions, HubView(servers, {}, NOW, NOW), PodView(pods, NOW)


def with_drift(hub: HubView, pods: PodView) -> tuple[HubView, PodView]:
    """One in a hundred is not there, for the Hub or for the cluster."""
    servers = dict(hub.servers)
    for key in list(servers)[::100]:
        del servers[key]
    kept = dict(pods.pods)
    for place in list(kept)[50::100]:
        del kept[place]
    return replace(hub, servers=servers), replace(pods, pods=kept)


def compare(name: str, sessions: list[CheckedSession], hub: HubView, pods: PodView) -> Findings:
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        found = diff(HUB, sessions, hub, pods, Memory())
        took.append(time.process_time() - began)
    drift = {kind: count for kind, count in found.counts.items() if count}
    print(f"{name}: best of {ROUNDS} {min(took) * 1e3:.0f} ms of CPU; drift {drift or 'none'}")
    return found


async def write(dsn: str, sessions: list[CheckedSession], found: Findings, pods: PodView) -> None:
    store = await open_store(dsn)
    try:
        for number in range(ROUNDS):
            at = NOW + timedelta(minutes=5 * number)
            cpu, began = time.process_time(), time.perf_counter()
            seen = observations(sessions, found, pods, at)
            await store.record_observations(HUB, at, seen)
            middle_cpu, middle = time.process_time(), time.perf_counter()
            await store.record_activity(
                measured_activity(sessions, found, at, timedelta(minutes=5))
            )
            print(
                f"{len(seen)} observations: {middle_cpu - cpu:.2f} s CPU, "
                f"{middle - began:.2f} s elapsed; activity: "
                f"{time.process_time() - middle_cpu:.2f} s CPU, "
                f"{time.perf_counter() - middle:.2f} s elapsed"
            )
    finally:
        await store.close()


async def write_embedded(
    folder: Path, sessions: list[CheckedSession], found: Findings, pods: PodView
) -> None:
    server = EmbeddedServer(folder)
    try:
        await write(await server.start(), sessions, found, pods)
    finally:
        await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--dsn-file", type=Path)
    options = parser.parse_args()
    sessions, hub, pods = world(options.sessions)
    found = compare(f"{options.sessions} sessions that agree", sessions, hub, pods)
    compare("one in a hundred drifts", sessions, *with_drift(hub, pods))
    if options.dsn_file:
        asyncio.run(write(options.dsn_file.read_text().strip(), sessions, found, pods))
        return
    with tempfile.TemporaryDirectory(prefix="jhm-") as folder:
        Path(folder).chmod(0o711)
        asyncio.run(write_embedded(Path(folder), sessions, found, pods))


if __name__ == "__main__":
    main()
