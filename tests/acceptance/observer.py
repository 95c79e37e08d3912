"""Times every server run from outside the Hub, to judge what the Hub's recorder wrote.

Knows only its own clock, the answers of the Hub's REST API, and the user servers' processes: the
diaries that the stubs write, and ``/proc``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from hub_client import Answer
from hub_process import HubProcess, until

LOOK_SECONDS = 0.02
"""How often the observer looks at a process; its own moments are this blurred."""


@dataclass
class Run:
    """What was seen of one run; moments are ``(not before, not after)`` in epoch seconds."""

    username: str
    server_name: str
    state: str = "running"
    reason: str | None = None
    actor: str | None = None
    exit_status: int | None = None
    started: tuple[float, float] = (0.0, 0.0)
    ready: tuple[float, float] | None = None
    ended: tuple[float, float] | None = None
    killed: bool = False
    pid: int = 0
    alive_at: float = 0.0
    gone_at: float = field(default=float("inf"))


class Observer:
    """Starts and stops servers through the Hub's API, each as one user's own script."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.runs: list[Run] = []
        self.tokens: dict[str, str] = {}
        self._watches: list[asyncio.Task[None]] = []

    async def add_user(self, name: str) -> None:
        self.tokens[name] = await self.hub.client.add_user(name)

    async def start(
        self, username: str, server_name: str = "", *, mode: str = "normal", by: str | None = None
    ) -> Run:
        """Ask for a server; ``by`` is the user who asks, the observer's own service if None."""
        run = Run(username, server_name)
        self.runs.append(run)
        known = set(self.hub.servers.glob("*.json"))
        answer = await self._ask("POST", run, {"mode": mode}, by)
        run.started = (answer.asked_at, answer.answered_at)
        if mode == "raise":
            assert answer.status == 500, answer.text
            run.ended = (answer.asked_at, answer.answered_at)
            return run
        assert answer.status in (201, 202), answer.text
        diary = await self._diary_of(run, known)
        run.pid = int(diary["pid"])
        run.started = (answer.asked_at, float(diary["born_at"]))
        watch = self._watch_process(run)
        self._watches.append(asyncio.create_task(watch, name=f"watch-{username}-{server_name}"))
        return run

    async def start_ready(self, username: str, server_name: str = "", **options: Any) -> Run:
        run = await self.start(username, server_name, **options)
        await self.ready(run)
        return run

    async def ready(self, run: Run) -> None:
        """Wait until the Hub says that it is ready: not before the stub answered."""

        async def is_ready() -> bool:
            model = await self.hub.client.server(run.username, run.server_name)
            return model is not None and bool(model["ready"])

        await until(is_ready, f"{run.username}'s server {run.server_name!r} is ready")
        seen_at = time.time()
        diary = json.loads(self._diary(run).read_text())
        run.ready = (float(diary["answered_at"]), seen_at)

    async def stop(self, run: Run, *, by: str | None = None) -> None:
        """Ask for the end and wait for it: not before the process was last seen alive."""
        await self.ask_to_stop(run, by=by)
        await self.gone(run)

    async def ask_to_stop(self, run: Run, *, by: str | None = None) -> None:
        answer = await self._ask("DELETE", run, None, by)
        assert answer.status in (202, 204), answer.text

    async def gone(self, run: Run) -> None:
        """Wait until the Hub no longer knows the server."""

        async def is_gone() -> bool:
            return await self.hub.client.server(run.username, run.server_name) is None

        await until(is_gone, f"{run.username}'s server {run.server_name!r} is gone", seconds=30)
        seen_at = time.time()
        await until(lambda: run.gone_at < seen_at + 5, "its process is gone")
        run.ended = (run.alive_at, seen_at)

    async def close(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def _ask(self, method: str, run: Run, body: Any, by: str | None) -> Answer:
        user, server = quote(run.username, safe=""), quote(run.server_name, safe="")
        path = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
        return await self.hub.client.request(
            method, path, body, token=self.tokens[by] if by else ""
        )

    async def _diary_of(self, run: Run, known: set[Path]) -> dict[str, Any]:
        """What the run's own process wrote about its birth."""
        found: list[dict[str, Any]] = []

        def is_written() -> bool:
            for path in set(self.hub.servers.glob("*.json")) - known:
                diary = json.loads(path.read_text())
                if (diary["username"], diary["server_name"]) == (run.username, run.server_name):
                    found.append(diary)
            return bool(found)

        await until(is_written, f"{run.username}'s server {run.server_name!r} was born")
        return found[0]

    def _diary(self, run: Run) -> Path:
        [path] = self.hub.servers.glob(f"{run.pid}-*.json")
        return path

    async def _watch_process(self, run: Run) -> None:
        """Look at the process until it is gone; one that nobody waited for yet is gone too."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(run.pid)
            while process.status() != psutil.STATUS_ZOMBIE:
                run.alive_at = time.time()
                await asyncio.sleep(LOOK_SECONDS)
        run.gone_at = time.time()
