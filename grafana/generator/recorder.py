"""Recorder health: whether what the other dashboards show is complete and current."""

from __future__ import annotations

from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import RECORDER, board, of_series, source
from .panels import About, lines, numbers
from .sources import PROMETHEUS, prometheus

HUB = 'hub=~"$hub"'
PREFIX = "jupyterhub_metrics_"
RED_FROM_ONE = ((None, "green"), (1, "red"))


def about(title: str, description: str, unit: str, *, w: int = 8, h: int = 7) -> About:
    return About(title, description, unit, w=w, h=h, source=PROMETHEUS)


def quantiles(metric: str, by: str = "") -> list[PrometheusQuery]:
    """The median and the 99th percentile of a histogram, by Hub where it knows Hubs."""
    labels = "le, hub" if by else "le"
    legend = " {{hub}}" if by else ""
    return [
        prometheus(
            f"histogram_quantile({share}, sum by ({labels}) "
            f"(rate({PREFIX}{metric}_bucket{by}[$__rate_interval])))",
            f"{name}{legend}",
            ref_id=ref_id,
        )
        for ref_id, share, name in (("A", 0.5, "median"), ("B", 0.99, "p99"))
    ]


def dashboard() -> Dashboard:
    now = [
        numbers(
            about(
                "Recorder silence",
                "How long ago each Hub's recorder last posted, to any service. It posts at least "
                "every few minutes.",
                "s",
                w=6,
                h=4,
            ),
            prometheus(
                f"min by (hub) ({PREFIX}recorder_silence_seconds{{{HUB}}})",
                "{{hub}}",
                instant=True,
            ),
            steps=((None, "green"), (300, "orange"), (600, "red")),
        ),
        numbers(
            about(
                "Oldest in the outbox",
                "How long the oldest event that waits on the Hub had waited when it last posted.",
                "s",
                w=6,
                h=4,
            ),
            prometheus(
                f"hub:{PREFIX}recorder_outbox_oldest_seconds:last{{{HUB}}}",
                "{{hub}}",
                instant=True,
            ),
            steps=((None, "green"), (60, "orange"), (600, "red")),
        ),
        numbers(
            about(
                "Lost or set aside",
                "Events that neither disk nor memory of the Hub could take since its start, and "
                "events that the service refused and that wait for a person.",
                "none",
                w=6,
                h=4,
            ),
            prometheus(
                f"max by (hub) ({PREFIX}recorder_lost_events{{{HUB}}})",
                "lost {{hub}}",
                instant=True,
            ),
            prometheus(
                f"max by (hub) ({PREFIX}recorder_set_aside_events{{{HUB}}})",
                "set aside {{hub}}",
                ref_id="B",
                instant=True,
            ),
            steps=RED_FROM_ONE,
        ),
        numbers(
            about(
                "Unrecorded servers",
                "Running servers of which no recorder told: it is missing or silent.",
                "none",
                w=6,
                h=4,
            ),
            prometheus(f"max({PREFIX}unrecorded_sessions)", "servers", instant=True),
            steps=RED_FROM_ONE,
        ),
    ]
    events = [
        [
            lines(
                about("Events in the outbox", "Events that wait on each Hub.", "none"),
                prometheus(f"hub:{PREFIX}recorder_outbox_events:last{{{HUB}}}", "{{hub}}"),
            ),
            lines(
                about(
                    "From event to commit",
                    "How long it takes from the moment that an event tells of until it is in the "
                    "database.",
                    "s",
                ),
                *quantiles("event_commit_lag_seconds"),
            ),
            lines(
                about(
                    "Events received",
                    "Well-formed events stored a second by kind, and malformed ones that were "
                    "refused.",
                    "cps",
                ),
                prometheus(
                    f"sum by (kind) (rate({PREFIX}events_received_total[$__rate_interval]))",
                    "{{kind}}",
                ),
                prometheus(
                    f"sum by (kind) (rate({PREFIX}events_rejected_total[$__rate_interval]))",
                    "refused {{kind}}",
                    ref_id="B",
                ),
            ),
        ],
        [
            lines(
                about(
                    "Time to commit a post",
                    "From the last byte of a recorder's post until its events are committed.",
                    "s",
                ),
                *quantiles("ingest_duration_seconds"),
            ),
            lines(
                about(
                    "Posts refused",
                    "Whole posts that were refused, by reason, a second.",
                    "cps",
                ),
                prometheus(
                    f"sum by (reason) (rate({PREFIX}requests_rejected_total[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
            lines(
                about(
                    "Faults in the recorder",
                    "Errors within each Hub's recorder since its start. They never reach a spawn.",
                    "none",
                ),
                prometheus(f"max by (hub) ({PREFIX}recorder_faults{{{HUB}}})", "{{hub}}"),
            ),
        ],
    ]
    starts = [
        lines(
            about(
                "Starts and failures",
                "Sessions requested, and starts that failed by reason, a second.",
                "cps",
            ),
            prometheus(f"hub:{PREFIX}session_starts:rate5m{{{HUB}}}", "starts {{hub}}"),
            prometheus(
                f"hub_reason:{PREFIX}session_failures:rate5m{{{HUB}}} > 0",
                "{{reason}} {{hub}}",
                ref_id="B",
            ),
        ),
        lines(
            about("Time to start", "From the request until the server was ready.", "s"),
            *quantiles("session_start_duration_seconds", f"{{{HUB}}}"),
        ),
        lines(
            about(
                "Requests rejected",
                "Requests for a server that never became a session, a second by reason.",
                "cps",
            ),
            prometheus(
                f"sum by (hub, reason) (rate({PREFIX}spawn_requests_rejected_total{{{HUB}}}"
                "[$__rate_interval])) > 0",
                "{{reason}} {{hub}}",
            ),
        ),
    ]
    checks = [
        [
            lines(
                about(
                    "Drift",
                    "Disagreements between what was told and what runs that the last check found, "
                    "by kind.",
                    "none",
                ),
                prometheus(f"max by (kind) ({PREFIX}drift)", "{{kind}}"),
            ),
            lines(
                about(
                    "Corrections",
                    "Events by which checks settled a disagreement, an hour, by kind.",
                    "none",
                ),
                prometheus(f"sum by (kind) (increase({PREFIX}corrections_total[1h]))", "{{kind}}"),
            ),
            lines(
                about(
                    "Age of each source's last answer",
                    "Seconds since the Hub's API, the cluster, the directory and the database "
                    "last gave a usable answer to any service.",
                    "s",
                ),
                prometheus(f"source:{PREFIX}source_staleness_seconds:min", "{{source}}"),
            ),
        ],
        [
            lines(
                about(
                    "Failures of sources",
                    "Checks, refreshes and snapshots to which a source gave no usable answer, an "
                    "hour.",
                    "none",
                ),
                prometheus(
                    f"sum by (source) (increase({PREFIX}source_failures_total[1h]))",
                    "{{source}}",
                ),
            ),
            lines(
                about(
                    "Time of a check",
                    "From the sources' answers until what was found is committed.",
                    "s",
                ),
                *quantiles("check_duration_seconds"),
            ),
            lines(
                about(
                    "Errors in tasks",
                    "Unexpected errors in background tasks, an hour. Each is in the service's log.",
                    "none",
                ),
                prometheus(f"sum by (task) (increase({PREFIX}task_errors_total[1h]))", "{{task}}"),
            ),
        ],
    ]
    database = [
        [
            lines(
                about("Database up", "1 while some service has its database.", "none"),
                prometheus(f"max({PREFIX}database_up)", "database"),
                prometheus(f"min({PREFIX}schema_ready)", "schema", ref_id="B"),
            ),
            lines(
                about(
                    "Size",
                    "What the database takes, what it may take where that was set, and what is "
                    "free on the disk of the data folder.",
                    "bytes",
                ),
                prometheus(f"max({PREFIX}database_size_bytes)", "database"),
                prometheus(f"max({PREFIX}database_limit_bytes)", "limit", ref_id="B"),
                prometheus(f"min({PREFIX}disk_free_bytes)", "free on disk", ref_id="C"),
                prometheus(f"min({PREFIX}disk_size_bytes)", "disk", ref_id="D"),
            ),
            lines(
                about(
                    "Upkeep lag",
                    "How far the oldest data that each duty should have dealt with is past its "
                    "time.",
                    "s",
                ),
                prometheus(f"min by (duty) ({PREFIX}upkeep_lag_seconds)", "{{duty}}"),
                prometheus(
                    f"min({PREFIX}upkeep_staleness_seconds)", "since the last round", ref_id="B"
                ),
            ),
        ],
        [
            lines(
                about(
                    "Time of a query",
                    "How long the database took for a statement on average, by its name.",
                    "s",
                ),
                prometheus(
                    "sum by (query) (rate("
                    f"{PREFIX}database_query_duration_seconds_sum[$__rate_interval])) / "
                    "sum by (query) (rate("
                    f"{PREFIX}database_query_duration_seconds_count[$__rate_interval]))",
                    "{{query}}",
                ),
            ),
            lines(
                about(
                    "Connections",
                    "Connections to the database, in all services, and how many there may be.",
                    "none",
                ),
                prometheus(f"sum by (state) ({PREFIX}database_pool_connections)", "{{state}}"),
                prometheus(f"sum({PREFIX}database_pool_connections_max)", "at most", ref_id="B"),
            ),
            lines(
                about(
                    "Snapshots and scrapes",
                    "The median time of reading what is true now from the database, and of "
                    "rendering an answer to Prometheus.",
                    "s",
                ),
                prometheus(
                    "histogram_quantile(0.5, sum by (le) (rate("
                    f"{PREFIX}snapshot_duration_seconds_bucket[$__rate_interval])))",
                    "snapshot",
                ),
                prometheus(
                    "histogram_quantile(0.5, sum by (le) (rate("
                    f"{PREFIX}scrape_duration_seconds_bucket[$__rate_interval])))",
                    "scrape",
                    ref_id="B",
                ),
            ),
        ],
        [
            lines(
                about("Memory of the service", "Resident memory of each service.", "bytes"),
                prometheus(f"{PREFIX}process_resident_memory_bytes", "{{instance}}"),
            ),
            lines(
                about("Processor of the service", "Cores that each service uses.", "none"),
                prometheus(
                    f"rate({PREFIX}process_cpu_seconds_total[$__rate_interval])", "{{instance}}"
                ),
            ),
            lines(
                about(
                    "Scrapes refused",
                    "Scrapes without the right token, an hour, by reason.",
                    "none",
                ),
                prometheus(
                    f"sum by (reason) (increase({PREFIX}scrapes_refused_total[1h]))",
                    "{{reason}}",
                ),
            ),
        ],
    ]
    return board(
        RECORDER,
        "Whether what the other dashboards show is complete and current. Needs the recording "
        "rules of jupyterhub-metrics in Prometheus.",
        [
            source("prometheus", "prometheus"),
            of_series("hub", "Hub", f"label_values({PREFIX}recorder_silence_seconds, hub)"),
        ],
        [
            ("Now", [now]),
            ("Events and their way to the database", events),
            ("Starts", [starts]),
            ("Checks", checks),
            ("The database and the service", database),
        ],
        since="now-24h",
        refresh="1m",
    )
