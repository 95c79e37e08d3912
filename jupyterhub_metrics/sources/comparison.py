"""One comparison of events, Hub and cluster under way: what it is given and what it has found.

Called by :mod:`.drift`, whose parts each add what they find. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from ..model import Event
from ..store.checks import CheckedSession
from .matching import START_TOLERANCE, had_begun, match
from .world import GonePod, HubServer, HubView, Pod, PodView

GONE_PODS_KEPT: Final = timedelta(hours=1)
RESOLUTION: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Rules:
    """How patient a comparison is.

    ``grace``: events may be that long on their way from the Hub. ``hub_poll``: the Hub may call
    a server running that long after it died (its ``Spawner.poll_interval``).
    """

    grace: timedelta = timedelta(seconds=120)
    hub_poll: timedelta = timedelta(seconds=30)


DEFAULT_RULES: Final = Rules()


@dataclass(frozen=True)
class Absence:
    """``gone_by`` is the end of the first view that lacked it, ``views`` how many did since."""

    gone_by: datetime
    views: int

    @staticmethod
    def after(before: Absence | None, answered_at: datetime) -> Absence:
        """With one more view that lacked it."""
        if before is None:
            return Absence(answered_at, 1)
        return Absence(min(before.gone_by, answered_at), before.views + 1)


@dataclass(frozen=True)
class Memory:
    """What one comparison leaves for the next; a new one has none.

    ``owner_of`` says of a pod, by its uid, whose it was once seen to be: it stays that session's.
    """

    lacked_by_hub: Mapping[UUID, Absence] = field(default_factory=dict)
    lacked_by_cluster: Mapping[UUID, Absence] = field(default_factory=dict)
    pod_seen_at: Mapping[UUID, datetime] = field(default_factory=dict)
    owner_of: Mapping[str, UUID] = field(default_factory=dict)
    gone: tuple[GonePod, ...] = ()

    def remembering(self, pods: PodView | None) -> Memory:
        """With the pods that have gone, which a view tells only once."""
        if pods is None:
            return self
        oldest = pods.fresh_at - GONE_PODS_KEPT
        kept = {gone.pod.uid: gone for gone in self.gone if gone.gone_before >= oldest}
        kept.update((gone.pod.uid, gone) for gone in pods.gone)
        # a pod that is there has not gone, whatever was once said of it
        for pod in pods.pods.values():
            kept.pop(pod.uid, None)
        return replace(self, gone=tuple(kept.values()))


class Comparison:
    """The three views side by side, and what was found so far."""

    def __init__(
        self,
        hub_name: str,
        sessions: Sequence[CheckedSession],
        hub: HubView | None,
        pods: PodView | None,
        memory: Memory,
        rules: Rules,
        *,
        pods_expected: bool,
    ) -> None:
        self.hub_name = hub_name
        self.sessions = sessions
        self.hub = hub
        self.pods = pods
        self.before = memory.remembering(pods)
        self.rules = rules
        self.pods_expected = pods_expected or pods is not None
        self.gone = {gone.pod.uid: gone for gone in self.before.gone}
        self.matched = match(
            sessions,
            hub.servers.values() if hub else (),
            [
                *(pods.pods.values() if pods else ()),
                *(gone.pod for gone in self.gone.values()),
            ],
        )
        self._give_pods_to_what_the_hub_shows()
        self.next_start = _next_starts(sessions, self.matched.unannounced)
        self.counts: Counter[str] = Counter()
        self.corrections: list[Event] = []
        self.waiting: set[UUID] = set()
        self.seen: dict[UUID, datetime] = {}
        self.pod_of: dict[UUID, Pod] = {}
        self.lacked_by_hub: dict[UUID, Absence] = {}
        self.lacked_by_cluster: dict[UUID, Absence] = {}
        self.pod_seen_at: dict[UUID, datetime] = {}
        self.owner_of: dict[str, UUID] = {}

    def _give_pods_to_what_the_hub_shows(self) -> None:
        """A pod that its date alone gives to one session is of the one that the Hub shows instead.

        A clock that was set back dates the later start before the earlier one.
        """
        matched = self.matched
        dated = matched.pods_of.keys() - matched.server_of.keys()
        if not dated:
            return
        shown = {
            (one.username, one.server_name): one
            for one in self.sessions
            if one.id in matched.server_of
        }
        for session in self.sessions:
            if session.id not in dated:
                continue
            other = shown.get((session.username, session.server_name))
            if other is None:
                continue
            for pod in list(matched.pods_of[session.id]):
                if had_begun(other, pod) and not self.is_surely_of(pod, session):
                    matched.pods_of[session.id].remove(pod)
                    matched.pods_of[other.id].append(pod)

    def memory(self) -> Memory:
        """A source that did not answer leaves what was known of its views as it was."""
        before = self.before
        return Memory(
            lacked_by_hub=self.lacked_by_hub if self.hub else before.lacked_by_hub,
            lacked_by_cluster=self.lacked_by_cluster if self.pods else before.lacked_by_cluster,
            pod_seen_at=self.pod_seen_at,
            owner_of=self._owners(),
            gone=tuple(self.gone.values()),
        )

    def _owners(self) -> dict[str, UUID]:
        """Whose the pods are that are still to be heard of."""
        owners = {**self.before.owner_of, **self.owner_of}
        if self.pods is None:
            return owners
        there = {pod.uid for pod in self.pods.pods.values()}
        return {uid: owner for uid, owner in owners.items() if uid in there or uid in self.gone}

    def pods_of(self, session: CheckedSession) -> tuple[Pod | None, Pod | None]:
        """Its pod that is there and not finished; if there is none, the last one that was.

        The first may be that of a later start which nobody has told of; the second is its own.
        """
        pods = self.matched.pods_of.get(session.id)
        if not pods:
            return None, None
        living = [pod for pod in pods if self.lives(pod)]
        if living:
            return (living[0] if len(living) == 1 else max(living, key=_age_order)), None
        own = [pod for pod in pods if self.is_surely_of(pod, session)]
        return None, max(own, key=_age_order, default=None)

    def is_surely_of(self, pod: Pod, session: CheckedSession) -> bool:
        """Whether no later start can have made the pod: the session was still there when it was
        made, or the Hub shows it now, or this was known before."""
        if session.id in self.matched.server_of:
            return True
        if self.before.owner_of.get(pod.uid) == session.id:
            return True
        lived_until = max(alive_at(session), session.ended_after or session.started_at)
        return pod.created_at is not None and pod.created_at <= lived_until

    def lives(self, pod: Pod) -> bool:
        return not pod.finished and pod.uid not in self.gone

    def is_old(self, session: CheckedSession, asked_at: datetime) -> bool:
        """Whether all its events have had time to arrive before the question was asked."""
        latest = session.started_at
        if session.last_event_at is not None and session.last_event_at > latest:
            latest = session.last_event_at
        return latest + self.rules.grace <= asked_at

    def vouch(self, session: CheckedSession, at: datetime) -> None:
        """Some view says that it ran at this moment."""
        if at < session.started_at:
            return
        known = self.seen.get(session.id)
        if known is None or known < at:
            self.seen[session.id] = at

    def add(
        self,
        session: CheckedSession,
        kind: str,
        source: str,
        after: datetime,
        before: datetime,
        facts: Mapping[str, Any],
    ) -> None:
        """An event that is no end; it lies in ``[after, before]``."""
        if kind in ("ready", "renamed"):
            # an interval, however short: a poll never sees the moment itself
            after = min(after, before - RESOLUTION)
        self.corrections.append(
            Event(
                kind=kind,
                hub=session.hub,
                username=session.original_username,
                server_name=session.server_name,
                session_id=session.id,
                started_at=session.started_at,
                occurred_at=before,
                not_before=min(after, before),
                not_after=before,
                source=source,
                facts=facts,
            )
        )


def alive_at(session: CheckedSession) -> datetime:
    """The last moment at which an event or an earlier check says that it was there."""
    at = session.started_at
    if session.alive_at is not None and session.alive_at > at:
        at = session.alive_at
    if session.seen_at is not None and session.seen_at > at:
        at = session.seen_at
    return at


def place_of(pod: Pod) -> dict[str, Any]:
    """The facts that a pod tells of its session."""
    place = {
        "node": pod.node,
        "image": pod.image,
        "memory_limit_bytes": pod.memory_limit_bytes,
        "namespace": pod.namespace,
        "pod_name": pod.name,
    }
    return {name: value for name, value in place.items() if value is not None}


def _next_starts(
    sessions: Sequence[CheckedSession], unannounced: Sequence[HubServer]
) -> dict[UUID, datetime]:
    """When the same server was started again, by the session before: it had ended by then."""
    starts: dict[tuple[str, str], list[datetime]] = {}
    for known in sessions:
        starts.setdefault((known.username, known.server_name), []).append(known.started_at)
    for server in unannounced:
        if server.started_at is not None:
            key = (server.username, server.server_name)
            starts.setdefault(key, []).append(server.started_at)
    found = {}
    for session in sessions:
        moments = starts[session.username, session.server_name]
        if len(moments) > 1:
            floor = session.started_at + START_TOLERANCE
            later = [moment for moment in moments if moment > floor]
            if later:
                found[session.id] = min(later)
    return found


def _age_order(pod: Pod) -> tuple[bool, datetime | None, str]:
    return (pod.created_at is not None, pod.created_at, pod.uid)
