"""User detail: one user's sessions, and what they add up to."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import USER, Line, board, one_of, source
from .panels import About, Column, lines, numbers, rows, spans
from .sources import Format, PostgresQuery


def query(name: str, shape: Format = "table") -> PostgresQuery:
    return PostgresQuery("user", name, shape)


def dashboard() -> Dashboard:
    who = [
        rows(
            About(
                "The user",
                "What sources of people say now, and when the first session started and the "
                "last one ended.",
                "none",
                w=15,
                h=5,
            ),
            (
                Column("full_name", "Name"),
                Column("email", "E-mail"),
                Column("department", "Department"),
                Column("job_title", "Job title"),
                Column("first_seen", "First seen", "dateTimeAsLocal"),
                Column("last_seen", "Last seen", "dateTimeAsLocal"),
            ),
            query("the_user"),
        ),
        rows(
            About(
                "Groups",
                "Groups of the Hub that the user was a member of at any moment of the range.",
                "none",
                w=9,
                h=5,
            ),
            (
                Column("group_name", "Group"),
                Column("valid_from", "From", "dateTimeAsLocal"),
                Column("valid_to", "Until", "dateTimeAsLocal"),
            ),
            query("groups"),
        ),
    ]
    counted = [
        numbers(
            About(
                "Hours",
                "How long the user's servers ran in the range, with and without GPUs.",
                "h",
                w=9,
                h=4,
            ),
            query("hours"),
        ),
        numbers(
            About(
                "Sessions",
                "Sessions that became ready and lie at least partly in the range, starts in it "
                "that failed, and different images, whatever their version.",
                "none",
                w=7,
                h=4,
            ),
            query("sessions_counted"),
        ),
        numbers(
            About(
                "Requested",
                "Hours times requested cores, GiB of memory and GPUs, and how long the user "
                "waited for servers to be ready.",
                "none",
                w=8,
                h=4,
            ),
            query("requested"),
            units={"Waiting": "h"},
        ),
    ]
    when: list[Line] = [
        [
            spans(
                About(
                    "Timeline of sessions",
                    "What each of the user's servers did: it was starting, its start failed, or "
                    "the image that it ran.",
                    "none",
                    w=24,
                    h=7,
                ),
                query("timeline"),
                by="server",
                colors={"starting": "light-yellow", "failed": "red"},
            )
        ],
        [
            lines(
                About(
                    "Hours by day",
                    "Hours that the user's servers ran on each UTC day: over 24 where several "
                    "ran at once.",
                    "h",
                    w=24,
                    h=7,
                ),
                query("hours_by_day", "time_series"),
                bars=True,
                stacked=True,
            )
        ],
    ]
    listed = [
        rows(
            About(
                "Sessions one by one",
                "The last thousand that lie at least partly in the range, whole. Concluded means "
                "that nobody saw the end, or the session, at its moment.",
                "none",
                w=24,
                h=12,
            ),
            (
                Column("started_at", "Started", "dateTimeAsLocal"),
                Column("ended_at", "Ended", "dateTimeAsLocal"),
                Column("seconds", "Length", "s"),
                Column("waiting_seconds", "Waited", "s"),
                Column("server_name", "Server"),
                Column("state", "State"),
                Column("end_reason", "Why it ended"),
                Column("profile", "Profile"),
                Column("image", "Image"),
                Column("node", "Node"),
                Column("gpus", "GPUs", "none"),
                Column("inferred", "Concluded"),
            ),
            query("sessions"),
        )
    ]
    return board(
        USER,
        "One user: who that is, every session, and what they add up to.",
        [
            source("postgres", "postgres"),
            one_of("hub", "Hub", "hubs"),
            one_of("user", "User", "users"),
        ],
        [("Who", [who]), ("In the range", [counted, *when]), ("Every session", [listed])],
    )
