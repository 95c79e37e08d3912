"""How a session ended, from what the cluster knows of its pod. Pure; called by :mod:`.known`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from ..model import Event
from ..store.checks import CheckedSession
from .world import Pod

RECORD_TOLERANCE: Final = timedelta(seconds=2)
"""A node's clock may differ from ours by so much and its record still be believed."""

_POD_REASONS: Final[Mapping[str, str]] = {
    "Evicted": "evicted",
    "DeadlineExceeded": "deadline_exceeded",
    "NodeLost": "node_lost",
    "NodeShutdown": "node_lost",
    "Shutdown": "node_lost",
    "Terminated": "node_lost",
    "Preempting": "preempted",
    "Preempted": "preempted",
    "PreemptionByScheduler": "preempted",
    "EvictionByEvictionAPI": "evicted",
    "TerminationByKubelet": "evicted",
    "DeletionByTaintManager": "node_lost",
    "DeletionByPodGC": "node_lost",
}
"""``status.reason`` of a pod or of its DisruptionTarget; where it is there, it says why. See
https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions."""

_CONTAINER_REASONS: Final[Mapping[str, str]] = {
    "Completed": "completed",
    "Error": "error",
    "OOMKilled": "oom_killed",
    "DeadlineExceeded": "deadline_exceeded",
    "Evicted": "evicted",
}
"""``state.terminated.reason`` of a container."""


@dataclass(frozen=True)
class ContainerEnd:
    finished_at: datetime
    reason: str
    exit_status: int | None


def container_end(pod: Pod, started_at: datetime, gone_by: datetime) -> ContainerEnd | None:
    """The container's own record of its end; None if there is none, or an absurd one.

    A record before the session began or after the pod was seen without it cannot be true.
    """
    finished_at, exit_status = pod.finished_at, pod.exit_status
    reason = reason_of(pod.finish_reason, pod.status_reason, exit_status)
    if finished_at is None and pod.running_since is None:
        # it waited to be started again, and never was
        finished_at, exit_status = pod.last_finished_at, pod.last_exit_status
        reason = reason_of(pod.last_finish_reason, None, exit_status)
    if finished_at is None:
        return None
    begun = max(started_at, pod.running_since or started_at)
    if not begun - RECORD_TOLERANCE <= finished_at <= gone_by + RECORD_TOLERANCE:
        return None
    return ContainerEnd(max(finished_at, started_at), reason, exit_status)


def reason_of(finish_reason: str | None, status_reason: str | None, exit_status: int | None) -> str:
    """Why a container ended, by its own and its pod's word: one of ``CONTAINER_REASONS``."""
    if finish_reason == "OOMKilled":
        return "oom_killed"
    known = _POD_REASONS.get(status_reason or "") or _CONTAINER_REASONS.get(finish_reason or "")
    if known is not None:
        return known
    return "completed" if exit_status == 0 else "error"


def reason_without_record(pod: Pod | None) -> str:
    """Why it ended, where no container's record tells: what the pod says, or that nobody saw."""
    return _POD_REASONS.get((pod.status_reason if pod else None) or "", "unseen")


def ending(
    session: CheckedSession,
    source: str,
    after: datetime,
    before: datetime,
    reason: str | None,
    *,
    actor: str | None = None,
    exit_status: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Event:
    """The event that ends a session: of one that never became ready, its start has failed.

    The best estimate is the beginning of the interval: time that nobody saw is not charged.
    """
    never_ready = session.state in ("starting", "failed")
    return Event(
        kind="failed" if never_ready else "corrected",
        hub=session.hub,
        username=session.original_username,
        server_name=session.server_name,
        session_id=session.id,
        started_at=session.started_at,
        occurred_at=after,
        not_before=after,
        not_after=before,
        source=source,
        reason=reason,
        actor=actor,
        exit_status=exit_status,
        facts=facts or {},
    )
