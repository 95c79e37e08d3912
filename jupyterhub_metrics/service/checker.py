"""Checks at every interval that what the Hub told is still true, and puts right what is not.

Called by ``service.server``. Asks the Hub and the cluster, compares (``sources.drift``), stores
the corrections, and writes down what runs. A source that does not answer ends no session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Final, Protocol

from ..errors import DatabaseUnavailable, SourceUnavailable
from ..sources.drift import Findings, Memory, Rules, diff
from ..sources.world import HubView, PodView
from ..store import CheckedSession, Store
from .database import Database
from .measuring import measured_activity, new_statements, observations, people_of_pods
from .metrics import Metrics

log = logging.getLogger(__name__)

FIRST_CHECK_SECONDS: Final = 10.0
"""The first check is soon after the start, when most has been missed."""

DATABASE_RETRY_SECONDS: Final = 5.0
MAX_EVENTS: Final = 1000
"""Corrections that are stored in one transaction."""

LONG_AGO: Final = datetime.min.replace(tzinfo=timezone.utc)

RECENT: Final = timedelta(hours=1)
"""How long after a concluded end a record of the cluster may still replace it."""


class HubSource(Protocol):
    """The Hub's REST API."""

    async def view(self) -> HubView:
        """All servers and groups now. Raises SourceUnavailable."""

    def close(self) -> None:
        """Ends its connections."""


class PodSource(Protocol):
    """The watched pods."""

    def start(self) -> None:
        """Begins to watch, in the background."""

    async def stop(self) -> None:
        """Ends the watch."""

    def view(self) -> PodView | None:
        """The pods as last known; None until they were. What has gone is told again and again
        until it is acknowledged."""

    def acknowledge(self, view: PodView) -> None:
        """What this view said has gone was taken note of."""

    @property
    def complaint(self) -> str | None:
        """What is missing, in one line; None while all is well."""


class Checker:
    """One Hub's checks. ``open``, ``run`` once, as a task, and ``close`` after it was cancelled."""

    def __init__(
        self,
        hub_name: str,
        database: Database,
        metrics: Metrics,
        hub: HubSource,
        pods: PodSource | None = None,
        *,
        interval: timedelta,
        rules: Rules,
        clock: Callable[[], datetime],
    ) -> None:
        self._hub_name = hub_name
        self._database = database
        self._metrics = metrics
        self._hub = hub
        self._pods = pods
        self._interval = interval
        self._rules = rules
        self._clock = clock
        self._memory = Memory()
        self._pods_fresh_at = LONG_AGO
        self._groups: Mapping[str, frozenset[str]] | None = None
        self._people: dict[str, dict[str, str | None]] = {}
        self._complaints: dict[str, str] = {}
        self._unrecorded = 0
        metrics.watch_source("hub_api", clock)
        if pods is not None:
            metrics.watch_source("pods", clock)

    def open(self) -> None:
        """Begins to watch the pods, so that what happens before the first check is seen."""
        if self._pods is not None:
            self._pods.start()

    async def run(self) -> None:
        """Checks for ever; what fails is tried again at the next interval."""
        interval = self._interval.total_seconds()
        await asyncio.sleep(min(FIRST_CHECK_SECONDS, interval))
        while True:
            pause = interval
            try:
                await self.check()
            except DatabaseUnavailable as error:
                self._database.lost(error)
                pause = min(DATABASE_RETRY_SECONDS, interval)
            except Exception:
                self._metrics.task_errors.labels("checker").inc()
                log.exception("A check failed for a reason this code does not know")
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Ends the sources' connections."""
        self._hub.close()
        if self._pods is not None:
            await self._pods.stop()

    async def check(self) -> Findings | None:
        """One check; None if no source answered. Raises DatabaseUnavailable."""
        store = self._database.store()
        hub, pods = await self._ask_hub(), self._ask_pods()
        self._memory = self._memory.remembering(pods)
        if hub is None and pods is None:
            return None
        now = self._clock()
        with self._metrics.check_duration.time():
            sessions = await self._sessions(store, hub, now)
            findings = diff(
                self._hub_name,
                sessions,
                hub,
                pods,
                self._memory,
                rules=self._rules,
                pods_expected=self._pods is not None,
            )
            self._memory = findings.memory
            await self._keep(store, sessions, findings, hub, pods, now)
        if self._pods is not None and pods is not None:
            self._pods.acknowledge(pods)
        self._report(findings)
        return findings

    async def _ask_hub(self) -> HubView | None:
        try:
            view = await self._hub.view()
        except SourceUnavailable as error:
            self._failed("hub_api", str(error))
            return None
        self._answered("hub_api", view.answered_at)
        return view

    def _ask_pods(self) -> PodView | None:
        if self._pods is None:
            return None
        view = self._pods.view()
        if view is None or view.fresh_at <= self._pods_fresh_at:
            # what was known before is no news, and must not count as a second look
            self._failed("pods", self._pods.complaint or "the pods were not listed since")
            return None
        self._pods_fresh_at = view.fresh_at
        self._answered("pods", view.fresh_at)
        return view

    def _failed(self, source: str, complaint: str) -> None:
        self._metrics.source_failures.labels(source).inc()
        if self._complaints.get(source) != complaint:
            log.warning("Sessions stay as they were: %s", complaint)
        self._complaints[source] = complaint

    def _answered(self, source: str, at: datetime) -> None:
        self._metrics.source_answered(source, at)
        if self._complaints.pop(source, None) is not None:
            log.info("The source %s answers again", source)

    async def _sessions(
        self, store: Store, hub: HubView | None, now: datetime
    ) -> list[CheckedSession]:
        shown = [
            (server.username, server.server_name, server.started_at)
            for server in (hub.servers.values() if hub else ())
            if server.started_at is not None
        ]
        return await store.sessions_to_check(self._hub_name, shown, now - RECENT)

    async def _keep(
        self,
        store: Store,
        sessions: list[CheckedSession],
        findings: Findings,
        hub: HubView | None,
        pods: PodView | None,
        now: datetime,
    ) -> None:
        events = findings.corrections
        for begin in range(0, len(events), MAX_EVENTS):
            batch = events[begin : begin + MAX_EVENTS]
            result = await store.ingest(batch)
            self._metrics.corrected(batch, result.new_ids)
            for refusal in result.refused:
                log.error("A correction was refused: %s", refusal.error)
        asked_at = hub.asked_at if hub else None
        await store.record_activity(measured_activity(sessions, findings, asked_at, self._interval))
        await store.record_observations(
            self._hub_name, now, observations(sessions, findings, pods, now)
        )
        told = people_of_pods(pods)
        await store.record_people(new_statements(self._hub_name, told, self._people, now))
        self._people.update(told)
        if hub is not None and hub.groups is not None and hub.groups != self._groups:
            await store.record_memberships(self._hub_name, hub.groups, hub.asked_at)
            self._groups = hub.groups

    def _report(self, findings: Findings) -> None:
        for event in findings.corrections:
            log.info(
                "Corrected %s/%s, started %s: %s%s, by %s",
                event.username,
                event.server_name,
                event.started_at,
                event.kind,
                f" ({event.reason})" if event.reason else "",
                event.source,
            )
        self._metrics.drift_found(findings.counts)
        unrecorded = findings.unrecorded
        self._metrics.unrecorded_sessions.set(unrecorded)
        if unrecorded and not self._unrecorded:
            log.warning(
                "Found %d running servers that only polls of the Hub can see; expected the Hub's "
                "recorder to tell of each; call jupyterhub_metrics.hub.setup(c) last in "
                "jupyterhub_config.py, start the Hub again, and see in its log whether events are "
                "delivered",
                unrecorded,
            )
        elif self._unrecorded and not unrecorded:
            log.info("The Hub's recorder tells of every running server")
        self._unrecorded = unrecorded
