"""Overview: who and what runs, how that changed, and why it stopped."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import OVERVIEW, USER, Line, board, several, source
from .panels import About, Column, lines, matrix, numbers, pie, rows
from .sources import Format, PostgresQuery

TO_USER = (
    "Sessions of ${__value.text}",
    f"/d/{USER}?var-hub=${{__data.fields.hub}}&var-user=${{__data.fields.username}}"
    "&${__url_time_range}",
)

USER_COLUMNS = (
    Column("hub", "Hub", width=120),
    Column("username", "User", link=TO_USER),
    Column("full_name", "Name"),
    Column("user_email", "E-mail"),
    Column("hours", "Hours", "h"),
    Column("starts", "Starts", "none"),
    Column("last_seen", "Last seen", "dateTimeAsLocal"),
)


def query(name: str, shape: Format = "table") -> PostgresQuery:
    return PostgresQuery("overview", name, shape)


def active(name: str, title: str, period: str) -> stat.Panel:
    return numbers(
        About(
            title,
            f"Distinct users who had a running server in the {period} before the end of the range.",
            "none",
            w=4,
            h=4,
        ),
        query(name),
    )


def dashboard() -> Dashboard:
    now = [
        active("active_users_of_an_hour", "Users, last hour", "hour"),
        active("active_users_of_a_day", "Users, last 24 hours", "24 hours"),
        active("active_users_of_a_month", "Users, last 30 days", "30 days"),
        active("active_users_of_a_year", "Users, last year", "365 days"),
        numbers(
            About(
                "Total users",
                "Everyone who ever had a session or of whom a source of people told.",
                "none",
                w=4,
                h=4,
            ),
            query("total_users"),
        ),
        numbers(
            About(
                "Running servers",
                "Servers that ran at the end of the range.",
                "none",
                w=4,
                h=4,
            ),
            query("servers_now"),
        ),
    ]
    seen = [
        numbers(
            About(
                "Last hour",
                "What ran at any moment of the hour before the end of the range: applications "
                "(servers, one a user and name), types of them (names of images without their "
                "version), and nodes.",
                "none",
                w=18,
                h=4,
            ),
            query("seen_in_an_hour"),
        ),
        numbers(
            About(
                "Failed starts",
                "The share of sessions that ended in the range which never became ready. "
                "Starts that the user cancelled do not count.",
                "percentunit",
                w=6,
                h=4,
            ),
            query("failed_starts"),
            steps=((None, "green"), (0.05, "orange"), (0.2, "red")),
        ),
    ]
    over_time = [
        [
            lines(
                About(
                    "Active users",
                    "Distinct users with a running server in each 5 minutes (ranges up to 36 "
                    "hours), hour (up to 45 days) or UTC day, by Hub.",
                    "none",
                    w=12,
                ),
                query("users_over_time", "time_series"),
            ),
            lines(
                About(
                    "Applications",
                    "How many servers ran on average in each 5 minutes, hour or UTC day, by Hub.",
                    "none",
                    w=12,
                ),
                query("servers_over_time", "time_series"),
            ),
        ],
        [
            lines(
                About(
                    "Applications by node",
                    "How many servers ran on average on each node. The sum is all servers.",
                    "none",
                    w=12,
                ),
                query("servers_by_node", "time_series"),
                stacked=True,
            ),
            lines(
                About(
                    "Applications by type",
                    "How many servers ran on average of each image, whatever its version.",
                    "none",
                    w=12,
                ),
                query("servers_by_image", "time_series"),
                stacked=True,
            ),
        ],
    ]
    tables: list[Line] = [
        [
            rows(
                About(
                    "Top users",
                    "Who ran servers longest in the range: hours are cut where the range begins "
                    "and ends, starts are requests for a server, failed ones too. Last seen is "
                    "of all time.",
                    "none",
                    w=14,
                    h=10,
                ),
                USER_COLUMNS,
                query("top_users"),
            ),
            rows(
                About(
                    "Applications used",
                    "Each version of each image with its distinct users, the hours that it ran "
                    "in the range and how many servers were requested with it.",
                    "none",
                    w=10,
                    h=10,
                ),
                (
                    Column("image_base", "Image"),
                    Column("image_version", "Version"),
                    Column("users", "Users", "none"),
                    Column("hours", "Hours", "h"),
                    Column("starts", "Starts", "none"),
                ),
                query("images"),
            ),
        ],
        [
            pie(
                About(
                    "Why sessions ended",
                    "Sessions that ended or failed in the range, by the reason that was told: by "
                    "the user, by a service such as the culler, by an admin, by the Hub, or "
                    "because the server died.",
                    "none",
                    w=8,
                ),
                query("why_sessions_ended"),
            ),
            rows(
                About(
                    "Servers that have run for over 24 hours",
                    "Of those that ran at the end of the range, the longest first.",
                    "none",
                    w=16,
                ),
                (
                    Column("hub", "Hub", width=120),
                    Column("username", "User", link=TO_USER),
                    Column("server_name", "Server"),
                    Column("image", "Image"),
                    Column("node", "Node"),
                    Column("started_at", "Since", "dateTimeAsLocal"),
                    Column("hours", "Hours", "h"),
                ),
                query("long_running"),
            ),
        ],
        [
            matrix(
                About(
                    "Hours of the week",
                    "How many servers ran on average in each hour of the week (UTC) that lies in "
                    "the range.",
                    "none",
                    w=24,
                    h=9,
                ),
                query("week"),
                row="weekday",
                column="hour",
                value="servers",
            )
        ],
    ]
    return board(
        OVERVIEW,
        "Who and what runs on JupyterHub, how that changed, and why it stopped.",
        [source("postgres", "postgres"), several("hub", "Hub", "hubs")],
        [
            ("At the end of the range", [now, seen]),
            ("Over time", over_time),
            ("In the range", tables),
        ],
    )
