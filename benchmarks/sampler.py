"""What a sampler costs: one node and 100 real control groups read each second, into PostgreSQL.

Beside it, a loop that asks psutil alone for the node and for one process in each group. Makes
control groups, for which it takes root or a delegated hierarchy.

    python benchmarks/sampler.py [--groups 100] [--seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from real_cgroups import RealGroup

from jupyterhub_metrics.store import EmbeddedServer, open_store

WARM_UP_SECONDS = 5.0

PSUTIL_LOOP = """
import sys, time, psutil
processes = [psutil.Process(int(pid)) for pid in sys.argv[1:]]
while True:
    psutil.cpu_times_percent(); psutil.virtual_memory(); psutil.swap_memory()
    psutil.getloadavg(); psutil.cpu_stats()
    psutil.disk_io_counters(); psutil.net_io_counters()
    for process in processes:
        with process.oneshot():
            process.cpu_percent(); process.memory_info(); process.io_counters()
    time.sleep(1)
"""


def cost(process: psutil.Process, seconds: float) -> tuple[float, float]:
    """Percent of one core over that time, and resident MiB at its end."""
    time.sleep(WARM_UP_SECONDS)
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, took = process.cpu_times(), time.monotonic() - began
    spent = after.user + after.system - before.user - before.system
    return 100 * spent / took, process.memory_info().rss / 2**20


async def prepared(server: EmbeddedServer) -> str:
    """The address of a database with a ring."""
    dsn = await server.start()
    await (await open_store(dsn)).close()
    return dsn


async def state(dsn: str) -> asyncpg.Record:
    """What the ring holds."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchrow("SELECT * FROM ring_state('monitor_samples_ring')")
    finally:
        await connection.close()


def measure(dsn: str, parent: str, groups: int, seconds: float) -> None:
    """Both, one after the other, over the same groups."""
    with ExitStack() as stack:
        made = [
            stack.enter_context(RealGroup(f"{parent}/web-{number}.service"))
            for number in range(groups)
        ]
        sleepers = [stack.enter_context(group.running(["sleep", "3600"])) for group in made]
        named = [flag for group in made for flag in ("--container", group.path)]
        sampler = [
            sys.executable, "-m", "jupyterhub_metrics.cli", "sample", "--interval", "1",
            "--capacity", "100000", *named,
        ]  # fmt: skip
        other = [sys.executable, "-c", PSUTIL_LOOP, *(str(sleeper.pid) for sleeper in sleepers)]
        for name, command in (("sampler", sampler), ("psutil", other)):
            process = subprocess.Popen(command, env={**os.environ, "JUPYTERHUB_METRICS_DSN": dsn})
            try:
                share, resident = cost(psutil.Process(process.pid), seconds)
            finally:
                process.terminate()
                process.wait(20)
            print(f"{name}: {share:.2f} % of one core, {resident:.0f} MiB resident")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="jhm-", dir="/tmp"))
    folder.chmod(0o711)
    server = EmbeddedServer(folder)
    # a loop of its own: measuring waits
    loop = asyncio.new_event_loop()
    try:
        dsn = loop.run_until_complete(prepared(server))
        with RealGroup(f"jhm-bench-{os.getpid()}") as parent:
            measure(dsn, parent.path, arguments.groups, arguments.seconds)
        found = loop.run_until_complete(state(dsn))
        print(f"written: {found['held']} samples of {found['containers']} containers")
    finally:
        loop.run_until_complete(server.stop())
        loop.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
