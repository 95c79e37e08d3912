"""A real Hub with a simulated past, an operator, a group's owner, and what is true of that past.

Called by the acceptance tests of the API and the pages.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from hub_process import HubProcess
from service_fixtures import event, run_of

from jupyterhub_metrics.demo import history
from jupyterhub_metrics.demo.history import SimulatedSession
from jupyterhub_metrics.model import Event
from jupyterhub_metrics.service.periods import Month
from jupyterhub_metrics.store import dsn_of_running, open_store

UTC = timezone.utc
OWNED = "machine-learning"
OWNER = "olga"
FORMULA = '=HYPERLINK("http://evil.example","x")'
"""What somebody who wants a spreadsheet to run it calls a server."""

ROLES = f"""
c.JupyterHub.load_groups = {{"physics": {{"users": ["mira"]}}}}
c.JupyterHub.load_roles.append({{
    "name": "owner-of-a-group",
    "scopes": ["custom:jupyterhub-metrics:read!group={OWNED}"],
    "users": ["{OWNER}"],
}})
"""


@dataclass
class Truth:
    """What a set of sessions used in a window."""

    seconds: float = 0.0
    gpu_hours: float = 0.0
    core_hours: float = 0.0
    gib_hours: float = 0.0
    starts: int = 0
    failures: int = 0
    users: set[str] = field(default_factory=set)


def truth_of(sessions: Iterable[SimulatedSession], since: datetime, until: datetime) -> Truth:
    """Seconds of sessions that became ready, by what they requested."""
    found = Truth()
    for session in sessions:
        if since <= session.started_at < until:
            found.starts += 1
            found.failures += session.ready_at is None
        begins, ends = max(session.started_at, since), min(session.ended_at, until)
        if session.ready_at is None or ends <= begins:
            continue
        hours = (ends - begins).total_seconds() / 3600
        facts: dict[str, Any] = session.facts
        found.seconds += hours * 3600
        found.gpu_hours += hours * facts.get("gpus", 0)
        found.core_hours += hours * facts["cpu_guarantee_cores"]
        found.gib_hours += hours * facts["memory_guarantee_bytes"] / 2**30
        found.users.add(session.username)
    return found


class UsageHub:
    """The Hub's process, the past that it was told, and the months that tests look at."""

    def __init__(self) -> None:
        self.hub = HubProcess(before=ROLES)
        self.now = datetime.now(UTC)
        self.month = Month.at(self.now, "UTC")
        self.since = self.month.previous.since - timedelta(days=3)
        self.until = self.now - timedelta(minutes=5)
        self.past = list(history.history(seed=5, user_count=10, since=self.since, until=self.until))

    def start(self) -> None:
        """Starts the Hub and tells its service the past; blocks."""
        apart(self._start())

    def close(self) -> None:
        apart(self.hub.close())

    def of_user(self, username: str) -> list[SimulatedSession]:
        return [session for session in self.past if session.username == username]

    def of_group(self, group: str) -> list[SimulatedSession]:
        return [session for session in self.past if group in session.facts["groups"]]  # type: ignore[operator]

    def by(self, fact: str) -> dict[str, list[SimulatedSession]]:
        found: dict[str, list[SimulatedSession]] = defaultdict(list)
        for session in self.past:
            found[str(session.facts[fact])].append(session)
        return found

    async def _start(self) -> None:
        await self.hub.start()
        events = [told for session in self.past for told in history.events(self.hub.name, session)]
        events += unseen_end(self.hub.name, self.month.previous.previous.since + timedelta(days=2))
        # someone who is not of the past, so that sums of the past stay true for everyone else
        running = {"image": "quay.io/jupyter/scipy-notebook:2026-11", "profile": "large"}
        events += run_of(
            self.hub.name,
            self.now - timedelta(minutes=50),
            None,
            username="runa",
            server_name="live",
            facts={**running, "display_name": FORMULA},
        )
        for at in range(0, len(events), 900):
            await self.hub.post_events(events[at : at + 900])
        await self._tell_groups()
        self.hub.client.close()

    async def _tell_groups(self) -> None:
        dsn = dsn_of_running(self.hub.data_dir)
        assert dsn is not None
        members = history.groups(seed=5, user_count=10)
        store = await open_store(dsn, migrate="never")
        await store.add_memberships(self.hub.name, members, self.since, self.until)
        await store.close()


def unseen_end(hub: str, started_at: datetime) -> list[Event]:
    """A session of the user unda, before all others, whose end nobody saw, in an hour."""
    of_session = {"username": "unda", "started_at": started_at}
    after = started_at + timedelta(hours=2)
    end = {"occurred_at": after, "not_before": after, "not_after": after + timedelta(hours=1)}
    stopped = event(hub, "stopped", source="hub_start", reason="died", **end, **of_session)
    return [*run_of(hub, started_at, None, username="unda"), stopped]


def apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run ``work`` in a loop of its own; Playwright keeps this thread's loop running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
