"""A real user's server in a real Hub shows on its user's page how much memory it uses."""

from __future__ import annotations

import asyncio
import re
import sys

from hub_client import Visitor
from hub_process import STUB, HubProcess, until

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

        def none_is_left() -> bool:
            return not any("--sidecar" in process.cmdline() for process in hub.processes())

        await until(none_is_left, "no sampler is left behind")
    finally:
        await hub.close()
