"""Watches servers from outside a Hub that is killed again and again.

Knows only its own clock, the answers it got and did not get, and the servers' processes: their
diaries and ``/proc``. Each moment it keeps is a bracket that is true however late it looked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from hub_client import Answer, HubClient
from hub_process import HubProcess, until
from kill_plan import Lane, Life

LOOK_SECONDS = 0.04
HEARTBEAT_SECONDS = 0.1
HEARD_SECONDS = 0.3
"""Answers that far apart are no silence."""

ORPHAN_SECONDS = 3.0
REFUSED = (400, 404, 409, 429)


@dataclass
class Attempt:
    """One request for a server, and the process it led to, if it did.

    Epoch seconds. The process was there at ``alive_at`` and no longer at ``gone_at``; the Hub no
    longer knew the server at ``over_by``.
    """

    username: str
    server_name: str
    mode: str
    asked_at: float
    status: int = 0
    process: psutil.Process | None = None
    born_at: float | None = None
    answered_at: float | None = None
    diary: Path | None = None
    alive_at: float = 0.0
    gone_at: float = float("inf")
    over_by: float = float("inf")
    was_ready: bool = False
    killed: bool = False
    orphaned: bool = False
    stopped_by: set[str] = field(default_factory=set)

    @property
    def refused(self) -> bool:
        return self.status in REFUSED

    @property
    def lives(self) -> bool:
        return self.process is not None and self.gone_at == float("inf")


class OutsideObserver:
    """Plays the users of one Hub and keeps what was seen; ``start`` and ``close`` it."""

    def __init__(self, hub: HubProcess) -> None:
        self.attempts: list[Attempt] = []
        self._hub = hub
        # straight to the Hub, so that a dead proxy does not blind us
        self._client = HubClient(f"http://127.0.0.1:{hub.hub_port}", hub.token)
        self._tokens: dict[str, str] = {}
        self._diaries: set[str] = set()
        self._heard: list[tuple[float, float]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loops: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "watch-processes": self._watch,
            "hear-the-hub": self._hear,
        }
        self._tasks = [asyncio.create_task(loop(), name=name) for name, loop in loops.items()]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._client.close()

    async def add_user(self, username: str) -> None:
        self._tokens[username] = await self._client.add_user(username)

    # -- what a user does ----------------------------------------------------

    async def live(self, lane: Lane) -> None:
        """Everything that is done with one server, in its order."""
        for life in lane.lives:
            await asyncio.sleep(life.pause)
            attempt = await self._start(lane, life)
            if life.fate == "stay":
                return
            await asyncio.sleep(life.length)
            await self.end(attempt, kill=life.fate == "kill", by_service=life.by_service)

    async def end(self, attempt: Attempt, *, kill: bool = False, by_service: bool = False) -> None:
        """End a server, as its user, a service or an accident does; gives back when the Hub knows
        it no longer."""
        if kill:
            await self._kill(attempt)
        else:
            await self._stop(attempt, by_service=by_service)
        await self.over(attempt)

    async def over(self, attempt: Attempt) -> None:
        """Wait until neither the Hub nor ``/proc`` knows the server."""
        answers: list[Answer] = []

        async def is_over() -> bool:
            self.raise_if_blind()
            answers.append(await self._ask("GET", attempt, None))
            model = self._model(attempt, answers[-1])
            if model is not None and model["ready"] and attempt.stopped_by:
                # a Hub that was killed has forgotten that it was to be stopped
                by_service = "stopped_by_service" in attempt.stopped_by
                await self._ask("DELETE", attempt, None, by_service)
            return self._lacks(attempt, answers[-1])

        try:
            await until(is_over, "the Hub ends a server", seconds=90, every_seconds=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}: {attempt}") from None
        attempt.over_by = answers[-1].answered_at
        await self._end_orphan(attempt)

    async def _end_orphan(self, attempt: Attempt) -> None:
        """End a process that lives on though the Hub knows nothing of it."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while attempt.lives and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        if attempt.lives and attempt.process is not None:
            attempt.orphaned = True
            attempt.process.kill()
            await until(lambda: not attempt.lives, "the orphan is gone")

    async def has_settled(self, attempt: Attempt) -> bool:
        """Whether a server that nobody ended is ready, or the Hub has given it up itself."""
        answer = await self._ask("GET", attempt, None)
        if self._lacks(attempt, answer):
            attempt.over_by = answer.answered_at
            await self._end_orphan(attempt)
            return True
        model = self._model(attempt, answer)
        return bool(model and model["ready"] and attempt.lives)

    async def _start(self, lane: Lane, life: Life) -> Attempt:
        """Ask until somebody answers. A request that nobody answered may have been heard."""
        while True:
            attempt = Attempt(lane.username, lane.server_name, life.mode, time.time())
            self.attempts.append(attempt)
            answer = await self._ask("POST", attempt, {"mode": life.mode}, life.by_service)
            attempt.status = answer.status
            if answer.status != 0 and not attempt.refused:
                return attempt
            await until(self._answers, "the Hub answers again", seconds=60)
            shown = await self._ask("GET", attempt, None)
            if answer.status == 0 and self._model(attempt, shown) is not None:
                return attempt
            attempt.over_by = shown.answered_at
            await self._end_orphan(attempt)
            await asyncio.sleep(0.2)

    async def _stop(self, attempt: Attempt, *, by_service: bool) -> None:
        """Ask until somebody answers; a server that is starting may be stopped, too."""
        attempt.stopped_by.add("stopped_by_service" if by_service else "stopped_by_user")
        while (await self._ask("DELETE", attempt, None, by_service)).status == 0:
            await until(self._answers, "the Hub answers again", seconds=60)

    async def _kill(self, attempt: Attempt) -> None:
        """Kill its process, unless it never gets one."""
        answered = False
        while not attempt.process:
            answer = await self._ask("GET", attempt, None)
            if answered and self._lacks(attempt, answer):
                return
            answered = self._lacks(attempt, answer)
            await asyncio.sleep(0.1)
        with contextlib.suppress(psutil.NoSuchProcess):
            attempt.process.kill()
            attempt.killed = True

    async def _ask(
        self, method: str, attempt: Attempt, body: Any, by_service: bool = True
    ) -> Answer:
        user, server = quote(attempt.username, safe=""), quote(attempt.server_name, safe="")
        path = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
        if method == "GET":
            path = f"/users/{user}?include_stopped_servers=0"
        token = "" if by_service else self._tokens[attempt.username]
        answer = await self._client.request(method, path, body, token=token, timeout_seconds=10)
        if method == "GET" and (model := self._model(attempt, answer)):
            self._note_ready(attempt, model)
        return answer

    def _note_ready(self, attempt: Attempt, model: dict[str, Any]) -> None:
        # while the Hub cancels a start, it calls the server ready for a second
        attempt.was_ready |= bool(model["ready"]) and not attempt.stopped_by

    def _model(self, attempt: Attempt, answer: Answer) -> dict[str, Any] | None:
        if answer.status != 200:
            return None
        model: dict[str, Any] | None = answer.json()["servers"].get(attempt.server_name)
        return model

    def _lacks(self, attempt: Attempt, answer: Answer) -> bool:
        return answer.status == 200 and self._model(attempt, answer) is None

    # -- what is seen --------------------------------------------------------

    def silence(self, since: float, until_: float) -> float:
        """Seconds between two moments in which the Hub did not answer."""
        begin = max(0, bisect_right(self._heard, (since, 0.0)) - 1)
        silent = 0.0
        for (asked, _), (_, answered) in zip(
            self._heard[begin:], self._heard[begin + 1 :], strict=False
        ):
            if asked > until_:
                break
            if answered - asked > HEARD_SECONDS:
                silent += max(0.0, min(answered, until_) - max(asked, since))
        return silent

    def read_diaries(self) -> None:
        """What the processes wrote meanwhile."""
        self.raise_if_blind()
        for attempt in self.attempts:
            if attempt.diary is not None and attempt.answered_at is None:
                attempt.answered_at = json.loads(attempt.diary.read_text()).get("answered_at")

    def raise_if_blind(self) -> None:
        """Raises what ended one of the loops that watch."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _answers(self) -> bool:
        url = f"{self._client.url}/hub/health"
        return (await self._client.get(url, token=None, timeout_seconds=2)).status == 200

    async def _hear(self) -> None:
        while True:
            asked_at = time.time()
            if await self._answers():
                self._heard.append((asked_at, time.time()))
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _watch(self) -> None:
        while True:
            self._find_births()
            for attempt in self.attempts[-200:]:
                if attempt.lives:
                    self._look(attempt)
            await asyncio.sleep(LOOK_SECONDS)

    def _find_births(self) -> None:
        """Gives each new process to the last request for its server before it was born."""
        for entry in os.scandir(self._hub.servers):
            if entry.name in self._diaries or not entry.name.endswith(".json"):
                continue
            self._diaries.add(entry.name)
            diary = json.loads(Path(entry.path).read_text())
            attempt = next(
                attempt
                for attempt in reversed(self.attempts)
                if (attempt.username, attempt.server_name)
                == (diary["username"], diary["server_name"])
                and attempt.asked_at <= diary["born_at"]
            )
            assert attempt.born_at is None, f"two processes for {attempt}"
            attempt.diary, attempt.born_at = Path(entry.path), float(diary["born_at"])
            attempt.alive_at = attempt.born_at
            try:
                attempt.process = psutil.Process(int(diary["pid"]))
            except psutil.NoSuchProcess:
                attempt.gone_at = time.time()

    def _look(self, attempt: Attempt) -> None:
        looked_at = time.time()
        assert attempt.process is not None
        try:
            there = attempt.process.is_running()
            dead = there and attempt.process.status() == psutil.STATUS_ZOMBIE
            # its own Hub is told at once; to another it is there until it is reaped
            reaped = not there or (dead and attempt.process.ppid() == self._hub.pid)
        except psutil.NoSuchProcess:
            dead = reaped = True
        if reaped:
            attempt.gone_at = time.time()
        elif not dead:
            attempt.alive_at = looked_at
