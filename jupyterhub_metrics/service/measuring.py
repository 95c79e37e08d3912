"""What a check writes down beside corrections: activity and observations. Pure.

Called by :mod:`.checker`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Final

from ..image import parse_image
from ..sources.drift import Findings
from ..sources.world import HubServer, Pod, PodView
from ..store import Activity, CheckedSession, Observation, Statement

EARLIEST: Final = datetime.min.replace(tzinfo=timezone.utc)


def measured_activity(
    sessions: Sequence[CheckedSession],
    findings: Findings,
    asked_at: datetime | None,
    interval: timedelta,
) -> list[Activity]:
    """The activity of every open session that some view vouched for, up to this check.

    ``asked_at`` is when the Hub was asked, None if it did not answer.
    """
    measured = []
    for session in sessions:
        server = findings.server_of.get(session.id)
        seen_at = findings.seen.get(session.id)
        if not session.open or (server is None and seen_at is None):
            continue
        kept = _kept(session, seen_at)
        if server is not None and asked_at is not None and asked_at > kept.polled_at:
            kept = accumulated(kept, server, asked_at, interval)
        measured.append(kept)
    return measured


def _kept(session: CheckedSession, seen_at: datetime | None) -> Activity:
    return Activity(
        session_id=session.id,
        seen_at=max(filter(None, (seen_at, session.seen_at)), default=None),
        polled_at=session.polled_at or session.started_at,
        active_seconds=session.active_seconds or 0.0,
        last_activity_at=session.last_activity_at,
        resolution_seconds=session.resolution_seconds or 0.0,
    )


def accumulated(
    before: Activity, server: HubServer, asked_at: datetime, interval: timedelta
) -> Activity:
    """With the activity between two checks: if there was any, up to the last of it.

    A gap longer than ``interval``, in which nobody asked, counts as at most one interval.
    """
    gap = asked_at - before.polled_at
    known = before.last_activity_at
    after = replace(
        before,
        polled_at=asked_at,
        resolution_seconds=max(before.resolution_seconds, gap.total_seconds()),
    )
    last = server.last_activity_at
    if last is None or (known is not None and last <= known):
        return after
    last = min(last, asked_at)
    stretch = min(last - before.polled_at, interval)
    return replace(
        after,
        last_activity_at=last,
        active_seconds=before.active_seconds + max(0.0, stretch.total_seconds()),
    )


def observations(
    sessions: Sequence[CheckedSession], findings: Findings, pods: PodView | None, now: datetime
) -> list[Observation]:
    """One row for each pod that runs, and for each running server that has none here.

    A pod without the annotations of its user is left out: nobody can be named for it.
    """
    session_of = {pod.uid: session_id for session_id, pod in findings.pod_of.items()}
    seen = []
    for pod in pods.pods.values() if pods else ():
        if pod.username is None or pod.finished or pod.phase != "Running":
            continue
        base, version = _base_and_version(pod.image)
        seen.append(
            Observation(
                namespace=pod.namespace,
                pod_name=pod.name,
                session_id=session_of.get(pod.uid),
                user_email=pod.email or pod.username,
                user_name=pod.full_name or pod.username,
                node_name=pod.node,
                container_image=pod.image,
                container_base=base,
                container_version=version,
                age_seconds=_age(pod, now),
            )
        )
    for session in sessions:
        server = findings.server_of.get(session.id)
        if server is None or not server.ready or session.id in findings.pod_of:
            continue
        named = session.namespace is not None and session.pod_name is not None
        base, version = _base_and_version(session.image)
        seen.append(
            Observation(
                namespace=session.namespace if named else None,
                pod_name=session.pod_name if named else None,
                session_id=session.id,
                user_email=session.username,
                user_name=session.username,
                node_name=session.node,
                container_image=session.image,
                container_base=base,
                container_version=version,
                age_seconds=max(0.0, (now - session.started_at).total_seconds()),
            )
        )
    return seen


def people_of_pods(pods: PodView | None) -> dict[str, dict[str, str | None]]:
    """What pods say of their users, by the user's name; users of whom none says anything are
    absent. Of two pods of one user that disagree the later one counts."""
    found: dict[str, dict[str, str | None]] = {}
    for pod in sorted(pods.pods.values() if pods else (), key=_made_at):
        fields = {"email": pod.email, "full_name": pod.full_name}
        told = {name: value for name, value in fields.items() if value is not None}
        if pod.username is not None and told:
            found.setdefault(pod.username, {}).update(told)
    return found


def _made_at(pod: Pod) -> tuple[datetime, str]:
    return pod.created_at or pod.running_since or EARLIEST, pod.name


def new_statements(
    hub: str,
    told: Mapping[str, Mapping[str, str | None]],
    before: Mapping[str, Mapping[str, str | None]],
    now: datetime,
) -> list[Statement]:
    """What pods say now and did not say ``before``."""
    return [
        Statement(hub, username, "pod", now, fields)
        for username, fields in told.items()
        if before.get(username) != fields
    ]


def _age(pod: Pod, now: datetime) -> float | None:
    since = pod.created_at or pod.running_since
    return None if since is None else max(0.0, (now - since).total_seconds())


def _base_and_version(image: str | None) -> tuple[str | None, str | None]:
    """The last part of the image's name, and its tag; the digest where it has no tag."""
    if image is None:
        return None, None
    reference = parse_image(image)
    return (reference.name or image).rpartition("/")[2], reference.tag or reference.digest
