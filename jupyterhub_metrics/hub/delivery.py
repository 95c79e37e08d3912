"""Delivers the outbox to the service, in the background, in order, until it is acknowledged.

Started by the recorder on the Hub's event loop. The Hub never waits for it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from traitlets import Float, Instance, Integer, Unicode
from traitlets.config import LoggingConfigurable

from .outbox import Outbox, Waiting


class _Round(Enum):
    IDLE = "nothing waits"
    DELIVERED = "something was delivered or set aside"
    FAILED = "the service did not take it"


class Delivery(LoggingConfigurable):
    """The background task and its settings."""

    batch_events = Integer(
        100, min=1, max=1000, help="Events in one request at most. The service takes up to 1000."
    ).tag(config=True)
    idle_seconds = Float(
        10.0,
        min=0.01,
        help="Seconds between two looks at the outbox when nothing new wakes the task.",
    ).tag(config=True)
    first_backoff_seconds = Float(
        0.5, min=0.01, help="Seconds to wait after a first failure; doubled at each further one."
    ).tag(config=True)
    longest_backoff_seconds = Float(
        60.0, min=0.01, help="Seconds to wait at most between two tries."
    ).tag(config=True)
    request_timeout_seconds = Float(
        30.0, min=0.1, help="Seconds until a request to the service counts as failed."
    ).tag(config=True)

    outbox = Instance(Outbox)
    hub_name = Unicode()
    events_url = Unicode()
    token_file = Instance(Path)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delivered_events = 0
        self.faults = 0
        self._limit = self.batch_events
        self._failures = 0
        self._complaint: str | None = None
        self._new = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._since_checkpoint = 0
        self._random: Callable[[], float] = random.random

    def start(self) -> None:
        self._task = asyncio.create_task(self._deliver_for_ever(), name="metrics-delivery")

    def wake(self) -> None:
        """Something was added to the outbox."""
        self._new.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _deliver_for_ever(self) -> None:
        client = AsyncHTTPClient(force_instance=True)
        try:
            while True:
                try:
                    outcome = await self._round(client)
                except Exception:
                    self.faults += 1
                    self.log.exception("A round of delivery failed; the next one tries again")
                    outcome = _Round.FAILED
                await self._pause(outcome)
        finally:
            client.close()

    async def _pause(self, outcome: _Round) -> None:
        if outcome is _Round.DELIVERED:
            self._failures = 0
            return
        if outcome is _Round.FAILED:
            self._failures += 1
            await asyncio.sleep(self.backoff_seconds(self._failures))
            return
        self._failures = 0
        if self._since_checkpoint:
            self._since_checkpoint = 0
            await asyncio.to_thread(self.outbox.checkpoint)
        # Not wait_for: before Python 3.12 it loses a cancellation that meets its result.
        alarm = asyncio.get_running_loop().call_later(self.idle_seconds, self._new.set)
        try:
            await self._new.wait()
        finally:
            alarm.cancel()

    def backoff_seconds(self, failures: int) -> float:
        """Seconds before the next try: doubled each time, bounded, half of it at random."""
        exponent = min(failures - 1, 30)
        full = float(min(self.longest_backoff_seconds, self.first_backoff_seconds * 2**exponent))
        return full / 2 + full / 2 * self._random()

    async def _round(self, client: AsyncHTTPClient) -> _Round:
        self._new.clear()
        self.outbox.save()
        waiting = self.outbox.waiting(self._limit)
        if not waiting:
            return _Round.IDLE
        try:
            request = self._request(waiting)
        except OSError as error:
            return self._failed(f"found {error}; expected the secret that setup(c) writes")
        try:
            response = await client.fetch(request, raise_error=False)
        except (HTTPClientError, OSError) as error:
            return self._failed(f"found {error}; expected the metrics service to answer")
        return self._answered(waiting, response)

    def _request(self, waiting: list[Waiting]) -> HTTPRequest:
        events = ",".join(item.body for item in waiting)
        return HTTPRequest(
            self.events_url,
            method="POST",
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.token_file.read_text().strip()}",
            },
            body=f'{{"hub":{json.dumps(self.hub_name)},"events":[{events}]}}'.encode(),
            request_timeout=self.request_timeout_seconds,
            connect_timeout=self.request_timeout_seconds,
            follow_redirects=False,
        )

    def _answered(self, waiting: list[Waiting], response: HTTPResponse) -> _Round:
        if response.code == 200:
            self._accepted(waiting, json.loads(response.body))
            return _Round.DELIVERED
        if response.code in (400, 413):
            if len(waiting) == 1:
                self._refused(waiting[0], _error_text(response))
                return _Round.DELIVERED
            # Halve until the one that is refused stands alone.
            self._limit = len(waiting) // 2
            return _Round.DELIVERED
        if response.code == 599:
            return self._failed(f"found {response.error}; expected the metrics service to answer")
        return self._failed(f"found HTTP {response.code} ({_error_text(response)}); expected 200")

    def _accepted(self, waiting: list[Waiting], answer: dict[str, Any]) -> None:
        refused = {item["index"]: item for item in answer.get("rejected", ())}
        for index, item in refused.items():
            self._refused(waiting[index], f"{item.get('field')}: {item.get('message')}")
        self.outbox.acknowledge([w for i, w in enumerate(waiting) if i not in refused])
        self.delivered_events += len(waiting) - len(refused)
        self._since_checkpoint += len(waiting)
        self._limit = min(self.batch_events, max(self._limit * 2, 1))
        if self._complaint is not None:
            self._complaint = None
            self.log.info("Delivery to %s goes on", self.events_url)

    def _refused(self, item: Waiting, message: str) -> None:
        self.log.error(
            "An event was refused: %s; it is kept in the table set_aside of %s for a person to "
            "look at",
            message[:300],
            self.outbox.path,
        )
        self.outbox.set_aside(item, message)

    def _failed(self, complaint: str) -> _Round:
        if self._complaint is None:
            self.log.warning(
                "Delivery to %s waits: %s; events are kept in %s and delivered later",
                self.events_url,
                complaint,
                self.outbox.path,
            )
        self._complaint = complaint
        return _Round.FAILED


def _error_text(response: HTTPResponse) -> str:
    """The service's own one-line error, or the HTTP reason."""
    try:
        answer = json.loads(response.body or b"")
        return str(answer["error"])[:300]
    except (ValueError, KeyError, TypeError):
        return str(response.reason)[:100]
