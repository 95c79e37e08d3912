"""Real servers in a real Hub show on their users' pages how much memory they use."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from hub_client import Visitor
from hub_process import STUB, HubProcess, until
from real_cgroups import RealGroup
from sampler_process import command, flags_of

from jupyterhub_metrics.dsn import DSN_VARIABLE

SAMPLED = f"""
c.Spawner.cmd = [
    *({sys.executable!r}, "-m", "jupyterhub_metrics.cli", "sample", "--sidecar"),
    *("--interval", "0.5", "--", {sys.executable!r}, "-S", "-E", {str(STUB)!r}),
]
c.MetricsRecorder.samples_url = "service"
c.Spawner.mem_limit = "8G"
"""


async def test_a_running_server_shows_its_memory_on_its_users_page() -> None:
    hub = HubProcess(before=SAMPLED)
    try:
        await hub.start()
        token = await hub.client.add_user("ada")
        asked = await hub.client.request("POST", "/users/ada/server", token=token)
        assert asked.status in (201, 202), asked.text
        visitor = Visitor(hub.url)
        await asyncio.to_thread(visitor.log_in, "ada", hub.password)

        async def shown() -> str:
            return (await asyncio.to_thread(visitor.open, f"{hub.service_url}/")).text

        async def is_shown() -> bool:
            return "never used more than" in await shown()

        await until(is_shown, "the page tells of the server's memory", seconds=40)
        text = " ".join(re.sub("<[^>]+>", " ", await shown()).split())
        assert re.search(r"asked for 8\.0 GiB, never used more than [0-9.]+ MiB", text), text
        assert re.search(r"Used [0-9.]+ cores, [0-9.]+ MiB, at most [0-9.]+ MiB", text), text
        # and it ends with its server
        stopped = await hub.client.request("DELETE", "/users/ada/server", token=token)
        assert stopped.status in (202, 204), stopped.text

        await until(lambda: not hub.running("--sidecar"), "no sampler is left behind")
    finally:
        await hub.close()


# As SystemdSpawner, whose servers are units of systemd and whose state tells their names.
UNITS = """
import os
from jupyterhub.spawner import SimpleLocalProcessSpawner

class UnitSpawner(SimpleLocalProcessSpawner):
    @property
    def unit_name(self):
        return f"jupyter-{{self.user.name}}-singleuser"

    def make_preexec_fn(self, name):
        def join():
            for folder in {folders!r}:
                place = f"{{folder}}/{{self.unit_name}}.service"
                os.makedirs(place, exist_ok=True)
                with open(f"{{place}}/cgroup.procs", "w") as processes:
                    processes.write(str(os.getpid()))
        return join

c.JupyterHub.spawner_class = UnitSpawner
c.Spawner.mem_limit = "8G"
"""


@contextmanager
def slice_of_units() -> Iterator[RealGroup]:
    """A control group below which others may be made."""
    with RealGroup() as group:
        try:
            yield group
        finally:
            for folder in {*group.folders.values()}:
                for unit in folder.glob("*.service"):
                    RealGroup(f"{group.path}/{unit.name}").__exit__()


@pytest.mark.needs("cgroups")
async def test_a_sampler_on_the_host_finds_the_sessions_of_units(postgres_dsn: str) -> None:
    with slice_of_units() as slice_:
        folders = sorted(str(folder) for folder in {*slice_.folders.values()})
        hub = HubProcess(
            before=UNITS.format(folders=folders), environment={DSN_VARIABLE: postgres_dsn}
        )
        where, password = flags_of(postgres_dsn)
        connection = await asyncpg.connect(postgres_dsn)
        try:
            await hub.start()
            for name in ("ada", "bob"):
                token = await hub.client.add_user(name)
                asked = await hub.client.request("POST", f"/users/{name}/server", token=token)
                assert asked.status in (201, 202), asked.text
            folder = Path(folders[0])
            await until(lambda: len([*folder.glob("*.service")]) == 2, "both have their group")
            sampler = command(
                *where, "--interval", "0.5", "--container", f"{slice_.path}/jupyter-*.service",
                password=password,
            )  # fmt: skip

            async def measured() -> dict[str, asyncpg.Record]:
                rows = await connection.fetch("SELECT * FROM session_resources")
                return {row["username"]: row for row in rows}

            async def both_are() -> bool:
                return set(await measured()) == {"ada", "bob"}

            try:
                # samples are written every 5 s
                await until(both_are, "both are measured", seconds=40, every_seconds=0.2)
            finally:
                sampler.terminate()
                _, said = sampler.communicate(timeout=30)
            assert sampler.returncode == 0, said
            row = (await measured())["ada"]
            assert (row["source"], row["memory_limit_bytes"]) == ("node", 8 * 2**30)
            assert 2**20 < row["memory_peak_bytes"] < 2**30
            visitor = Visitor(hub.url)
            await asyncio.to_thread(visitor.log_in, "ada", hub.password)
            page = (await asyncio.to_thread(visitor.open, f"{hub.service_url}/")).text
            assert "never used more than" in page
        finally:
            await connection.close()
            await hub.close()
