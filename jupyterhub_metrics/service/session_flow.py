"""Counts what happens to sessions as their events are committed for the first time.

Called by :mod:`.metrics`. A counter of Prometheus may never take anything back, and a row of
sessions changes when a better event comes. So these count what was told, once for each session:
a session whose end was first ``died`` and then ``oom_killed`` counts under both reasons, and once
in the histogram of durations. Several services of one database each count what they committed
themselves; the sum over them is the whole.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from ..model import (
    CONTAINER_REASONS,
    FAILURE_REASONS,
    REJECTION_REASONS,
    STOP_REASONS,
    UNSEEN,
    Event,
)
from .labels import label_value

OTHER: Final = "other"
"""Keeps the labels a closed set: a reason that a newer Hub knows and this code does not."""

MAX_REMEMBERED: Final = 10_000
"""What was counted of so many sessions is kept, oldest forgotten first: a better event comes soon
after the one that it replaces."""

ENDS: Final = (*STOP_REASONS, *CONTAINER_REASONS, UNSEEN, OTHER)
FAILURES: Final = (*FAILURE_REASONS, *CONTAINER_REASONS, UNSEEN, OTHER)
REJECTIONS: Final = (*REJECTION_REASONS, OTHER)

_START_BUCKETS = (1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800)
_DURATION_BUCKETS = (
    60, 300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 604800, 2592000,
)  # fmt: skip


class SessionFlow:
    """The series of one service. Series of a Hub exist, at 0, once it is known."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counted: dict[Hashable, None] = {}
        self._starts = Counter(
            "jupyterhub_metrics_session_starts",
            "Sessions that were requested, or that a check found",
            ["hub"],
            registry=registry,
        )
        self._failures = _by_reason(
            registry, "session_failures", "Starts that came to nothing, by the reasons told"
        )
        self._ends = _by_reason(
            registry, "session_ends", "Sessions that ended, by the reasons told"
        )
        self._rejections = _by_reason(
            registry,
            "spawn_requests_rejected",
            "Requests for a server that never became a session",
        )
        self._start_duration = Histogram(
            "jupyterhub_metrics_session_start_duration_seconds",
            "From the request for a server until it was ready, where both were seen",
            ["hub"],
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self._duration = Histogram(
            "jupyterhub_metrics_session_duration_seconds",
            "From the request for a server until its end, as first told",
            ["hub"],
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )

    def know_hub(self, hub: str) -> None:
        """Makes all series of the Hub exist before anything happened: alerts need that."""
        hub = label_value(hub)
        self._starts.labels(hub)
        self._start_duration.labels(hub)
        self._duration.labels(hub)
        for counter, reasons in (
            (self._failures, FAILURES),
            (self._ends, ENDS),
            (self._rejections, REJECTIONS),
        ):
            for reason in reasons:
                counter.labels(hub, reason)

    def committed(self, events: Iterable[Event]) -> None:
        """Counts events that were committed for the first time; simulated ones are no news."""
        for event in events:
            if event.source == "simulation":
                continue
            hub = label_value(event.hub)
            if event.kind == "rejected":
                self._count(self._rejections, hub, event, REJECTIONS, (event.id,))
            elif event.kind == "failed":
                self._count(self._failures, hub, event, FAILURES, (event.session_id, "failed"))
            elif _is_end(event):
                self._count(self._ends, hub, event, ENDS, (event.session_id, "end"))
                if self._first((event.session_id, "duration")):
                    self._duration.labels(hub).observe(_seconds(event))
            if _tells_of_start(event) and self._first((event.session_id, "start")):
                self._starts.labels(hub).inc()
            if _is_seen_ready(event) and self._first((event.session_id, "ready")):
                self._start_duration.labels(hub).observe(_seconds(event))

    def _count(
        self,
        counter: Counter,
        hub: str,
        event: Event,
        reasons: Sequence[str],
        what: tuple[Hashable, ...],
    ) -> None:
        reason = event.reason if event.reason in reasons else OTHER
        if self._first((*what, reason)):
            counter.labels(hub, reason).inc()

    def _first(self, what: Hashable) -> bool:
        if what in self._counted:
            return False
        if len(self._counted) >= MAX_REMEMBERED:
            self._counted.pop(next(iter(self._counted)))
        self._counted[what] = None
        return True


def _by_reason(registry: CollectorRegistry, name: str, text: str) -> Counter:
    return Counter(f"jupyterhub_metrics_{name}", text, ["hub", "reason"], registry=registry)


def _tells_of_start(event: Event) -> bool:
    """A request, or a poll that found a server nobody told of."""
    if event.source == "hub_api":
        return event.kind == "ready" or event.facts.get("corrects") == "existence"
    return event.kind == "requested"


def _is_end(event: Event) -> bool:
    if event.kind == "stopped":
        return True
    return event.kind == "corrected" and event.facts.get("corrects", "end") == "end"


def _is_seen_ready(event: Event) -> bool:
    """A poll that finds a server ready says nothing of when it became so."""
    return event.kind == "ready" and event.source == "hub" and event.not_before == event.not_after


def _seconds(event: Event) -> float:
    """Since the session's start; a clock that stepped back never makes it negative."""
    if event.started_at is None:
        return 0.0
    return max(0.0, (event.occurred_at - event.started_at).total_seconds())
