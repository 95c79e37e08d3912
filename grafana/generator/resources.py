"""Resources: what sessions used of what they asked for, as far as samplers measure."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import RESOURCES, board, several, source
from .overview import TO_USER
from .panels import About, Column, lines, numbers, ranks, rows
from .sources import PROMETHEUS, PostgresQuery, prometheus

SESSIONS = "Of measured sessions that lie at least partly in the range, each of them whole."
NEVER_TOUCHED = (
    "Never touched is what lies between the memory asked for and the peak of the session, times "
    "the hours that were measured."
)
OF_95 = "The peak of 95 % is told by steps of which a doubling has 32, so at most 2.2 % too high."
USED = (
    Column("sessions", "Sessions", "none"),
    Column("memory_hours", "Hours measured", "h"),
    Column("memory_unused_gib_hours", "Never touched, GiB-hours", "none"),
    Column("memory_requested_bytes", "Memory asked for", "bytes"),
    Column("memory_mean_bytes", "Used on average", "bytes"),
    Column("memory_peak_p95_bytes", "Peak of 95 %", "bytes"),
    Column("memory_peak_bytes", "Largest peak", "bytes"),
    Column("cpu_requested_cores", "Cores asked for", "none"),
    Column("cpu_mean_cores", "Cores on average", "none"),
    Column("cpu_peak_p95_cores", "Peak of cores of 95 %", "none"),
    Column("oom_kills", "Killed for memory", "none"),
)


def query(name: str) -> PostgresQuery:
    return PostgresQuery("resources", name, "table")


def now(title: str, what: str, used: str, requested: str, unit: str) -> timeseries.Panel:
    """What is used beside what is requested, of everyone: these series know no groups."""
    return lines(
        About(
            title,
            f"{what} that open sessions of each Hub use, of those that were measured in the last "
            "five minutes, and what all open sessions asked for. Of everyone, whatever the group.",
            unit,
            w=12,
            source=PROMETHEUS,
        ),
        prometheus(f'max by (hub) ({used}{{hub=~"$hub"}})', "used {{hub}}"),
        prometheus(f'max by (hub) ({requested}{{hub=~"$hub"}})', "asked for {{hub}}", ref_id="B"),
    )


def dashboard() -> Dashboard:
    at_once = [
        now(
            "Memory in use",
            "Memory",
            "jupyterhub_metrics_memory_used_bytes",
            "jupyterhub_metrics_memory_requested_bytes",
            "bytes",
        ),
        now(
            "Cores in use",
            "Cores",
            "jupyterhub_metrics_cpu_used_cores",
            "jupyterhub_metrics_cpu_requested_cores",
            "none",
        ),
    ]
    counted = [
        numbers(
            About(
                "Measured sessions",
                "The share of the sessions that became ready and lie at least partly in the range "
                "of which there is any sample: what the panels below know of.",
                "percentunit",
                w=6,
                h=4,
            ),
            query("measured_share"),
        ),
        numbers(
            About(
                "Memory, GiB-hours",
                "Memory that was asked for, what was used of it on average, and what no moment of "
                f"a session touched, times the hours that were measured. {SESSIONS} Without those "
                "of which nobody told what they asked for.",
                "none",
                w=18,
                h=4,
            ),
            query("memory"),
        ),
    ]
    asked = [
        [
            rows(
                About(
                    "Over-asking by profile",
                    "What sessions of each profile asked for and what they used, weighted by the "
                    "time that was measured, and the peak that 95 % of the sessions never "
                    f"exceeded. {OF_95} {NEVER_TOUCHED} {SESSIONS}",
                    "none",
                    w=24,
                ),
                (Column("profile", "Profile"), *USED),
                query("profiles"),
            )
        ],
        [
            rows(
                About(
                    "Over-asking by image",
                    "The same of each image, whatever its version: what sessions asked for and "
                    f"what they used. {OF_95} {NEVER_TOUCHED} {SESSIONS}",
                    "none",
                    w=24,
                ),
                (Column("image_base", "Image"), *USED),
                query("images"),
            )
        ],
    ]
    one_by_one = [
        ranks(
            About(
                "Peak of the memory asked for",
                "How many sessions used how much of the memory that they asked for, at their "
                f"peak. {SESSIONS}",
                "none",
                w=7,
                h=12,
            ),
            query("memory_shares"),
        ),
        rows(
            About(
                "Most unused memory",
                f"The hundred sessions that left most. {NEVER_TOUCHED} {SESSIONS}",
                "none",
                w=17,
                h=12,
            ),
            (
                Column("hub", "Hub", width=120),
                Column("username", "User", link=TO_USER),
                Column("server_name", "Server"),
                Column("started_at", "Started", "dateTimeAsLocal"),
                Column("profile", "Profile"),
                Column("image_base", "Image"),
                Column("memory_hours", "Hours measured", "h"),
                Column("memory_requested_bytes", "Memory asked for", "bytes"),
                Column("memory_peak_bytes", "Peak", "bytes"),
                Column("memory_unused_gib_hours", "Never touched, GiB-hours", "none"),
            ),
            query("most_unused"),
        ),
    ]
    return board(
        RESOURCES,
        "What sessions used of what they asked for. Needs a sampler.",
        [
            source("postgres", "postgres"),
            source("prometheus", "prometheus"),
            several("hub", "Hub", "hubs"),
            several("group", "Group", "groups", everything="'*'"),
        ],
        [
            ("Now", [at_once]),
            ("In the range", [counted]),
            ("Asked for and used", asked),
            ("Session by session", [one_by_one]),
        ],
        since="now-7d",
    )
