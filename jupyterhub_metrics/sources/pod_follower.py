"""Follows the pods of one namespace: a list in pages, then a watch from its version, for ever.

A task of ``sources.pods``. What fails is tried again with backoff and jitter: a watch from the
last version that was read, and with a new list where that version is gone or the watch fails
again and again. The state changes only by answers that were read to their end.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

import aiohttp

from .cluster import Cluster, ClusterTrouble, one_line, remedy
from .kube_answers import WatchEvent, read_event, read_page
from .pod_json import PodFields, SeenPod, UnreadableAnswer
from .pod_ledger import PodLedger, Seen

log = logging.getLogger(__name__)

GONE: Final = 410
FAILURES_BEFORE_LIST: Final = 3
"""Failures one after another, with nothing read, before everything is listed again."""

SHORT_WATCH_SECONDS: Final = 1.0
MAX_PAGE_BYTES: Final = 256 * 2**20
MAX_LINE_BYTES: Final = 16 * 2**20
"""An object in Kubernetes has at most about 1.5 MiB."""

DRY_SECONDS: Final = 0.05
"""A stream that has brought nothing for this long has brought all that had piled up."""


@dataclass(frozen=True)
class FollowSettings:
    """What to ask for and how patiently; see the traits of ``PodSource``."""

    label_selector: str
    fields: PodFields
    page_size: int
    watch_seconds: int
    silence_seconds: float
    request_timeout_seconds: float
    first_backoff_seconds: float
    longest_backoff_seconds: float


class PodFollower:
    """One namespace's task and state; ``namespace`` None is the one that the address implies."""

    def __init__(
        self,
        namespace: str | None,
        connect: Callable[[], Awaitable[Cluster]],
        settings: FollowSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self.namespace = namespace
        self.ledger = PodLedger()
        self.complaint: str | None = None
        self.lists = 0
        self.faults = 0
        self._connect = connect
        self._settings = settings
        self._clock = clock
        self._cluster: Cluster | None = None
        self._version: str | None = None
        self._failures = 0
        self._unreadable: frozenset[str] = frozenset()

    async def follow(self) -> None:
        """Runs until it is cancelled."""
        try:
            while True:
                delay = 0.0
                try:
                    await self._round()
                except ClusterTrouble as trouble:
                    delay = await self._failed(str(trouble), trouble)
                except UnreadableAnswer as trouble:
                    where = self._cluster.host if self._cluster else "the API server"
                    delay = await self._failed(
                        f"found {trouble} at {where}; expected the pods of the namespace "
                        f"{self.namespace!r}; {remedy(None)}"
                    )
                except Exception:
                    self.faults += 1
                    log.exception("Following pods failed for a reason this code does not know")
                    delay = await self._failed("following pods failed; the service's log says why")
                await asyncio.sleep(delay)
        finally:
            await self._disconnect()

    async def _round(self) -> None:
        if self._cluster is None:
            self._cluster = await self._connect()
            self.namespace = self.namespace or self._cluster.default_namespace
        if self._version is None:
            await self._list(self._cluster)
        await self._watch(self._cluster)

    async def _list(self, cluster: Cluster) -> None:
        asked_at = self._clock()
        answered_at: datetime | None = None
        version = ""
        pods: list[SeenPod] = []
        parameters = {**self._selector(), "limit": str(self._settings.page_size)}
        while True:
            body = await self._read_body(cluster, parameters)
            page = read_page(body, self._settings.fields)
            if answered_at is None:
                # all further pages are of the first one's version
                answered_at, version = self._clock(), page.version
            pods += page.pods
            if page.next_page is None:
                break
            parameters["continue"] = page.next_page
        self.ledger.replace(Seen(pods, asked_at, answered_at))
        self._note_unreadable(pods)
        self._version = version
        self.lists += 1
        log.debug("Listed %d pods of %s at version %s", len(pods), self.namespace, version)

    async def _read_body(self, cluster: Cluster, parameters: dict[str, str]) -> bytearray:
        body = bytearray()
        timeout = aiohttp.ClientTimeout(total=self._settings.request_timeout_seconds)
        task = f"to list pods in the namespace {self.namespace!r}"
        async with cluster.get(self._path(), parameters, timeout, task=task) as content:
            async for chunk in content.iter_any():
                body += chunk
                if len(body) > MAX_PAGE_BYTES:
                    raise UnreadableAnswer(f"a page of more than {MAX_PAGE_BYTES} bytes")
        return body

    async def _watch(self, cluster: Cluster) -> None:
        loop = asyncio.get_running_loop()
        began, progress = loop.time(), False
        parameters = {
            **self._selector(),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            # several watchers must not all come back at the same moment
            "timeoutSeconds": str(round(self._settings.watch_seconds * random.uniform(1, 1.5))),  # noqa: S311
        }
        timeout = aiohttp.ClientTimeout(
            connect=self._settings.request_timeout_seconds,
            sock_connect=self._settings.request_timeout_seconds,
            sock_read=self._settings.silence_seconds,
        )
        task = f"to watch pods in the namespace {self.namespace!r}"
        settled: asyncio.TimerHandle | None = None
        try:
            async with cluster.get(self._path(), parameters, timeout, task=task) as content:
                settled = loop.call_later(SHORT_WATCH_SECONDS, self._recovered)
                async with aclosing(self._lines(content)) as lines:
                    async for line in lines:
                        self._apply(read_event(line, self._settings.fields), self._clock())
                        if not progress:
                            progress = True
                            self._recovered()
        finally:
            if settled is not None:
                settled.cancel()
        if not progress and loop.time() - began < SHORT_WATCH_SECONDS:
            raise ClusterTrouble(
                f"found a watch of {cluster.host} that ended at once; expected {task}; "
                f"{remedy(None)}"
            )

    async def _lines(self, content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
        """Whole lines; half a line at the end is dropped. Raises UnreadableAnswer for an endless
        one. Notes the moments at which all that had come was read."""
        loop = asyncio.get_running_loop()
        rest = bytearray()
        dry: asyncio.TimerHandle | None = None
        while True:
            try:
                chunk = await content.readany()
            finally:
                if dry is not None:
                    dry.cancel()
            if not chunk:
                return
            head, newline, tail = chunk.rpartition(b"\n")
            rest += head
            if newline:
                for line in bytes(rest).split(b"\n"):
                    if line.strip():
                        yield line
                rest = bytearray(tail)
            else:
                rest += tail
            if len(rest) > MAX_LINE_BYTES:
                raise UnreadableAnswer(f"a line of more than {MAX_LINE_BYTES} bytes")
            dry = loop.call_later(DRY_SECONDS, self.ledger.in_step.ran_dry, self._clock())

    def _apply(self, event: WatchEvent, at: datetime) -> None:
        if event.failure is not None:
            said = one_line(event.failure.message or event.failure.reason or "no reason")
            raise ClusterTrouble(
                f"found a watch that broke off ({said}); expected to watch pods in the namespace "
                f"{self.namespace!r}; {remedy(event.failure.code)}",
                code=event.failure.code,
            )
        if event.seen is not None:
            if event.kind == "DELETED":
                self.ledger.remove(event.seen, at)
            else:
                self.ledger.put(event.seen, at)
            if not event.seen.whole:
                self._note_unreadable([event.seen])
        self._version = event.version

    def _recovered(self) -> None:
        self._failures = 0
        if self.complaint is not None:
            log.info("Following the pods of %s goes on", self.namespace)
        self.complaint = None

    async def _failed(self, complaint: str, trouble: ClusterTrouble | None = None) -> float:
        """Notes a failure; the seconds until the next try."""
        self._failures += 1
        code = trouble.code if trouble is not None else None
        if code == GONE or self._failures % FAILURES_BEFORE_LIST == 0:
            # what is known stays until the new list is complete
            self._version = None
        if self._failures == 1 and self.lists and code not in (401, 403):
            # in the ordinary course of things
            log.debug("%s", complaint)
        else:
            if complaint != self.complaint:
                log.warning("%s", complaint)
            self.complaint = complaint
        if code != GONE:
            # credentials and the address may be other ones by now
            await self._disconnect()
        settings = self._settings
        full: float = min(
            settings.longest_backoff_seconds,
            settings.first_backoff_seconds * 2 ** min(self._failures - 1, 30),
        )
        jittered = full * random.uniform(0.5, 1.0)  # noqa: S311
        return max(jittered, trouble.retry_after_seconds if trouble is not None else 0.0)

    async def _disconnect(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await cluster.close()

    def _note_unreadable(self, pods: list[SeenPod]) -> None:
        unreadable = frozenset(item.pod.uid for item in pods if not item.whole)
        if unreadable - self._unreadable:
            names = sorted(item.pod.name for item in pods if not item.whole)
            log.warning(
                "found %d pods in %s of which only the name can be read (%s); expected pods as "
                "Kubernetes describes them; they are followed by name only",
                len(names),
                self.namespace,
                one_line(", ".join(names[:5])),
            )
        self._unreadable |= unreadable

    def _path(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace or '', safe='')}/pods"

    def _selector(self) -> dict[str, str]:
        selector = self._settings.label_selector
        return {"labelSelector": selector} if selector else {}
