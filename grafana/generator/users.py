"""Users: how many, since when, what they use; of everyone or of groups."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import USERS, board, several, source
from .overview import USER_COLUMNS
from .panels import About, Column, lines, numbers, pie, rows
from .sources import Format, PostgresQuery

OF_GROUPS = "Of the members of the chosen groups at any moment of the range."


def query(name: str, shape: Format = "table") -> PostgresQuery:
    return PostgresQuery("users", name, shape)


def dashboard() -> Dashboard:
    counted = [
        numbers(
            About(
                "Active users",
                f"Distinct users who had a running server in the range. {OF_GROUPS}",
                "none",
                w=5,
                h=4,
            ),
            query("active_users"),
        ),
        numbers(
            About(
                "Users added",
                f"Users whose first session ever started in the range. {OF_GROUPS}",
                "none",
                w=5,
                h=4,
            ),
            query("users_added"),
        ),
        numbers(
            About(
                "Hours",
                f"How long servers ran in the range, together. {OF_GROUPS}",
                "h",
                w=5,
                h=4,
            ),
            query("hours_used"),
        ),
        numbers(
            About(
                "Requested",
                "Hours times what was requested: cores, GiB of memory, GPUs. The guarantee, or "
                f"the limit where there was none. {OF_GROUPS}",
                "none",
                w=9,
                h=4,
            ),
            query("requested"),
        ),
    ]
    growth = [
        lines(
            About(
                "User growth",
                f"Users by the UTC day of their first session ever. {OF_GROUPS}",
                "none",
                w=8,
            ),
            query("user_growth", "time_series"),
            bars=True,
        ),
        lines(
            About(
                "Total users",
                f"Everyone who had a session until then. {OF_GROUPS}",
                "none",
                w=8,
            ),
            query("total_users_over_time", "time_series"),
        ),
        lines(
            About(
                "Daily active users",
                f"Distinct users with a running server on each UTC day, by Hub. {OF_GROUPS}",
                "none",
                w=8,
            ),
            query("daily_users", "time_series"),
            bars=True,
        ),
    ]
    used = [
        pie(
            About(
                "CPU against GPU hours",
                "Hours of servers that requested GPUs, and of all others, in the range. "
                f"{OF_GROUPS}",
                "h",
                w=7,
            ),
            query("hours_with_and_without_gpu"),
            rows=False,
        ),
        pie(
            About(
                "Node distribution",
                f"Hours that servers ran on each node in the range. {OF_GROUPS}",
                "h",
                w=7,
            ),
            query("hours_by_node"),
        ),
        rows(
            About(
                "Container versions",
                "Each version of each image: distinct users, hours in the range, and how many "
                f"servers were requested with it. {OF_GROUPS}",
                "none",
                w=10,
            ),
            (
                Column("image_base", "Image"),
                Column("image_version", "Version"),
                Column("users", "Users", "none"),
                Column("hours", "Hours", "h"),
                Column("starts", "Starts", "none"),
            ),
            query("image_versions"),
        ),
    ]
    ranked = [
        rows(
            About(
                "Users",
                "The hundred who ran servers longest in the range. Department as known at its "
                f"end; last seen is of all time. {OF_GROUPS}",
                "none",
                w=24,
                h=12,
            ),
            (*USER_COLUMNS, Column("department", "Department")),
            query("top_users"),
        )
    ]
    return board(
        USERS,
        "How many users there are and since when, and what they use; everyone, or groups.",
        [
            source("postgres", "postgres"),
            several("hub", "Hub", "hubs"),
            several("group", "Group", "groups", everything="'*'"),
        ],
        [
            ("In the range", [counted]),
            ("Over time", [growth]),
            ("What they use", [used, ranked]),
        ],
    )
