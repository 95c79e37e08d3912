"""The service's own health as Prometheus series, in a registry of its own.

Called by ``service.app`` and the handlers. Reading them touches neither database nor network.
Every series is documented in ``docs/service.md``.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from .. import __version__
from ..model import KINDS, REJECTION_REASONS, Event
from ..sources.drift import DRIFTS
from ..store import DUTIES
from .batch import UNREADABLE, Rejection

REFUSALS = (
    "bad_secret",
    "wrong_hub",
    "malformed",
    "too_large",
    "database_unavailable",
)
"""Why a whole request was refused."""

TASKS = ("database", "checker", "upkeep")
"""Background tasks whose unexpected errors are counted."""

SOURCES = ("hub_api", "pods")
"""What a check asks."""

CORRECTIONS = ("ready", "renamed", "corrected", "failed")
"""Kinds of events by which a check settles what it finds."""

OTHER = "other"
"""Keeps the labels a closed set: a reason that a newer Hub knows and this code does not."""

MAX_REMEMBERED = 10_000
"""Ids of counted spawn requests that are kept, oldest forgotten first: a resent one is recent."""

_INGEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400, 604800)


_RECORDER_TEXTS = {
    "outbox_events": "Events that waited in the Hub's outbox when it last posted",
    "outbox_oldest_seconds": "How long the oldest of them had waited",
    "lost_events": "Events that neither disk nor memory of the Hub could take since its start",
    "set_aside_events": "Events that this service refused and that wait on the Hub for a person",
    "faults": "Errors within the recorder since the Hub's start; each is in the Hub's log",
}


class Metrics:
    """All series; made once for each service, since a registry takes a name only once."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._spawns_counted: dict[UUID, None] = {}
        self._source_since: dict[str, datetime] = {}
        ProcessCollector(namespace="jupyterhub_metrics", registry=self.registry)
        build = Info("jupyterhub_metrics_build", "Version of this software", registry=self.registry)
        build.info({"version": __version__})
        self.events_received = self._counter(
            "jupyterhub_metrics_events_received", "Well-formed events received", "kind", KINDS
        )
        self.events_new = Counter(
            "jupyterhub_metrics_events_new",
            "Events stored that were not there before",
            registry=self.registry,
        )
        self.events_rejected = self._counter(
            "jupyterhub_metrics_events_rejected",
            "Malformed events, reported to the Hub and not stored",
            "kind",
            (*KINDS, UNREADABLE),
        )
        self.requests_rejected = self._counter(
            "jupyterhub_metrics_requests_rejected",
            "Posts of events refused as a whole",
            "reason",
            REFUSALS,
        )
        self.spawn_requests_rejected = self._counter(
            "jupyterhub_metrics_spawn_requests_rejected",
            "Requests for a server that never became a session",
            "reason",
            (*REJECTION_REASONS, OTHER),
        )
        self.task_errors = self._counter(
            "jupyterhub_metrics_task_errors",
            "Unexpected errors in background tasks; each is in the log",
            "task",
            TASKS,
        )
        self.ingest_duration = Histogram(
            "jupyterhub_metrics_ingest_duration_seconds",
            "From a post's last byte to its commit",
            buckets=_INGEST_BUCKETS,
            registry=self.registry,
        )
        self.commit_lag = Histogram(
            "jupyterhub_metrics_event_commit_lag_seconds",
            "From the moment an event tells of to its commit",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self.recorder_health = {
            name: Gauge(
                f"jupyterhub_metrics_recorder_{name}", text, ["hub"], registry=self.registry
            )
            for name, text in _RECORDER_TEXTS.items()
        }
        self.database_up = Gauge(
            "jupyterhub_metrics_database_up",
            "Whether the database answers: 1 or 0",
            registry=self.registry,
        )
        self.schema_ready = Gauge(
            "jupyterhub_metrics_schema_ready",
            "Whether the database has the schema that this code knows: 1 or 0",
            registry=self.registry,
        )

        self.drift = self._gauge(
            "jupyterhub_metrics_drift",
            "Disagreements that the last check found",
            "kind",
            DRIFTS,
        )
        self.corrections = self._counter(
            "jupyterhub_metrics_corrections",
            "Events by which checks settled a disagreement",
            "kind",
            CORRECTIONS,
        )
        self.unrecorded_sessions = Gauge(
            "jupyterhub_metrics_unrecorded_sessions",
            "Running servers that only polls of the Hub can see",
            registry=self.registry,
        )
        self.source_failures = self._counter(
            "jupyterhub_metrics_source_failures",
            "Checks to which a source gave no usable answer",
            "source",
            SOURCES,
        )
        self.source_last_success = Gauge(
            "jupyterhub_metrics_source_last_success_timestamp_seconds",
            "When a source last gave a usable answer",
            ["source"],
            registry=self.registry,
        )
        self.source_staleness = Gauge(
            "jupyterhub_metrics_source_staleness_seconds",
            "Time since a source last gave a usable answer, or since the service began to ask it",
            ["source"],
            registry=self.registry,
        )
        self.check_duration = Histogram(
            "jupyterhub_metrics_check_duration_seconds",
            "From the sources' answers to the commit of what was found",
            buckets=_INGEST_BUCKETS,
            registry=self.registry,
        )

        self._upkept_at: datetime | None = None
        self.upkeep_lag = self._gauge(
            "jupyterhub_metrics_upkeep_lag_seconds",
            "How far the oldest data that upkeep should have dealt with is past its time",
            "duty",
            [duty.name for duty in DUTIES],
        )
        self.upkeep_staleness = Gauge(
            "jupyterhub_metrics_upkeep_staleness_seconds",
            "Time since a round of upkeep succeeded, or since the service began",
            registry=self.registry,
        )

    def watch_upkeep(self, clock: Callable[[], datetime]) -> None:
        """From now on tells how long no round has succeeded."""
        began = clock()
        self.upkeep_staleness.set_function(
            lambda: (clock() - (self._upkept_at or began)).total_seconds()
        )

    def upkept(self, lag_seconds: Mapping[str, float], at: datetime) -> None:
        """What a round of upkeep has left."""
        self._upkept_at = at
        for duty, seconds in lag_seconds.items():
            self.upkeep_lag.labels(duty).set(seconds)

    def recorder_says(self, hub: str, health: Mapping[str, float]) -> None:
        """What a Hub's recorder said of itself with its last batch."""
        for name, value in health.items():
            self.recorder_health[name].labels(hub).set(value)

    def watch_source(self, source: str, clock: Callable[[], datetime]) -> None:
        """From now on tells how stale the source is."""
        self._source_since[source] = clock()
        self.source_staleness.labels(source).set_function(
            lambda: (clock() - self._source_since[source]).total_seconds()
        )

    def source_answered(self, source: str, at: datetime) -> None:
        self._source_since[source] = at
        self.source_last_success.labels(source).set(at.timestamp())

    def drift_found(self, counts: Mapping[str, int]) -> None:
        for kind, count in counts.items():
            self.drift.labels(kind).set(count)

    def corrected(self, events: Iterable[Event]) -> None:
        for event in events:
            self.corrections.labels(event.kind).inc()

    def committed(self, events: Sequence[Event], new: int, now: datetime) -> None:
        """Counts events that were just committed, ``new`` of them for the first time."""
        self.events_new.inc(new)
        if new:
            self.spawns_rejected(events)
        for event in events:
            self.events_received.labels(event.kind).inc()
            if event.source != "simulation":
                lag = (now - event.occurred_at).total_seconds()
                # a Hub whose clock is ahead must not subtract from the sum
                self.commit_lag.observe(max(0.0, lag))

    def spawns_rejected(self, events: Iterable[Event]) -> None:
        """Counts ``rejected`` events by their reason, also those that come twice only once."""
        for event in events:
            if event.kind != "rejected" or event.id is None or event.id in self._spawns_counted:
                continue
            if len(self._spawns_counted) >= MAX_REMEMBERED:
                self._spawns_counted.pop(next(iter(self._spawns_counted)))
            self._spawns_counted[event.id] = None
            known = event.reason in REJECTION_REASONS
            self.spawn_requests_rejected.labels(event.reason if known else OTHER).inc()

    def events_malformed(self, rejections: Iterable[Rejection]) -> None:
        for rejection in rejections:
            self.events_rejected.labels(rejection.kind).inc()

    def render(self, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """All series in the format that ``accept`` asks for, and the headers that describe it."""
        encode, content_type = choose_encoder(accept)
        body = encode(self.registry)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if _accepts_gzip(accept_encoding):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=5)
        return body, headers

    def _counter(self, name: str, text: str, label: str, values: Sequence[str]) -> Counter:
        """A counter whose series exist, at 0, before anything happened: alerts need that."""
        counter = Counter(name, text, [label], registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def _gauge(self, name: str, text: str, label: str, values: Sequence[str]) -> Gauge:
        """A gauge whose series exist, at 0, before anything happened."""
        gauge = Gauge(name, text, [label], registry=self.registry)
        for value in values:
            gauge.labels(value)
        return gauge


def _accepts_gzip(header: str) -> bool:
    for part in header.split(","):
        coding, _, parameters = part.strip().lower().partition(";")
        if coding.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
