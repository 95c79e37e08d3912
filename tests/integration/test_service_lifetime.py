"""How the service starts and ends, as a process of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hub_client import HubClient
from hub_process import until
from ports import free_port
from service_fixtures import data_dir, event, make_data_dir

__all__ = ["data_dir"]

PREFIX = "/services/jupyterhub-metrics/"


class ServiceProcess:
    """``python -m jupyterhub_metrics.service`` in a process of its own."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.log = data_dir / "service.log"
        self.token = (data_dir / "secrets" / "events_token").read_text().strip()
        self.client = HubClient(f"http://127.0.0.1:{self.port}{PREFIX}", self.token)
        self.environment = {
            "PATH": os.environ["PATH"],
            "JUPYTERHUB_METRICS_DATA_DIR": str(data_dir),
            "JUPYTERHUB_METRICS_HUB_NAME": "hub",
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}/",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(command or ("-m", "jupyterhub_metrics.service"))],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        return self.process

    async def status(self, path: str) -> int:
        return (await self.client.get(self.client.url + path, timeout_seconds=2)).status

    async def until_ready(self) -> None:
        async def ready() -> bool:
            return await self.status("health/ready") == 200

        await until(ready, "the service is ready")

    async def until_ended(self, seconds: float = 10.0) -> int:
        process = self.process
        assert process is not None
        await until(lambda: process.poll() is not None, "the service ended", seconds=seconds)
        return process.returncode

    def close(self) -> None:
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)


@pytest.fixture
def process(data_dir: Path) -> Iterator[ServiceProcess]:
    service = ServiceProcess(data_dir)
    yield service
    service.close()


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def postgres_pid(data_dir: Path) -> int:
    found = next((data_dir / "postgres").rglob("postmaster.pid"))
    return int(found.read_text().splitlines()[0])


async def test_sigterm_lets_a_batch_under_way_finish_and_stops_postgresql(
    process: ServiceProcess, data_dir: Path
) -> None:
    running = process.start()
    await process.until_ready()
    postgres = postgres_pid(data_dir)
    body = b'{"hub": "hub", "events": [%s]}' % event("hub").to_json().encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    head = (
        f"POST {PREFIX}api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {process.token}"
        f"\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body[:50])
    await writer.drain()
    await asyncio.sleep(0.3)
    running.send_signal(signal.SIGTERM)
    await until(lambda: "Stopping" in process.log.read_text(), "it stops")
    writer.write(body[50:])
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"new": 1' in answer
    assert await process.until_ended() == 0
    assert not is_running(postgres)
    process.start()
    await process.until_ready()
    assert "cut off" not in process.log.read_text()


async def test_the_service_and_its_postgresql_end_with_a_killed_parent(
    process: ServiceProcess, data_dir: Path
) -> None:
    process.environment["JUPYTERHUB_SERVICE_NAME"] = "jupyterhub-metrics"
    hub = textwrap.dedent(
        """
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-m", "jupyterhub_metrics.service"])
        time.sleep(600)
        """
    )
    parent = process.start("-c", hub)
    await process.until_ready()
    (service,) = psutil.Process(parent.pid).children()
    postgres = postgres_pid(data_dir)
    parent.kill()
    await until(lambda: not is_running(service.pid), "the service ended", seconds=5)
    await until(lambda: not is_running(postgres), "its PostgreSQL ended", seconds=5)


async def test_a_service_of_its_own_outlives_who_started_it(process: ServiceProcess) -> None:
    script = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid)"
    process.start("-c", script, sys.executable, "-m", "jupyterhub_metrics.service")
    assert await process.until_ended() == 0
    await process.until_ready()
    await asyncio.sleep(1.5)
    assert await process.status("health/live") == 200
    pid = int(process.log.read_text().split()[0])
    os.kill(pid, signal.SIGTERM)
    await until(lambda: not is_running(pid), "the service ended")


async def test_the_service_waits_for_a_port_that_another_process_holds(
    process: ServiceProcess,
) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", process.port))
        holder.listen()
        running = process.start()
        taken = f"found port {process.port} of 127.0.0.1 taken"
        await until(lambda: taken in process.log.read_text(), "it says that the port is taken")
        await asyncio.sleep(2.2)
        assert running.poll() is None
        assert process.log.read_text().count(taken) == 1
    await process.until_ready()


async def test_sigterm_ends_a_service_that_waits_for_its_port(process: ServiceProcess) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", process.port))
        holder.listen()
        running = process.start()
        await until(lambda: "taken" in process.log.read_text(), "it says that the port is taken")
        running.terminate()
        assert await process.until_ended(3) == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"JUPYTERHUB_METRICS_HUB_NAME": ""}, "found no name of the Hub"),
        ({"JUPYTERHUB_SERVICE_URL": "nowhere"}, "found 'nowhere' as the address"),
        ({"JUPYTERHUB_SERVICE_URL": "http://192.0.2.1:10180/"}, "found that 192.0.2.1 port 10180"),
    ],
)
async def test_a_wrong_setting_ends_the_service_with_one_line(
    process: ServiceProcess, change: dict[str, str], line: str
) -> None:
    process.environment.update(change)
    process.start()
    assert await process.until_ended() == 1
    said = process.log.read_text()
    assert line in said.splitlines()[-1]
    assert "Traceback" not in said


async def test_the_command_line_wins_over_the_configuration_file(
    process: ServiceProcess, data_dir: Path
) -> None:
    config = data_dir / "service.py"
    config.write_text('c.MetricsService.hub_name = ""\nc.MetricsService.url = "nowhere"\n')
    process.environment["JUPYTERHUB_METRICS_CONFIG"] = str(config)
    process.start("-m", "jupyterhub_metrics.service", "--MetricsService.url=http://elsewhere")
    assert await process.until_ended() == 1
    assert "found 'http://elsewhere' as the address" in process.log.read_text()


async def test_a_missing_configuration_file_is_named(process: ServiceProcess) -> None:
    process.start("-m", "jupyterhub_metrics.service", "--config", "nowhere.py")
    assert await process.until_ended() == 1
    assert "found no configuration file" in process.log.read_text()


async def test_an_idle_service_stays_below_100_megabytes(
    process: ServiceProcess, postgres_dsn: str, data_dir: Path
) -> None:
    (data_dir / "secrets" / "dsn").write_text(postgres_dsn)
    running = process.start()
    await process.until_ready()
    assert psutil.Process(running.pid).memory_info().rss < 100e6


def test_a_dsn_on_the_command_line_is_refused_and_not_repeated() -> None:
    folder = make_data_dir()
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            "jupyterhub_metrics.service",
            "--MetricsService.dsn=postgresql://a:hush-hush@b/c",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        cwd=folder,
    )
    shutil.rmtree(folder)
    assert told.returncode == 1
    assert "command line" in told.stderr
    assert "hush-hush" not in told.stdout + told.stderr
