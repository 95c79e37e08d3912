"""Finds where events, the Hub and the cluster disagree, and the events that settle it. Pure.

Called by ``service.checker`` with what each of them said. The rules stand in ``docs/drift.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from ..model import Event, session_id
from ..store.checks import CheckedSession
from .endings import Interval, container_end, failed_or_corrected, reason_without_record
from .matching import POD_TOLERANCE, Matched, match
from .world import GonePod, HubServer, HubView, Pod, PodView

DRIFTS: Final = (
    "missing",
    "unannounced",
    "renamed",
    "ended_but_running",
    "outlived",
    "pod_gone",
    "pod_finished",
    "pod_moved",
    "pod_orphaned",
    "clock",
)
"""Every kind of disagreement; see the table in ``docs/drift.md``."""

VIEWS_TO_BE_MISSED: Final = 2
"""Complete views in a row that must lack a server before its session is ended for that."""

GONE_PODS_KEPT: Final = timedelta(hours=1)
RESOLUTION: Final = timedelta(microseconds=1)
CLOCK_TOLERANCE: Final = timedelta(seconds=2)


@dataclass(frozen=True)
class Rules:
    """How patient the comparison is.

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


@dataclass(frozen=True)
class Memory:
    """What one comparison leaves for the next; a new one has none."""

    lacked_by_hub: Mapping[UUID, Absence] = field(default_factory=dict)
    lacked_by_cluster: Mapping[UUID, Absence] = field(default_factory=dict)
    pod_seen_at: Mapping[UUID, datetime] = field(default_factory=dict)
    gone: tuple[GonePod, ...] = ()

    def remembering(self, pods: PodView | None) -> Memory:
        """With the pods that have gone, which a view tells only once."""
        if pods is None:
            return self
        oldest = pods.fresh_at - GONE_PODS_KEPT
        kept = {gone.pod.uid: gone for gone in self.gone if gone.gone_before >= oldest}
        kept.update((gone.pod.uid, gone) for gone in pods.gone)
        return replace(self, gone=tuple(kept.values()))


@dataclass(frozen=True)
class Findings:
    """The events that settle what can be settled, and how often each kind of drift was found.

    ``waiting`` are open sessions that are left alone for now: their events may be on the way, or
    they were missed once. ``seen`` is when each session was last vouched for, ``server_of`` and
    ``pod_of`` what was running for it, ``unrecorded`` how many servers only polls can see.
    """

    corrections: tuple[Event, ...]
    counts: Mapping[str, int]
    waiting: frozenset[UUID]
    seen: Mapping[UUID, datetime]
    server_of: Mapping[UUID, HubServer]
    pod_of: Mapping[UUID, Pod]
    stray_pods: tuple[Pod, ...]
    unrecorded: int
    memory: Memory = field(default_factory=Memory)


def diff(
    hub_name: str,
    sessions: Sequence[CheckedSession],
    hub: HubView | None,
    pods: PodView | None,
    memory: Memory,
    *,
    rules: Rules = DEFAULT_RULES,
    pods_expected: bool = False,
) -> Findings:
    """What the three views disagree about.

    ``sessions`` were read after the views were taken: all open ones, and of the ended ones those
    that start when a server of ``hub`` does, and those lately ended without an exact moment.
    ``hub`` and ``pods`` are None where that source did not answer, which ends nothing;
    ``pods_expected`` then says that servers are pods all the same. ``memory`` is that of the
    comparison before.
    """
    return _Comparison(hub_name, sessions, hub, pods, memory, rules, pods_expected).findings()


class _Comparison:
    """One comparison under way."""

    def __init__(
        self,
        hub_name: str,
        sessions: Sequence[CheckedSession],
        hub: HubView | None,
        pods: PodView | None,
        memory: Memory,
        rules: Rules,
        pods_expected: bool,
    ) -> None:
        self.hub_name = hub_name
        self.sessions = sessions
        self.hub = hub
        self.pods = pods
        self.before = memory.remembering(pods)
        self.rules = rules
        self.pods_expected = pods_expected or pods is not None
        present = list(pods.pods.values()) if pods else []
        self.gone = {gone.pod.uid: gone for gone in self.before.gone}
        # a pod that is there has not gone, whatever was once said of it
        for pod in present:
            self.gone.pop(pod.uid, None)
        self.matched: Matched = match(
            sessions,
            hub.servers.values() if hub else (),
            [*present, *(gone.pod for gone in self.gone.values())],
        )
        self.next_start: dict[UUID, datetime] = _next_starts(sessions, hub)
        self.counts: Counter[str] = Counter()
        self.corrections: list[Event] = []
        self.waiting: set[UUID] = set()
        self.seen: dict[UUID, datetime] = {}
        self.pod_of: dict[UUID, Pod] = {}
        self.lacked_by_hub: dict[UUID, Absence] = {}
        self.lacked_by_cluster: dict[UUID, Absence] = {}
        self.pod_seen_at: dict[UUID, datetime] = {}

    def findings(self) -> Findings:
        for session, server in self.matched.renamed:
            self._rename(session, server)
        for session in self.sessions:
            if session.open:
                self._check_open(session)
            else:
                self._check_ended(session)
        late = [server for server in self.matched.unannounced if self._announcement_is_late(server)]
        for server in late:
            self._announce(server)
        stray = self._stray_pods()
        self._compare_clocks()
        unrecorded = len(late) + sum(
            not session.recorded and session.id in self.matched.server_of
            for session in self.sessions
        )
        return Findings(
            corrections=tuple(self.corrections),
            counts={kind: self.counts[kind] for kind in DRIFTS},
            waiting=frozenset(self.waiting),
            seen=self.seen,
            server_of=self.matched.server_of,
            pod_of=self.pod_of,
            stray_pods=stray,
            unrecorded=unrecorded,
            memory=Memory(
                lacked_by_hub=self.lacked_by_hub,
                lacked_by_cluster=self.lacked_by_cluster,
                pod_seen_at=self.pod_seen_at,
                gone=tuple(self.gone.values()),
            ),
        )

    # -- open sessions -------------------------------------------------------

    def _check_open(self, session: CheckedSession) -> None:
        server = self.matched.server_of.get(session.id)
        living, dead = self._pods_of(session)
        if living is not None and self.pods is not None:
            self._vouch(session, self.pods.fresh_at)
            self.pod_of[session.id] = living
            self.pod_seen_at[session.id] = self.pods.fresh_at
            self._check_place(session, living)
        elif session.id in self.before.pod_seen_at:
            self.pod_seen_at[session.id] = self.before.pod_seen_at[session.id]
        if server is not None and self.hub is not None:
            self._check_shown(session, server, living, dead)
            return
        if living is not None:
            if self.hub is not None and self._is_old(session, self.hub.asked_at):
                self.counts["outlived"] += 1
            return
        if self.hub is None:
            self._check_without_hub(session, dead)
            return
        self._check_not_shown(session, dead)

    def _check_shown(
        self, session: CheckedSession, server: HubServer, living: Pod | None, dead: Pod | None
    ) -> None:
        """The Hub shows it, so it is not ended here, whatever its pod says."""
        assert self.hub is not None
        if living is None and dead is not None:
            self.counts["pod_gone" if dead.uid in self.gone else "pod_finished"] += 1
        elif server.pending is not None:
            self._vouch(session, self.hub.asked_at)
        elif server.ready:
            self._vouch(session, self.hub.asked_at - self.rules.hub_poll)
        if session.state == "starting" and server.ready and self._is_old(session):
            self._add(
                session,
                "ready",
                "hub_api",
                Interval(self._alive_at(session), self.hub.answered_at),
                facts={},
                at=self.hub.answered_at,
            )

    def _check_not_shown(self, session: CheckedSession, dead: Pod | None) -> None:
        assert self.hub is not None
        if (session.username, session.server_name) in self.matched.vague or not self._is_old(
            session
        ):
            self.waiting.add(session.id)
            return
        self.counts["missing"] += 1
        absence = _absent(self.before.lacked_by_hub.get(session.id), self.hub.answered_at)
        self.lacked_by_hub[session.id] = absence
        if dead is not None and self._end_by_pod(session, dead):
            return
        cluster_unknown = self.pods_expected and self.pods is None and session.pod_name is not None
        if absence.views < VIEWS_TO_BE_MISSED or cluster_unknown:
            self.waiting.add(session.id)
            return
        self._end(session, "hub_api", absence.gone_by, self._alive_at(session))

    def _check_without_hub(self, session: CheckedSession, dead: Pod | None) -> None:
        """The Hub says nothing: only what the cluster has seen with its own eyes counts."""
        if self.pods is None or not self._is_old(session, self.pods.fresh_at):
            self.waiting.add(session.id)
            return
        if dead is not None:
            self._end_by_pod(session, dead)
            return
        seen_at = self.before.pod_seen_at.get(session.id)
        if seen_at is None:
            self.waiting.add(session.id)
            return
        absence = _absent(self.before.lacked_by_cluster.get(session.id), self.pods.fresh_at)
        self.lacked_by_cluster[session.id] = absence
        if absence.views < VIEWS_TO_BE_MISSED:
            self.waiting.add(session.id)
            return
        self._end(session, "pods", absence.gone_by, max(seen_at, self._alive_at(session)))

    def _end_by_pod(self, session: CheckedSession, pod: Pod) -> bool:
        """Ends it by what the cluster knows of its pod; False if that tells nothing usable."""
        gone = self.gone.get(pod.uid)
        by = gone.gone_before if gone else self._fresh_at(pod)
        record = container_end(pod, session.started_at, by)
        if record is not None:
            self.corrections.append(
                failed_or_corrected(
                    session,
                    "container",
                    Interval(record.finished_at, record.finished_at),
                    record.reason,
                    exit_status=record.exit_status,
                    facts=_memory_of(pod),
                )
            )
            return True
        if gone is None:
            return False
        self._end(
            session, "pods", gone.gone_before, max(gone.gone_after, self._alive_at(session)), pod
        )
        return True

    def _end(
        self,
        session: CheckedSession,
        source: str,
        gone_by: datetime,
        alive_at: datetime,
        pod: Pod | None = None,
    ) -> None:
        """Ends it in the narrowest interval: a new start of the same server ends the old one."""
        before = min(gone_by, self.next_start.get(session.id, gone_by))
        before = max(before, session.started_at)
        self.corrections.append(
            failed_or_corrected(
                session,
                source,
                Interval(min(alive_at, before), before),
                reason_without_record(pod),
            )
        )

    def _check_place(self, session: CheckedSession, pod: Pod) -> None:
        if pod.node is None or pod.node == session.node or self.pods is None:
            return
        if session.node is not None:
            self.counts["pod_moved"] += 1
        at = pod.running_since or pod.created_at or self.pods.fresh_at
        self._add(
            session,
            "corrected",
            "pods",
            Interval(at, at),
            facts={"corrects": "node", **_place_of(pod)},
        )

    # -- ended sessions ------------------------------------------------------

    def _check_ended(self, session: CheckedSession) -> None:
        server = self.matched.server_of.get(session.id)
        living, dead = self._pods_of(session)
        claimed = session.ended_before
        concluded = session.ended_after != claimed and session.end_source in ("hub_api", "pods")
        if claimed is None:
            return
        alive_at: datetime | None = None
        if server is not None and server.ready and self.hub is not None:
            alive_at = self.hub.asked_at - self.rules.hub_poll
        if living is not None and self.pods is not None:
            alive_at = max(alive_at or self.pods.fresh_at, self.pods.fresh_at)
        if alive_at is not None and alive_at > claimed + self.rules.grace:
            if living is not None and server is None:
                self.counts["outlived"] += 1
            else:
                self.counts["ended_but_running"] += 1
            if concluded or session.end_source == "container":
                interval = Interval(alive_at, alive_at)
                self._add(
                    session,
                    "corrected",
                    "hub_api" if server is not None else "pods",
                    interval,
                    facts={"corrects": "alive"},
                )
            return
        if dead is not None and session.ended_after != claimed:
            self._refine(session, dead)

    def _refine(self, session: CheckedSession, pod: Pod) -> None:
        """The container's own record of an end that was only known to lie in an interval."""
        if session.end_source == "container":
            return
        gone = self.gone.get(pod.uid)
        by = gone.gone_before if gone else self._fresh_at(pod)
        record = container_end(pod, session.started_at, by)
        if record is None:
            return
        # who asked for it says more than how the process took it
        asked = session.end_reason is not None and session.end_reason.startswith(
            ("stopped_by", "hub_shutdown")
        )
        self.corrections.append(
            failed_or_corrected(
                session,
                "container",
                Interval(record.finished_at, record.finished_at),
                session.end_reason if asked else record.reason,
                actor=session.ended_by if asked else None,
                exit_status=record.exit_status,
                facts=_memory_of(pod),
            )
        )

    # -- what no session explains --------------------------------------------

    def _rename(self, session: CheckedSession, server: HubServer) -> None:
        self.counts["renamed"] += 1
        if self.hub is None:
            return
        self._add(
            session,
            "renamed",
            "hub_api",
            Interval(self._alive_at(session), self.hub.answered_at),
            facts={"username": server.username},
            at=self.hub.answered_at,
        )

    def _announcement_is_late(self, server: HubServer) -> bool:
        started_at = server.started_at
        return (
            self.hub is not None
            and started_at is not None
            and started_at + self.rules.grace <= self.hub.asked_at
            and server.pending != "stop"
        )

    def _announce(self, server: HubServer) -> None:
        """A session of its own for a server that no event told of."""
        self.counts["unannounced"] += 1
        if self.hub is None or server.started_at is None:
            return
        started_at = server.started_at
        pod = next(
            (
                pod
                for pod in self.matched.unclaimed_pods
                if (pod.username, pod.server_name or "") == (server.username, server.server_name)
                and not pod.finished
                and pod.uid not in self.gone
            ),
            None,
        )
        facts: dict[str, Any] = _place_of(pod) if pod else {}
        if pod is not None:
            self.matched.unclaimed_pods.remove(pod)
        identity = session_id(self.hub_name, server.username, server.server_name, started_at)
        answered_at = max(self.hub.answered_at, started_at + RESOLUTION)
        ready = server.ready
        self.corrections.append(
            Event(
                kind="ready" if ready else "corrected",
                hub=self.hub_name,
                username=server.username,
                server_name=server.server_name,
                session_id=identity,
                started_at=started_at,
                occurred_at=answered_at,
                not_before=started_at,
                not_after=answered_at,
                source="hub_api",
                facts=facts if ready else {**facts, "corrects": "existence"},
            )
        )

    def _stray_pods(self) -> tuple[Pod, ...]:
        """Pods that run and that neither a session nor the Hub knows."""
        if self.pods is None:
            return ()
        known = {(s.username, s.server_name) for s in self.matched.unannounced}
        oldest = self.pods.fresh_at - self.rules.grace
        stray = tuple(
            pod
            for pod in self.matched.unclaimed_pods
            if pod.uid not in self.gone
            and not pod.finished
            and (pod.username, pod.server_name or "") not in known
            and (pod.created_at is None or pod.created_at <= oldest)
        )
        if self.hub is not None:
            self.counts["pod_orphaned"] += len(stray)
        return stray

    def _compare_clocks(self) -> None:
        if self.hub is not None:
            ahead = abs(timedelta(seconds=self.hub.clock_ahead_seconds)) > CLOCK_TOLERANCE
            self.counts["clock"] += ahead
            latest = self.hub.answered_at + CLOCK_TOLERANCE
            self.counts["clock"] += sum(
                server.started_at is not None and server.started_at > latest
                for server in self.hub.servers.values()
            )
        if self.pods is not None:
            latest = self.pods.fresh_at + CLOCK_TOLERANCE
            self.counts["clock"] += sum(
                any(
                    moment is not None and moment > latest
                    for moment in (pod.created_at, pod.running_since, pod.finished_at)
                )
                for pod in self.pods.pods.values()
            )

    # -- within --------------------------------------------------------------

    def _pods_of(self, session: CheckedSession) -> tuple[Pod | None, Pod | None]:
        """Its pod that is there and not finished, and, if there is none, the last that was."""
        pods = self.matched.pods_of.get(session.id, [])
        living = [pod for pod in pods if not pod.finished and pod.uid not in self.gone]
        if living:
            return max(living, key=_age_order), None
        return None, max(pods, key=_age_order, default=None)

    def _is_old(self, session: CheckedSession, asked_at: datetime | None = None) -> bool:
        """Whether all its events have had time to arrive before the question was asked."""
        asked_at = asked_at or (self.hub.asked_at if self.hub else None)
        latest = max(session.started_at, session.last_event_at or session.started_at)
        return asked_at is not None and latest + self.rules.grace <= asked_at

    def _alive_at(self, session: CheckedSession) -> datetime:
        moments = (session.started_at, session.alive_at, session.seen_at)
        return max(moment for moment in moments if moment is not None)

    def _vouch(self, session: CheckedSession, at: datetime) -> None:
        if at >= session.started_at:
            self.seen[session.id] = max(at, self.seen.get(session.id, at))

    def _fresh_at(self, pod: Pod) -> datetime:
        assert self.pods is not None, pod
        return self.pods.fresh_at

    def _add(
        self,
        session: CheckedSession,
        kind: str,
        source: str,
        interval: Interval,
        *,
        facts: dict[str, Any],
        at: datetime | None = None,
    ) -> None:
        after = min(interval.after, interval.before)
        if kind in ("ready", "renamed"):
            # an interval, however short: a poll never sees the moment itself
            after = min(after, interval.before - RESOLUTION)
        self.corrections.append(
            Event(
                kind=kind,
                hub=session.hub,
                username=session.original_username,
                server_name=session.server_name,
                session_id=session.id,
                started_at=session.started_at,
                occurred_at=at or after,
                not_before=after,
                not_after=interval.before,
                source=source,
                facts=facts,
            )
        )


def _absent(before: Absence | None, answered_at: datetime) -> Absence:
    if before is None:
        return Absence(answered_at, 1)
    return Absence(min(before.gone_by, answered_at), before.views + 1)


def _next_starts(sessions: Sequence[CheckedSession], hub: HubView | None) -> dict[UUID, datetime]:
    """When the same server was started again, by the session before: it had ended by then."""
    starts: dict[tuple[str, str], list[datetime]] = {}
    for session in sessions:
        starts.setdefault((session.username, session.server_name), []).append(session.started_at)
    for key, server in hub.servers.items() if hub else ():
        if server.started_at is not None:
            starts.setdefault(key, []).append(server.started_at)
    found = {}
    for session in sessions:
        moments = starts[session.username, session.server_name]
        if len(moments) > 1:
            floor = session.started_at + POD_TOLERANCE
            later = [moment for moment in moments if moment > floor]
            if later:
                found[session.id] = min(later)
    return found


def _age_order(pod: Pod) -> tuple[bool, datetime | None, str]:
    return (pod.created_at is not None, pod.created_at, pod.uid)


def _place_of(pod: Pod) -> dict[str, Any]:
    place = {"node": pod.node, "image": pod.image, **_memory_of(pod)}
    place |= {"namespace": pod.namespace, "pod_name": pod.name}
    return {name: value for name, value in place.items() if value is not None}


def _memory_of(pod: Pod) -> dict[str, Any]:
    limit = pod.memory_limit_bytes
    return {} if limit is None else {"memory_limit_bytes": limit}
