"""A real JupyterHub in a subprocess, with a real proxy and real processes as user servers.

Called by the tests that must see what a Hub really does. Everything one Hub starts has its
working directory in that Hub's folder, and so is found and ended, whoever orphaned it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import jupyterhub
import psutil
from hub_client import HubClient
from ports import free_port
from scratch import scratch_folder

from jupyterhub_metrics.model import Event

POLL_SECONDS = 1
START_TIMEOUT_SECONDS = 4
LINGER_SECONDS = 3
"""How long the mode ``linger`` prepares a server before its process starts."""

STUB = Path(__file__).with_name("stub_server.py")

SETUP = """
from jupyterhub_metrics.hub import setup
setup(c, hub_name={hub_name!r}, service_port={service_port})
"""

CONFIG = """
import asyncio, json, time
from pathlib import Path
import jupyterhub.spawner
from jupyterhub.services.service import _ServiceSpawner
from jupyterhub.utils import random_port
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.cleanup_servers = {cleanup}
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0, "slow_stop_timeout": 0}}
c.JupyterHub.last_activity_interval = 3600
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.auth_token = "{proxy_token}"
c.JupyterHub.spawner_class = "jupyterhub.spawner.SimpleLocalProcessSpawner"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.Spawner.cmd = [{python!r}, "-S", "-E", {stub!r}]
c.Spawner.environment = {{
    "STUB_MODE": lambda spawner: spawner.user_options.get("mode", "normal"),
    "STUB_FOLDER": {servers!r},
    "STUB_HUB_VERSION": {hub_version!r},
}}
c.Spawner.poll_interval = {poll_seconds}
c.Spawner.poll_jitter = 0
c.Spawner.start_timeout = {start_timeout}
c.Spawner.http_timeout = {start_timeout}
c.Spawner.consecutive_failure_limit = 0
c.LocalProcessSpawner.interrupt_timeout = 1
c.LocalProcessSpawner.term_timeout = 1
c.Delivery.idle_seconds = 0.5
c.Delivery.longest_backoff_seconds = 2
# no configuration reaches it: half a minute until the Hub sees that a service has died
_ServiceSpawner.poll_interval = 1
c.JupyterHub.services = [{{"name": "observer", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{
    "name": "observer",
    "services": ["observer"],
    "scopes": ["admin:users", "admin:servers", "admin:groups", "tokens", "read:hub"],
}}]

# what answers for one server must not be another that got the same port a moment before
ports = set()

def port_of_its_own():
    while (port := random_port()) in ports:
        pass
    ports.add(port)
    return port

jupyterhub.spawner.random_port = port_of_its_own

def note_hook(name, spawner):
    with Path("hooks.jsonl").open("a") as hooks:
        hooks.write(json.dumps([name, spawner.user.name, spawner.name, time.time()]) + "\\n")

def before_spawn(spawner):
    note_hook("pre_spawn", spawner)
    if spawner.user_options.get("mode") == "raise":
        raise RuntimeError("no server for this user today")
    if spawner.user_options.get("mode") == "linger":
        return asyncio.sleep({linger_seconds})

def after_stop(spawner):
    note_hook("post_stop", spawner)

c.Spawner.pre_spawn_hook = before_spawn
c.Spawner.post_stop_hook = after_stop
"""


async def until(
    fact: Callable[[], bool] | Callable[[], Awaitable[bool]],
    what: str,
    *,
    seconds: float = 20.0,
    every_seconds: float = 0.05,
) -> None:
    """Wait until ``fact()`` is true; AssertionError naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        answer = fact()
        if not isinstance(answer, bool):
            answer = await answer
        if answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        await asyncio.sleep(every_seconds)


def processes_in(folder: Path) -> list[psutil.Process]:
    """All processes that run with their working directory in the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            inside = Path(process.cwd()).is_relative_to(folder)
            if inside and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


class HubProcess:
    """One Hub in a folder of its own; ``start`` and ``stop`` may be called again and again.

    ``before`` and ``after`` are lines of configuration around the one line that adds the
    metrics (``setup``), as a deployment would have them.
    """

    def __init__(
        self,
        *,
        before: str = "",
        setup: str = SETUP,
        after: str = "",
        cleanup_servers: bool = False,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = scratch_folder()
        self.name = f"hub-{secrets.token_hex(4)}"
        self.password = secrets.token_hex(8)
        self.token = secrets.token_hex(16)
        self.port, self.hub_port, self.proxy_port, self.service_port = (
            free_port() for _ in range(4)
        )
        self.servers = self.folder / "servers"
        self.servers.mkdir()
        self.log = self.folder / "hub.log"
        self.config = self.folder / "jupyterhub_config.py"
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.write_config(before=before, setup=setup, after=after, cleanup_servers=cleanup_servers)
        self.client = HubClient(self.url, self.token)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def service_url(self) -> str:
        return f"{self.url}/services/jupyterhub-metrics"

    @property
    def data_dir(self) -> Path:
        return self.folder / "jupyterhub-metrics"

    def write_config(
        self,
        *,
        before: str = "",
        setup: str = SETUP,
        after: str = "",
        cleanup_servers: bool = False,
    ) -> None:
        """The configuration that the next start reads."""
        text = CONFIG.format(
            port=self.port,
            hub_port=self.hub_port,
            proxy_port=self.proxy_port,
            proxy_token=secrets.token_hex(16),
            proxy=str(Path(sys.executable).with_name("configurable-http-proxy")),
            python=sys.executable,
            stub=str(STUB),
            servers=str(self.servers),
            home=str(self.folder / "home" / "{username}"),
            hub_version=jupyterhub.__version__,
            poll_seconds=POLL_SECONDS,
            start_timeout=START_TIMEOUT_SECONDS,
            linger_seconds=LINGER_SECONDS,
            password=self.password,
            token=self.token,
            cleanup=cleanup_servers,
        )
        metrics = setup.format(hub_name=self.name, service_port=self.service_port)
        self.config.write_text("\n".join((text, before, metrics, after)))
        self.config.chmod(0o600)

    async def start(self, *, service: bool = True) -> None:
        """Start the Hub and wait until it answers, and, with ``service``, the service too."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JUPYTERHUB_", "DB_", "CONFIGPROXY_"))
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(self.config)],
                cwd=self.folder,
                env={**environment, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            answers = self._answers("/hub/health")
            await until(answers, "the Hub answers", seconds=60, every_seconds=0.2)
            if service:
                ready = self._answers("/services/jupyterhub-metrics/health/ready")
                await until(ready, "the service is ready", seconds=60, every_seconds=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; the end of its log:\n{self.log_tail()}") from None

    def _answers(self, path: str) -> Callable[[], Awaitable[bool]]:
        async def answers() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"the Hub ended with status {self._process.returncode}")
            return (await self.client.get(self.url + path, timeout_seconds=2)).status == 200

        return answers

    async def post_events(self, events: list[Event]) -> None:
        """Have the service store events, as the recorder posts them: directly, with its secret."""
        answer = await self.client.request(
            "POST",
            f"http://127.0.0.1:{self.service_port}/services/jupyterhub-metrics/api/v1/events",
            {"hub": self.name, "events": [event.to_wire() for event in events]},
            token=(self.data_dir / "secrets" / "events_token").read_text().strip(),
        )
        assert answer.status == 200, answer.text
        assert answer.json()["rejected"] == []

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def pid(self) -> int | None:
        """None while it is not running, as far as we ended it ourselves."""
        return self._process.pid if self._process is not None else None

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Send the Hub a signal and wait for its end; SIGKILL leaves its children to themselves."""
        if self._process is None:
            return
        process = self._process
        if process.poll() is None:
            process.send_signal(number)
        await until(lambda: process.poll() is not None, "the Hub ended", seconds=30)
        self._process = None

    async def kill(self) -> None:
        await self.stop(signal.SIGKILL)

    def processes(self) -> list[psutil.Process]:
        """All that this Hub started and that still runs, itself included."""
        return processes_in(self.folder)

    def running(self, word: str) -> list[psutil.Process]:
        """Those of them with a word of their command line that has this in it."""
        found = []
        for process in self.processes():
            # one that ends meanwhile does not run
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(word in argument for argument in process.cmdline()):
                    found.append(process)
        return found

    async def close(self) -> None:
        """End everything of this Hub and remove its folder."""
        try:
            await self.stop()
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            await until(lambda: not self.processes(), "nothing of the Hub runs", seconds=10)
            if self._process is not None:
                self._process.wait()
            self.client.close()
            shutil.rmtree(self.folder)
