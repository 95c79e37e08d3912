"""What runs and no event told of: renamed users, unannounced servers, orphaned pods. Pure.

Called by :mod:`.drift`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from ..model import Event, session_id
from ..store.checks import CheckedSession
from .comparison import RESOLUTION, Comparison, alive_at, place_of
from .world import HubServer, HubView

CLOCK_TOLERANCE: Final = timedelta(seconds=2)


def rename(found: Comparison, hub: HubView, session: CheckedSession, server: HubServer) -> None:
    """The session's server goes on under the user's new name."""
    found.counts["renamed"] += 1
    facts = {"username": server.username}
    found.add(session, "renamed", "hub_api", alive_at(session), hub.answered_at, facts)


def unannounced(found: Comparison, hub: HubView) -> list[HubServer]:
    """Servers that no event told of, though it has had time to; each gets a session."""
    late = [
        server
        for server in found.matched.unannounced
        if server.started_at is not None
        and server.started_at + found.rules.grace <= hub.asked_at
        and server.pending != "stop"
    ]
    for server in late:
        _announce(found, hub, server)
    found.counts["unannounced"] += len(late)
    return late


def _announce(found: Comparison, hub: HubView, server: HubServer) -> None:
    if (started_at := server.started_at) is None:
        return
    pods = found.matched.pods_of_unannounced.get((server.username, server.server_name), ())
    pod = next((pod for pod in pods if found.lives(pod)), None)
    facts = place_of(pod) if pod else {}
    answered_at = max(hub.answered_at, started_at + RESOLUTION)
    found.corrections.append(
        Event(
            kind="ready" if server.ready else "corrected",
            hub=found.hub_name,
            username=server.username,
            server_name=server.server_name,
            session_id=session_id(found.hub_name, server.username, server.server_name, started_at),
            started_at=started_at,
            occurred_at=answered_at,
            not_before=started_at,
            not_after=answered_at,
            source="hub_api",
            facts=facts if server.ready else {**facts, "corrects": "existence"},
        )
    )


def orphans(found: Comparison, hub: HubView) -> int:
    """How many pods run that neither a session nor the Hub knows. They are on nobody's bill."""
    if found.pods is None:
        return 0
    oldest = min(found.pods.fresh_at, hub.asked_at) - found.rules.grace
    return sum(
        found.lives(pod) and (pod.created_at is None or pod.created_at <= oldest)
        for pod in found.matched.unclaimed_pods
    )


def clock_disagreements(found: Comparison) -> int:
    """How many clocks and moments cannot be reconciled with ours."""
    count = 0
    if found.hub is not None:
        count += abs(found.hub.clock_ahead_seconds) > CLOCK_TOLERANCE.total_seconds()
        latest = found.hub.answered_at + CLOCK_TOLERANCE
        count += sum((one.started_at or latest) > latest for one in found.hub.servers.values())
    if found.pods is not None:
        latest = found.pods.fresh_at + CLOCK_TOLERANCE
        count += sum(
            (pod.created_at or latest) > latest
            or (pod.running_since or latest) > latest
            or (pod.finished_at or latest) > latest
            for pod in found.pods.pods.values()
        )
    return count
