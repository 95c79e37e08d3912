"""How fast a ring of 100,000 rows takes samples in batches, and how fast its newest row is found.

python benchmarks/ring.py [--rows 100000] [--batch 500] [--seconds 10] [--unlogged]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import asyncpg
import psutil

from jupyterhub_metrics.sampler import ResourceMonitor
from jupyterhub_metrics.sampler.samples import Sample
from jupyterhub_metrics.store import EmbeddedServer, open_store

NODES = 20
QUESTIONS = 1000
LATEST = (
    "SELECT * FROM monitor_samples_ring WHERE NOT master_flag AND node_flag AND node_name = $1 "
    "AND container_name IS NULL AND sample_time IS NOT NULL ORDER BY sample_time DESC LIMIT 1"
)
FULL = {
    "cpu_user_pct": 10.5, "cpu_system_pct": 3.25, "cpu_idle_pct": 80.0, "cpu_total_pct": 15.5,
    "load_1m": 1.5, "load_5m": 1.25, "load_15m": 1.0, "ctx_switches_s": 12345.0,
    "interrupts_s": 2345.0, "procs_running": 3, "procs_blocked": 0, "mem_total_mb": 65536,
    "mem_free_mb": 1024, "mem_available_mb": 40000, "mem_buffers_mb": 300, "mem_cached_mb": 20000,
    "disk_read_mb_s": 1.5, "disk_write_mb_s": 2.5, "disk_read_iops": 100.0,
    "disk_write_iops": 120.0, "disk_util_pct": 9.0, "net_rx_mb_s": 4.0, "net_tx_mb_s": 5.0,
    "temperature_c": 55.0, "interval_seconds": 1.0,
}  # fmt: skip


def batch(began: int, number: int, size: int) -> list[Sample]:
    """Samples of so many nodes and their containers, one second after another."""
    samples = []
    for place in range(number * size, (number + 1) * size):
        moment, whose = began + place // 200, place % 200
        name = f"node-{whose % NODES}"
        if whose < NODES:
            samples.append(Sample(moment, True, name, **FULL))  # type: ignore[arg-type]
        else:
            samples.append(
                Sample(moment, False, name, container_name=f"c-{whose}", cpu_total_pct=5.0)
            )
    return samples


async def measure(folder: Path, rows: int, size: int, seconds: float, *, unlogged: bool) -> None:
    server = EmbeddedServer(folder)
    try:
        dsn = await server.start()
        await (await open_store(dsn)).close()
        began = int(time.time()) - 1_000_000
        async with ResourceMonitor(
            dsn, capacity=rows, node_name="bench", unlogged=unlogged or None
        ) as monitor:
            number = 0
            while number * size < 1.2 * rows:
                await monitor.write(batch(began, number, size))
                number += 1
            written, started = 0, time.perf_counter()
            while (took := time.perf_counter() - started) < seconds:
                made = batch(began, number, size)
                started += time.perf_counter() - started - took
                written += (await monitor.write(made)).written
                number += 1
            print(f"a full ring of {rows} rows: {written / took:,.0f} samples/s by {size}")
            connection = await asyncpg.connect(dsn)
            backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
            for name, statement, values in (
                ("newest row of a node, SQL", LATEST, ("node-7",)),
                ("newest row of a node, ring_recent", _RECENT, ("node-7", None)),
                ("newest row of a container, ring_recent", _RECENT, ("node-15", "c-135")),
                ("ten newest rows, ring_recent", _TEN, ()),
            ):
                spent = []
                before = backend.cpu_times()
                for _ in range(QUESTIONS):
                    at = time.perf_counter()
                    assert await connection.fetch(statement, *values)
                    spent.append(1000 * (time.perf_counter() - at))
                quantiles = statistics.quantiles(spent, n=100)
                after = backend.cpu_times()
                own = after.user + after.system - before.user - before.system
                print(
                    f"{name}: p50 {quantiles[49]:.2f} ms, p99 {quantiles[98]:.2f} ms, of the "
                    f"database's processor {1000 * own / QUESTIONS:.2f} ms"
                )
            await connection.close()
    finally:
        await server.stop()


_RECENT = "SELECT * FROM ring_recent('monitor_samples_ring', 1, $1, $2)"
_TEN = "SELECT * FROM ring_recent('monitor_samples_ring', 10)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--unlogged", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="jhm-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        asyncio.run(
            measure(
                folder,
                arguments.rows,
                arguments.batch,
                arguments.seconds,
                unlogged=arguments.unlogged,
            )
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
