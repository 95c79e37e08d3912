"""Delivers the outbox to the service, in the background, in order, until it is acknowledged.

Started by the recorder on the Hub's event loop. The Hub never waits for it.
"""

from __future__ import annotations

import asyncio
import json
import random
from enum import Enum
from pathlib import Path
from time import monotonic
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from traitlets import Callable, Float, Instance, Integer, Unicode
from traitlets.config import LoggingConfigurable

from .._tasks import end
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
    heartbeat_seconds = Float(
        60.0,
        min=0.0,
        help="""Seconds without a post after which the service is told that the recorder is there,
        so that its silence means something. 0: never.""",
    ).tag(config=True)
    request_timeout_seconds = Float(
        30.0, min=0.1, help="Seconds until a request to the service counts as failed."
    ).tag(config=True)

    outbox = Instance(Outbox)
    hub_name = Unicode()
    events_url = Unicode()
    token_file = Instance(Path)
    recorder_faults = Callable(lambda: 0)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delivered_events = 0
        self.faults = 0
        self._limit = self.batch_events
        self._failures = 0
        self._complaint: str | None = None
        self._new = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._random = random.random
        self._monotonic = monotonic
        self._heard_at = self._monotonic()

    def start(self) -> None:
        self._task = asyncio.create_task(self._deliver_for_ever(), name="metrics-delivery")

    def wake(self) -> None:
        """Something was added to the outbox."""
        self._new.set()

    async def stop(self) -> None:
        """End the task; what it has not delivered waits in the outbox."""
        if self._task is not None:
            await end([self._task])
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
        if self.outbox.checkpoint_is_due():
            await asyncio.to_thread(self.outbox.checkpoint)
            if self.outbox.log_is_long():
                # Writes that came meanwhile keep the log from beginning anew. What is left to
                # move is little, and nobody writes while the loop does it.
                self.outbox.checkpoint()
        if outcome is _Round.FAILED:
            self._failures += 1
            await asyncio.sleep(self.backoff_seconds(self._failures))
            return
        self._failures = 0
        if outcome is _Round.DELIVERED:
            return
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
        if not waiting and not self._heartbeat_is_due():
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

    def _heartbeat_is_due(self) -> bool:
        since = self._monotonic() - self._heard_at
        return bool(0 < self.heartbeat_seconds <= since)

    def _request(self, waiting: list[Waiting]) -> HTTPRequest:
        events = ",".join(item.body for item in waiting)
        head = f'"hub":{json.dumps(self.hub_name)},"recorder":{json.dumps(self.status())}'
        return HTTPRequest(
            self.events_url,
            method="POST",
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.token_file.read_text().strip()}",
            },
            body=f'{{{head},"events":[{events}]}}'.encode(),
            request_timeout=self.request_timeout_seconds,
            connect_timeout=self.request_timeout_seconds,
            follow_redirects=False,
        )

    def status(self) -> dict[str, float]:
        """The recorder's own health, which travels with each batch; see ``docs/events.md``."""
        depth = self.outbox.depth()
        return {
            "outbox_events": depth.events,
            "outbox_oldest_seconds": depth.oldest_seconds or 0.0,
            "lost_events": depth.lost,
            "set_aside_events": depth.set_aside,
            "faults": self.faults + self.recorder_faults(),
        }

    def _answered(self, waiting: list[Waiting], response: HTTPResponse) -> _Round:
        answer = _object_in(response)
        if response.code == 200:
            refused = _refused_in(answer, len(waiting))
            if refused is None:
                return self._failed(
                    "found a 200 that is not the metrics service's; another "
                    "program answers there; expected the service"
                )
            self._heard_at = self._monotonic()
            return self._accepted(waiting, refused)
        if response.code == 400 and not waiting:
            # a service from before heartbeats wants at least one event
            self._heard_at = self._monotonic()
            return _Round.IDLE
        error = answer.get("error")
        if response.code in (400, 413) and isinstance(error, str) and "field" in answer:
            if len(waiting) == 1:
                return self._put_aside({0: error[:300]}, waiting)
            # Halve until the one that is refused stands alone.
            self._limit = len(waiting) // 2
            return _Round.DELIVERED
        told = str(error or response.reason)[:300]
        return self._failed(f"found HTTP {response.code} ({told}); expected 200")

    def _accepted(self, waiting: list[Waiting], refused: dict[int, str]) -> _Round:
        self.outbox.acknowledge([item for i, item in enumerate(waiting) if i not in refused])
        self.delivered_events += len(waiting) - len(refused)
        self._limit = min(self.batch_events, max(self._limit * 2, 1))
        if self._complaint is not None:
            self._complaint = None
            self.log.info("Delivery to %s goes on", self.events_url)
        return self._put_aside(refused, waiting)

    def _put_aside(self, refused: dict[int, str], waiting: list[Waiting]) -> _Round:
        for index, message in refused.items():
            if not self.outbox.set_aside(waiting[index], message):
                return self._failed(
                    f"found an event that the service refuses ({message}) and no disk to keep it "
                    "aside; expected a writable outbox"
                )
            self.log.error(
                "An event was refused: %s; it is kept in the table set_aside of %s for a person "
                "to look at",
                message,
                self.outbox.path,
            )
        return _Round.DELIVERED

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


def _object_in(response: HTTPResponse) -> dict[str, Any]:
    """The JSON object in a response; empty if there is none."""
    try:
        found = json.loads(response.body or b"")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refused_in(receipt: dict[str, Any], sent: int) -> dict[int, str] | None:
    """What a receipt says was refused, by index; None if it is no receipt for ``sent`` events."""
    rejected = receipt.get("rejected")
    if receipt.get("received") != sent or not isinstance(rejected, list):
        return None
    refused = {}
    for item in rejected:
        index = item.get("index") if isinstance(item, dict) else None
        if not isinstance(index, int) or not 0 <= index < sent:
            return None
        refused[index] = f"{item.get('field')}: {item.get('message')}"[:300]
    return refused
