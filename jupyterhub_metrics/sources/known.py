"""Compares sessions that events told of with what the Hub and the cluster show. Pure.

Called by :mod:`.drift`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from ..store.checks import CheckedSession
from .comparison import Absence, Comparison, alive_at, place_of
from .endings import container_end, ending, reason_without_record
from .world import HubServer, HubView, Pod, PodView

VIEWS_TO_BE_MISSED: Final = 2
"""Complete views in a row that must lack a server before its session is ended for that."""

CONCLUDED: Final = ("hub_api", "pods", "container", "hub_start")
"""Sources of ends that nobody saw happen."""


def check_open(found: Comparison, session: CheckedSession) -> None:
    """A session that has not ended by what events say."""
    server = found.matched.server_of.get(session.id)
    living, dead = found.pods_of(session)
    if living is not None and found.pods is not None and found.is_surely_of(living, session):
        found.vouch(session, found.pods.fresh_at)
        found.pod_of[session.id] = living
        found.owner_of[living.uid] = session.id
        found.pod_seen_at[session.id] = found.pods.fresh_at
        _check_place(found, found.pods, session, living)
    elif session.id in found.before.pod_seen_at:
        found.pod_seen_at[session.id] = found.before.pod_seen_at[session.id]
    if server is not None and found.hub is not None:
        _check_shown(found, found.hub, session, server, living, dead)
    elif living is not None:
        found.counts["outlived"] += found.hub is not None and found.is_old(
            session, found.hub.asked_at
        )
    elif found.hub is not None:
        _check_not_shown(found, found.hub, session, dead)
    elif found.pods is not None:
        _check_without_hub(found, found.pods, session, dead)
    else:
        found.waiting.add(session.id)


def _check_shown(
    found: Comparison,
    hub: HubView,
    session: CheckedSession,
    server: HubServer,
    living: Pod | None,
    dead: Pod | None,
) -> None:
    """The Hub shows it, so it is not ended here, whatever its pod says."""
    if dead is not None and dead.uid not in found.gone:
        found.counts["pod_finished"] += 1
    elif dead is not None or (
        found.pods is not None and living is None and session.id in found.before.pod_seen_at
    ):
        found.counts["pod_gone"] += 1
    elif server.pending == "spawn":
        found.vouch(session, hub.asked_at)
    elif server.ready or server.pending == "stop":
        found.vouch(session, hub.asked_at - found.rules.hub_poll)
    if session.state == "starting" and server.ready and found.is_old(session, hub.asked_at):
        found.add(session, "ready", "hub_api", alive_at(session), hub.answered_at, {})


def _check_not_shown(
    found: Comparison, hub: HubView, session: CheckedSession, dead: Pod | None
) -> None:
    known_after = hub.asked_at > alive_at(session)
    if (session.username, session.server_name) in found.matched.vague or not known_after:
        found.waiting.add(session.id)
        return
    # it counts at once, so that the end is known as narrowly as it was seen
    absence = Absence.after(found.before.lacked_by_hub.get(session.id), hub.answered_at)
    found.lacked_by_hub[session.id] = absence
    if not found.is_old(session, hub.asked_at):
        found.waiting.add(session.id)
        return
    if session.stop_failed and dead is None:
        # the Hub has forgotten it, and the recorder polls it until it is gone
        found.counts["outlived"] += 1
        return
    found.counts["missing"] += 1
    if dead is not None:
        _end_by_pod(found, session, dead)
        return
    # what only polls saw may be a pod though none was seen
    may_be_pod = found.pods_expected and (session.pod_name is not None or not session.recorded)
    if absence.views < VIEWS_TO_BE_MISSED or (may_be_pod and found.pods is None):
        found.waiting.add(session.id)
        return
    _end(found, session, "hub_api", alive_at(session), absence.gone_by)


def _check_without_hub(
    found: Comparison, pods: PodView, session: CheckedSession, dead: Pod | None
) -> None:
    """The Hub says nothing: only what the cluster has seen with its own eyes counts."""
    if not found.is_old(session, pods.fresh_at):
        found.waiting.add(session.id)
        return
    if dead is not None:
        _end_by_pod(found, session, dead)
        return
    seen_at = found.before.pod_seen_at.get(session.id)
    if seen_at is None:
        found.waiting.add(session.id)
        return
    absence = Absence.after(found.before.lacked_by_cluster.get(session.id), pods.fresh_at)
    found.lacked_by_cluster[session.id] = absence
    if absence.views < VIEWS_TO_BE_MISSED:
        found.waiting.add(session.id)
        return
    _end(found, session, "pods", max(seen_at, alive_at(session)), absence.gone_by)


def _end_by_pod(found: Comparison, session: CheckedSession, pod: Pod) -> None:
    """Ends it by what the cluster knows of its pod, which has finished or gone."""
    gone = found.gone.get(pod.uid)
    before = found.before.lacked_by_cluster.get(session.id)
    by = gone.gone_before if gone else _fresh_at(found, session)
    record = container_end(pod, session.started_at, by)
    if record is not None:
        found.corrections.append(
            ending(
                session,
                "container",
                record.finished_at,
                record.finished_at,
                record.reason,
                exit_status=record.exit_status,
                facts=_memory_of(pod),
            )
        )
    elif gone is not None and not pod.finished:
        # it ran as long as it was there
        after = max(gone.gone_after, alive_at(session))
        _end(found, session, "pods", after, gone.gone_before, pod)
    else:
        absence = Absence.after(before, by)
        found.lacked_by_cluster[session.id] = absence
        _end(found, session, "pods", alive_at(session), absence.gone_by, pod)


def _end(
    found: Comparison,
    session: CheckedSession,
    source: str,
    after: datetime,
    before: datetime,
    pod: Pod | None = None,
) -> None:
    """Ends it in the narrowest interval: a new start of the same server ends the old one."""
    before = max(min(before, found.next_start.get(session.id, before)), session.started_at)
    found.corrections.append(
        ending(session, source, min(after, before), before, reason_without_record(pod))
    )


def _check_place(found: Comparison, pods: PodView, session: CheckedSession, pod: Pod) -> None:
    """A pod that is elsewhere than events say, or about whose place they said nothing."""
    if pod.node is None or pod.node == session.node:
        return
    found.counts["pod_moved"] += session.node is not None
    at = pod.running_since or pod.created_at or pods.fresh_at
    found.add(session, "corrected", "pods", at, at, {"corrects": "node", **place_of(pod)})


def check_ended(found: Comparison, session: CheckedSession) -> None:
    """A session that has ended, by an end that perhaps was only concluded."""
    claimed = session.ended_before
    if claimed is None:
        return
    server = found.matched.server_of.get(session.id)
    living, dead = found.pods_of(session)
    alive: list[tuple[datetime, str]] = []
    if server is not None and server.ready and found.hub is not None:
        alive.append((found.hub.asked_at - found.rules.hub_poll, "hub_api"))
    if living is not None and found.pods is not None and found.is_surely_of(living, session):
        alive.append((found.pods.fresh_at, "pods"))
    at, source = max(alive, default=(claimed, ""))
    if at > claimed + found.rules.grace:
        found.counts["ended_but_running" if server is not None else "outlived"] += 1
        if session.end_source in CONCLUDED:
            found.add(session, "corrected", source, at, at, {"corrects": "alive"})
    elif session.ended_after != claimed and not (dead and _refine(found, session, dead)):
        _narrow(found, session, claimed)


def _refine(found: Comparison, session: CheckedSession, pod: Pod) -> bool:
    """The container's own record of an end that was only known to lie in an interval, if any."""
    gone = found.gone.get(pod.uid)
    by = gone.gone_before if gone else _fresh_at(found, session)
    record = container_end(pod, session.started_at, by)
    if record is None:
        return False
    # who asked for it says more than how the process took it
    asked = (session.end_reason or "").startswith(("stopped_by_", "hub_shutdown"))
    found.corrections.append(
        ending(
            session,
            "container",
            record.finished_at,
            record.finished_at,
            session.end_reason if asked else record.reason,
            actor=session.ended_by if asked else None,
            exit_status=record.exit_status,
            facts=_memory_of(pod),
        )
    )
    return True


def _narrow(found: Comparison, session: CheckedSession, claimed: datetime) -> None:
    """An earlier check saw it later than whoever told of its end, as after a lost outbox.

    Only what was seen after it had become ready counts: it may have died while it was routed.
    """
    after = session.seen_at
    if after is None or (session.alive_at is not None and after <= session.alive_at):
        return
    # a poll of the living Hub knows better than its API, which lags behind its polls
    if session.end_source != "hub_start" or session.ended_after is None:
        return
    if not session.ended_after < after < claimed:
        return
    # the Hub's API called it ready, which its recorder knows that it never was
    if session.state == "failed" and session.shown_ready:
        return
    found.corrections.append(
        ending(
            session,
            "hub_api",
            after,
            claimed,
            session.end_reason,
            actor=session.ended_by,
            exit_status=session.exit_status,
        )
    )


def _fresh_at(found: Comparison, session: CheckedSession) -> datetime:
    """When the cluster was last known; a pod that has not gone is of a view that is there."""
    return found.pods.fresh_at if found.pods else alive_at(session)


def _memory_of(pod: Pod) -> dict[str, int]:
    limit = pod.memory_limit_bytes
    return {} if limit is None else {"memory_limit_bytes": limit}
