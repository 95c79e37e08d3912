"""The service of a schedule: real checks, real reading of batches, a real store that can go away.

Between Hub and service stands a network that loses, repeats, holds back and reorders.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scheduled_hub import ScheduledHub
from tornado.httpclient import HTTPRequest

from jupyterhub_metrics.errors import DatabaseUnavailable
from jupyterhub_metrics.hub.delivery import Delivery
from jupyterhub_metrics.service.batch import read_batch
from jupyterhub_metrics.sources.hubapi import HubApi
from jupyterhub_metrics.store import Store

FAULTS = ("forbidden", "broken", "html", "half_a_page", "half_a_list", "no_scope", "silent")
"""What a Hub's REST API does that is no answer."""


class TroubledDatabase:
    """The store, as the checker and the handlers ask for it.

    After ``calls`` more calls it is away, until it is brought back. The call that fails may have
    been committed before its answer was lost.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls_left: int | None = None
        self._commits = False

    def goes_away(self, calls: int, *, commits: bool) -> None:
        self._calls_left, self._commits = calls, commits

    def comes_back(self) -> None:
        self._calls_left = None

    def store(self) -> Any:
        if self._calls_left is not None and self._calls_left < 0:
            raise DatabaseUnavailable("the database is away")
        return self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        async def call(*args: Any) -> Any:
            if self._calls_left is None:
                return await method(*args)
            self._calls_left -= 1
            if self._calls_left >= 0:
                return await method(*args)
            if self._calls_left == -1 and self._commits:
                await method(*args)
            raise DatabaseUnavailable("the database is away")

        return call


class ScheduledHubApi(HubApi):
    """The real client and its parsing, over answers that a schedule makes."""

    def __init__(self, hub: ScheduledHub, clock: Callable[[], Any]) -> None:
        super().__init__("http://hub/hub/api", "token", clock=clock)
        self._scheduled = hub
        self.fault: str | None = None

    async def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        if not self._scheduled.up or self.fault == "silent":
            raise self._silent(path, None)
        items = self._scheduled.users() if path == "/users" else []
        if self.fault == "no_scope":
            items = [{"name": "ada"}]
        page = {"offset": 0, "limit": 200, "total": len(items)}
        body: Any = {"items": items, "_pagination": page}
        if self.fault == "half_a_list":
            body["items"], page["total"] = items[:-1], max(1, len(items))
        if self.fault == "forbidden":
            return self._answer(403, json.dumps({"message": "not with this scope"}))
        if self.fault == "broken":
            return self._answer(500, json.dumps({"message": "Internal Server Error"}))
        if self.fault == "html":
            return self._answer(200, "<html>sign in</html>")
        text = json.dumps(body)
        return self._answer(200, text[: len(text) // 2] if self.fault == "half_a_page" else text)

    def _answer(self, code: int, body: str) -> Any:
        return SimpleNamespace(code=code, body=body.encode(), headers={})


class Network:
    """What the Hub's delivery posts to, in place of a connection."""

    def __init__(self, hub_name: str, database: TroubledDatabase) -> None:
        self.way = "works"
        self.shuffle = random.Random(0)
        self._hub_name = hub_name
        self._database = database
        self._held: list[bytes] = []

    async def fetch(self, request: HTTPRequest, raise_error: bool) -> Any:
        assert not raise_error
        body = self._reordered(request.body)
        if self.way == "loses the request":
            raise ConnectionResetError("cut")
        if self.way in ("holds it back", "repeats it later"):
            self._held.append(body)
        if self.way == "holds it back":
            raise ConnectionResetError("cut")
        answer = await self._ingest(body)
        if self.way == "loses the answer":
            raise ConnectionResetError("cut")
        return answer

    async def deliver_held(self) -> None:
        """What was on its way arrives, the latest first."""
        while self._held:
            await self._ingest(self._held.pop())

    def _reordered(self, body: bytes) -> bytes:
        batch = json.loads(body)
        self.shuffle.shuffle(batch["events"])
        return json.dumps(batch).encode()

    async def _ingest(self, body: bytes) -> Any:
        batch = read_batch(body, self._hub_name)
        assert not batch.rejected
        try:
            result = await self._database.store().ingest(batch.events)
        except DatabaseUnavailable as error:
            return SimpleNamespace(
                code=503, body=json.dumps({"error": str(error)}).encode(), reason="", error=None
            )
        answer = {"received": batch.received, "new": result.new, "rejected": []}
        return SimpleNamespace(code=200, body=json.dumps(answer).encode(), error=None)


def delivery_of(hub: ScheduledHub, token_file: Path) -> Delivery:
    """The real delivery of the Hub's present recorder, moved round by round."""
    assert hub.recorder is not None
    return Delivery(
        parent=hub.recorder,
        outbox=hub.recorder.outbox,
        hub_name=hub.name,
        events_url="http://service/events",
        token_file=token_file,
    )
