"""The demo as whoever tries it sees it: one command, real servers, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlencode

import asyncpg
import psutil
import pytest
from hub_client import Visitor
from hub_process import processes_in, until
from ports import free_port
from scratch import scratch_folder

from jupyterhub_metrics.demo.folder import DemoFolder
from jupyterhub_metrics.demo.history import groups
from jupyterhub_metrics.store import dsn_of_running

COMMAND = str(Path(sys.executable).with_name("jupyterhub-metrics"))


class DemoProcess:
    """``jupyterhub-metrics demo`` in a folder, with what it has said so far."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._said = folder.with_suffix(".txt")
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                [COMMAND, "demo", "--port", str(self.port), "--data", str(folder), *options],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    async def says(self, text: str, *, seconds: float = 60) -> None:
        def spoken() -> bool:
            assert text in self.said or self.process.poll() is None, self.said
            return text in self.said

        await until(spoken, f"the demo says {text!r}", seconds=seconds)

    def running(self) -> list[psutil.Process]:
        return processes_in(self.folder)

    async def ended(self) -> int:
        await until(lambda: self.process.poll() is not None, "the demo ended", seconds=40)
        return int(self.process.returncode)

    async def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            await self.ended()
        for process in self.running():
            process.kill()
        self._said.unlink()


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    parent = scratch_folder()
    yield parent / "demo"
    shutil.rmtree(parent)


async def counts(folder: Path) -> tuple[int, int]:
    """How many simulated and how many real sessions are stored."""
    connection = await asyncpg.connect(dsn_of_running(DemoFolder(folder).data_dir))
    try:
        row = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE simulated), count(*) FILTER (WHERE NOT simulated) "
            "FROM sessions"
        )
    finally:
        await connection.close()
    return row[0], row[1]


async def test_the_demo_shows_a_page_runs_a_server_and_goes_on_where_it_was(folder: Path) -> None:
    demo = DemoProcess(folder, "--history", "20", "--users", "6")
    try:
        await demo.says(demo.url)
        await demo.says("Password")
        password = (folder / "password").read_text().strip()
        assert (folder / "password").stat().st_mode & 0o777 == 0o600
        assert password in demo.said
        visitor = Visitor(demo.url)
        await asyncio.to_thread(visitor.log_in, "mira", password)

        await demo.says("The past is there")
        page = await asyncio.to_thread(
            visitor.open, f"{demo.url}/services/jupyterhub-metrics/users/mira"
        )
        assert page.status == 200
        assert "simulated" in page.text

        await asyncio.to_thread(past_of_the_group_is_there, visitor, demo)

        await asyncio.to_thread(visitor.open, f"{demo.url}/hub/spawn")
        await until(lambda: is_lab(visitor, demo), "JupyterLab answers", seconds=60)
        simulated, real = await counts(folder)
        assert simulated > 50
        assert real == 1
        await until(lambda: memory_is_shown(visitor, demo), "the page tells of memory", seconds=40)

        demo.process.send_signal(signal.SIGINT)
        assert await demo.ended() == 0
        assert "Nothing is left running." in demo.said
        assert not demo.running()
    finally:
        await demo.close()

    again = DemoProcess(folder, "--history", "20", "--users", "6")
    try:
        await again.says(password)
        await until(lambda: past_is_filled(again), "the past is filled", seconds=40)
        more_simulated, real = await counts(folder)
        # only what ended between the two starts may have been added
        assert simulated <= more_simulated <= simulated + 3
        assert real == 1
        again.process.terminate()
        assert await again.ended() == 0
        assert not again.running()
    finally:
        await again.close()


def past_of_the_group_is_there(visitor: Visitor, demo: DemoProcess) -> None:
    since = (datetime.now(timezone.utc) - timedelta(days=21)).date()
    window = urlencode({"group": "physics", "since": f"{since}T00:00:00Z"})
    api = f"{demo.url}/services/jupyterhub-metrics/api/v1"
    users = json.loads(visitor.open(f"{api}/users?{window}").text)["items"]
    members = groups(seed=1, user_count=6)["physics"]
    assert {user["username"] for user in users} == set(members)
    assert min(user["seconds"] for user in users) > 0


def memory_is_shown(visitor: Visitor, demo: DemoProcess) -> bool:
    page = visitor.open(f"{demo.url}/services/jupyterhub-metrics/users/mira").text
    return re.search(r"used at most [0-9.]+ [MG]iB", page) is not None


def is_lab(visitor: Visitor, demo: DemoProcess) -> bool:
    answer = visitor.open(f"{demo.url}/user/mira/lab")
    return answer.status == 200 and "jupyter-config-data" in answer.text


def past_is_filled(demo: DemoProcess) -> bool:
    return bool(re.search(r"The past (is there|was there already)", demo.said))


async def test_a_killed_hub_is_told_in_one_line_and_all_the_rest_ends(folder: Path) -> None:
    demo = DemoProcess(folder, "--history", "0")
    try:
        await demo.says("The usage service answers.")
        [hub] = [p for p in demo.running() if p.ppid() == demo.process.pid]
        hub.kill()
        assert await demo.ended() == 1
        assert "The Hub ended with status -9;" in demo.said
        assert not demo.running()
    finally:
        await demo.close()


async def test_a_killed_demo_takes_its_hub_along(folder: Path) -> None:
    demo = DemoProcess(folder, "--history", "0")
    try:
        await demo.says("The usage service answers.")
        assert len(demo.running()) >= 3
        demo.process.kill()
        await demo.ended()
        await until(lambda: not demo.running(), "nothing of the demo runs", seconds=20)
    finally:
        await demo.close()


async def test_a_signal_before_the_hub_answers_ends_everything(folder: Path) -> None:
    demo = DemoProcess(folder)
    try:
        await demo.says("Starting a JupyterHub")
        demo.process.send_signal(signal.SIGINT)
        assert await demo.ended() == 0
        assert not demo.running()
    finally:
        await demo.close()


def refused(*options: str) -> str:
    """What the demo says when it does not start: one line."""
    done = subprocess.run([COMMAND, "demo", *options], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


async def test_a_taken_port_is_one_line(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refused("--port", port, "--data", str(folder))
    assert f"port {port} of 127.0.0.1 cannot be used" in line
    assert "--port" in line
    assert not folder.exists()


async def test_a_folder_in_use_is_one_line(folder: Path) -> None:
    holder = DemoFolder(folder)
    holder.open()
    assert "in use by a running demo" in refused("--port", str(free_port()), "--data", str(folder))


async def test_the_demo_never_writes_to_a_database_of_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_METRICS_DSN", "postgresql://real:secret@db.example/metrics")
    demo = DemoProcess(folder, "--history", "0")
    try:
        await demo.says("The usage service answers.")
        await until(
            lambda: dsn_of_running(DemoFolder(folder).data_dir) is not None, "it has its own"
        )
        for process in demo.running():
            assert "JUPYTERHUB_METRICS_DSN" not in process.environ()
        assert not (folder / "jupyterhub-metrics" / "secrets" / "dsn").exists()
    finally:
        await demo.close()
