"""All that the service tells Prometheus, in a registry of its own.

Called by ``service.app`` and the handlers. Reading it touches neither database nor network: what
happens is counted as it happens, what is true now comes from :mod:`.snapshots`. Every series is
documented in ``docs/metrics.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from time import perf_counter
from uuid import UUID

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    ProcessCollector,
    Summary,
)

from .. import __version__
from ..model import KINDS, Event
from ..sources.drift import DRIFTS
from ..store import DUTIES, PoolSize, statement_names
from .answers import Answer, RecentAnswers
from .batch import UNREADABLE, Rejection
from .exposition import Rendered, answer
from .labels import label_value
from .session_flow import OTHER, SessionFlow

REFUSALS = (
    "bad_secret",
    "wrong_hub",
    "malformed",
    "too_large",
    "database_unavailable",
)
"""Why a whole request was refused."""

TASKS = ("database", "checker", "directory", "homes", "upkeep", "snapshots")
"""Background tasks whose unexpected errors are counted."""

SOURCES = ("hub_api", "pods", "graph", "home_sizes", "database")
"""What a check and the tasks beside it ask, and what a snapshot is taken of."""

SCRAPE_REFUSALS = ("no_token", "bad_token", "no_scope", "hub_unavailable")
"""Why a scrape was refused."""

SAMPLE_REFUSALS = (
    "bad_token",
    "no_server",
    "no_session",
    "malformed",
    "too_large",
    "too_many",
    "hub_unavailable",
    "database_unavailable",
)
"""Why a post of a server's samples was refused."""

CORRECTIONS = ("ready", "renamed", "corrected", "failed")
"""Kinds of events by which a check settles what it finds."""

_INGEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400, 604800)
_SCRAPE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)

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
        self._snapshot = Rendered(())
        self.recent_answers = RecentAnswers()
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
        self.samples_taken = Counter(
            "jupyterhub_metrics_server_samples",
            "Samples of users' own servers that were added to their sessions",
            registry=self.registry,
        )
        self.sample_posts_rejected = self._counter(
            "jupyterhub_metrics_server_sample_posts_rejected",
            "Posts of such samples refused as a whole",
            "reason",
            SAMPLE_REFUSALS,
        )
        self.sessions = SessionFlow(self.registry)
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
        self.recorder_heard = Gauge(
            "jupyterhub_metrics_recorder_last_heard_timestamp_seconds",
            "When the Hub's recorder last posted here",
            ["hub"],
            registry=self.registry,
        )
        self._heard_at: dict[str, datetime] = {}
        self.recorder_silence = Gauge(
            "jupyterhub_metrics_recorder_silence_seconds",
            "Time since the Hub's recorder last posted here, or since the service began",
            ["hub"],
            registry=self.registry,
        )
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

        self._pool = self._gauge(
            "jupyterhub_metrics_database_pool_connections",
            "Connections to the database",
            "state",
            ("used", "idle"),
        )
        self._pool_most = Gauge(
            "jupyterhub_metrics_database_pool_connections_max",
            "Connections that the pool may have",
            registry=self.registry,
        )
        self._query_duration = Summary(
            "jupyterhub_metrics_database_query_duration_seconds",
            "How long the database took for a statement",
            ["query"],
            registry=self.registry,
        )
        self._query_of = statement_names()
        for query in (*self._query_of.values(), OTHER):
            self._query_duration.labels(query)
        self.snapshot_duration = Histogram(
            "jupyterhub_metrics_snapshot_duration_seconds",
            "From a snapshot's first query until scrapes are answered from it",
            buckets=_INGEST_BUCKETS,
            registry=self.registry,
        )
        self.scrape_duration = Histogram(
            "jupyterhub_metrics_scrape_duration_seconds",
            "How long it took to render an answer; without the one that is being rendered",
            buckets=_SCRAPE_BUCKETS,
            registry=self.registry,
        )
        self.scrapes_refused = self._counter(
            "jupyterhub_metrics_scrapes_refused",
            "Scrapes refused",
            "reason",
            SCRAPE_REFUSALS,
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

    def know_hub(self, hub: str, clock: Callable[[], datetime]) -> None:
        """From now on the Hub's series exist, and it is told how long its recorder is silent."""
        self.sessions.know_hub(hub)
        label = label_value(hub)
        self._heard_at[label] = clock()
        self.recorder_silence.labels(label).set_function(
            lambda: (clock() - self._heard_at[label]).total_seconds()
        )

    def recorder_says(self, hub: str, health: Mapping[str, float], now: datetime) -> None:
        """What a Hub's recorder said of itself with its last post."""
        hub = label_value(hub)
        self._heard_at[hub] = now
        self.recorder_heard.labels(hub).set(now.timestamp())
        for name, value in health.items():
            self.recorder_health[name].labels(hub).set(value)

    def watch_pool(self, pool: Callable[[], PoolSize]) -> None:
        """From now on tells how many connections there are, at each scrape."""
        self._pool.labels("used").set_function(lambda: pool().used)
        self._pool.labels("idle").set_function(lambda: pool().idle)
        self._pool_most.set_function(lambda: pool().most)

    def queried(self, statement: str, seconds: float) -> None:
        """A statement was executed; what is none of our named ones is a transaction's frame."""
        self._query_duration.labels(self._query_of.get(statement, OTHER)).observe(seconds)

    def rendered(self, families: Sequence[Metric]) -> Rendered:
        """The families ready to be shown; takes a while, and may be called in a thread."""
        return self._snapshot.succeeded_by(families)

    def show(self, snapshot: Rendered) -> None:
        """From now on scrapes are answered from this snapshot."""
        self._snapshot = snapshot
        self.recent_answers.forget()

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

    def corrected(self, events: Sequence[Event], new_ids: Collection[UUID]) -> None:
        """Counts a check's events, those of ``new_ids`` also as what happened to sessions."""
        for event in events:
            self.corrections.labels(event.kind).inc()
        self.sessions.committed(event for event in events if event.id in new_ids)

    def committed(self, events: Sequence[Event], new_ids: Collection[UUID], now: datetime) -> None:
        """Counts events that were just committed, those of ``new_ids`` for the first time."""
        self.events_new.inc(len(new_ids))
        self.sessions.committed(event for event in events if event.id in new_ids)
        for event in events:
            self.events_received.labels(event.kind).inc()
            if event.source != "simulation":
                lag = (now - event.occurred_at).total_seconds()
                # a Hub whose clock is ahead must not subtract from the sum
                self.commit_lag.observe(max(0.0, lag))

    def events_malformed(self, rejections: Iterable[Rejection]) -> None:
        for rejection in rejections:
            self.events_rejected.labels(rejection.kind).inc()

    def render(self, accept: str, accept_encoding: str) -> Answer:
        """All series in the format that ``accept`` asks for, and the headers that describe it."""

        def make() -> Answer:
            began = perf_counter()
            made = answer(self._snapshot, self.registry, accept, accept_encoding)
            self.scrape_duration.observe(perf_counter() - began)
            return made

        return self.recent_answers.get((accept, accept_encoding), make)

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
