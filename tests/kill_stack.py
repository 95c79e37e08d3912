"""A Hub with its service, database, proxy and network, each of which can be killed for real."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from hub_process import POLL_SECONDS, HubProcess, until
from kill_judge import Verdict, judge
from kill_plan import Fault, Schedule
from outside_observer import OutsideObserver
from ports import free_port
from scratch import scratch_folder
from tcp_proxy import Address, TcpProxy

from jupyterhub_metrics.dsn import DSN_VARIABLE
from jupyterhub_metrics.errors import MetricsError
from jupyterhub_metrics.store import EmbeddedServer, dsn_of_running

CHECK_SECONDS = 1
GRACE_SECONDS = 2
SETTLE_SECONDS = 60.0

SERVICE_SETTINGS = """
import os
os.environ["JUPYTERHUB_API_URL"] = "http://127.0.0.1:{api_port}/hub/api"
c.MetricsService.check_interval_seconds = {check_seconds}
c.MetricsService.event_grace_seconds = {grace_seconds}
c.MetricsService.hub_poll_seconds = {poll_seconds}
"""

SETUP = """
from jupyterhub_metrics.hub import setup
setup(c, hub_name={hub_name!r}, service_port={service_port}, service_config="metrics.py")
"""

AFTER = """
c.MetricsRecorder.service_url = "http://127.0.0.1:{recorder_port}"
c.Delivery.request_timeout_seconds = 2
c.ConfigurableHTTPProxy.check_running_interval = 1
"""


class KillStack:
    """Runs schedules one after another; ``own_database`` beside the service, not within it.

    ``kills`` counts what was struck. What runs at a schedule's end is stopped in the next one.
    """

    def __init__(self, *, own_database: bool) -> None:
        self.kills: Counter[str] = Counter()
        self._folder = scratch_folder("jhm-kills-")
        self._database = EmbeddedServer(self._folder) if own_database else None
        self._dsn = ""
        api_port, recorder_port = free_port(), free_port()
        environment = {}
        self._links: dict[str, TcpProxy] = {}
        if own_database:
            environment[DSN_VARIABLE] = ""
        self.hub = HubProcess(setup=SETUP, environment=environment)
        self._environment = environment
        self._link("hub_api", ("127.0.0.1", api_port), ("127.0.0.1", self.hub.hub_port))
        service = ("127.0.0.1", self.hub.service_port)
        self._link("recorder", ("127.0.0.1", recorder_port), service)
        if own_database:
            socket = self._folder / ".s.PGSQL.5432"
            self._links["database"] = TcpProxy(socket, self._database_socket)
        (self.hub.folder / "metrics.py").write_text(
            SERVICE_SETTINGS.format(
                api_port=api_port,
                check_seconds=CHECK_SECONDS,
                grace_seconds=GRACE_SECONDS,
                poll_seconds=POLL_SECONDS,
            )
        )
        self.hub.write_config(setup=SETUP, after=AFTER.format(recorder_port=recorder_port))
        self.observer = OutsideObserver(self.hub)

    def _link(self, name: str, address: Address, target: Address) -> None:
        self._links[name] = TcpProxy(address, lambda: target)

    def _database_socket(self) -> Path:
        return self._folder / "postgres" / "socket" / ".s.PGSQL.5432"

    async def start(self) -> None:
        if self._database is not None:
            self._dsn = await self._database.start()
            address = self._dsn.partition("?")[0]
            self._environment[DSN_VARIABLE] = f"{address}?host={self._folder}"
        for link in self._links.values():
            await link.start()
        await self.hub.start()
        self.observer.start()

    async def close(self) -> None:
        async with contextlib.AsyncExitStack() as ending:
            ending.callback(shutil.rmtree, self._folder)
            if self._database is not None:
                ending.push_async_callback(self._database.stop)
            for link in self._links.values():
                ending.push_async_callback(link.close)
            ending.push_async_callback(self.hub.close)
            ending.push_async_callback(self.observer.close)

    async def run(self, schedule: Schedule) -> Verdict:
        """One schedule to its end, and its verdict about all sessions of this Hub so far.

        AssertionError with the schedule, what is wrong and the end of the Hub's log.
        """
        for username in sorted({lane.username for lane in schedule.lanes}):
            await self.observer.add_user(username)
        left = [attempt for attempt in self.observer.attempts if attempt.lives]
        tasks = [
            asyncio.create_task(work, name=f"kill-schedule-{number}")
            for number, work in enumerate(
                (
                    *(self.observer.live(lane) for lane in schedule.lanes),
                    *(self.observer.end(attempt) for attempt in left),
                    *(self._strike(fault) for fault in schedule.faults),
                )
            )
        ]
        try:
            await asyncio.gather(*tasks)
            return await self._settled()
        except AssertionError as error:
            raise AssertionError(f"{schedule}\n{error}\n{self._log()}") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def judge_again(self) -> Verdict:
        """The verdict after more checks have had their say; what is right stays right."""
        await asyncio.sleep(GRACE_SECONDS + 2 * CHECK_SECONDS)
        return await self._settled(0.0)

    async def _rows(self, what: str) -> list[dict[str, Any]]:
        """What is stored; nothing while the database is away."""
        dsn = self._dsn or dsn_of_running(self.hub.data_dir)
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return []
        try:
            rows = await connection.fetch(f"SELECT * FROM {what}")
            return [dict(row) for row in rows if row["hub"] == self.hub.name]
        except asyncpg.PostgresError:
            return []
        finally:
            await connection.close()

    async def _settled(self, seconds: float = SETTLE_SECONDS) -> Verdict:
        """The verdict, once there is nothing to complain of; AssertionError after ``seconds``."""
        verdicts: list[Verdict] = []
        self.observer.read_diaries()
        for attempt in self.observer.attempts:
            if attempt.over_by == float("inf"):
                settled = partial(self.observer.has_settled, attempt)
                await until(settled, f"{attempt} is ready or over", seconds=60)

        async def is_right() -> bool:
            verdicts.append(
                judge(
                    self.observer.attempts,
                    await self._rows("sessions"),
                    self.observer.silence,
                    poll_seconds=POLL_SECONDS,
                    check_seconds=CHECK_SECONDS,
                )
            )
            return not verdicts[-1].violations

        try:
            await until(is_right, "all is as it was seen", seconds=seconds, every_seconds=0.2)
        except AssertionError as error:
            told = await self._rows("events ORDER BY occurred_at, recorded_at")
            suspects = verdicts[-1].suspects
            events = [str(event) for event in told if event["session_id"] in suspects]
            lines = (str(error), *verdicts[-1].violations, *events)
            raise AssertionError("\n".join(lines)) from None
        return verdicts[-1]

    def _log(self) -> str:
        """The end of the Hub's log, without the requests that went well."""
        lines = self.hub.log_tail(4000).splitlines()
        return "\n".join([line for line in lines if " 200 GET " not in line][-150:])

    # -- what strikes --------------------------------------------------------

    async def _strike(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        strikes: dict[str, Callable[[Fault], Any]] = {
            "hub": self._kill_hub,
            "service": self._kill_service,
            "postgres": self._kill_postgres,
            "proxy": self._kill_proxy,
            "network": self._cut_network,
        }
        await strikes[fault.victim](fault)
        self.kills[fault.victim] += 1

    async def _kill_hub(self, fault: Fault) -> None:
        await self.hub.kill()
        await asyncio.sleep(fault.seconds)
        # as systemd or Kubernetes would: again, until it stays up
        for _ in range(3):
            with contextlib.suppress(AssertionError):
                await self.hub.start(service=False)
                return
        raise AssertionError("the Hub does not come back")

    async def _kill_service(self, fault: Fault) -> None:
        """The Hub starts it again."""
        (await self._child("jupyterhub_metrics.service")).kill()

    async def _kill_proxy(self, fault: Fault) -> None:
        """The Hub starts it again."""
        (await self._child("configurable-http-proxy")).kill()

    async def _kill_postgres(self, fault: Fault) -> None:
        """Within the service it is started again by the service, beside it by us."""
        if self._database is None:
            [postmaster] = await self._postmasters()
            postmaster.kill()
            return
        assert self._database.pid is not None
        psutil.Process(self._database.pid).kill()
        await until(lambda: self._database is None or self._database.pid is None, "it is dead")
        await asyncio.sleep(fault.seconds)
        await self._database.stop()

        async def starts() -> bool:
            assert self._database is not None
            with contextlib.suppress(MetricsError):
                # processes of the killed one may still hold its memory for a moment
                self._dsn = await self._database.start()
                return True
            return False

        await until(starts, "PostgreSQL starts again", every_seconds=0.3)

    async def _cut_network(self, fault: Fault) -> None:
        cut = [link for name, link in self._links.items() if name in fault.links]
        for link in cut or self._links.values():
            link.cut(fault.manner)
        await asyncio.sleep(fault.seconds)
        for link in self._links.values():
            link.heal()

    async def _child(self, word: str) -> psutil.Process:
        """The Hub's child with this word in its command, as soon as there is one."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            if self.hub.pid is None:
                return False
            with contextlib.suppress(psutil.NoSuchProcess):
                found[:] = [
                    child
                    for child in psutil.Process(self.hub.pid).children()
                    if any(word in argument for argument in child.cmdline())
                ]
            return bool(found)

        await until(is_there, f"{word} runs", seconds=60)
        return found[0]

    async def _postmasters(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []

        async def is_there() -> bool:
            service = await self._child("jupyterhub_metrics.service")
            with contextlib.suppress(psutil.NoSuchProcess):
                found[:] = [one for one in service.children() if one.name() == "postgres"]
            return bool(found)

        await until(is_there, "PostgreSQL runs", seconds=60)
        return found[:1]
