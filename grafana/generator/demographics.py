"""Demographics: departments and job titles, as far as sources of people know them."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import DEMOGRAPHICS, board, several, source
from .panels import About, Column, matrix, numbers, pie, ranks, rows
from .sources import PostgresQuery

AS_KNOWN = "Departments and titles are those known at the end of the range."


def query(name: str) -> PostgresQuery:
    return PostgresQuery("demographics", name, "table")


def dashboard() -> Dashboard:
    departments = [
        numbers(
            About(
                "Department known",
                "The share of the users who began or had a session in the range of whom a source "
                "says the department.",
                "percentunit",
                w=4,
            ),
            query("known_departments"),
        ),
        pie(
            About(
                "Hours by department",
                f"How long servers ran in the range. {AS_KNOWN}",
                "h",
                w=8,
            ),
            query("hours_by_department"),
        ),
        rows(
            About(
                "Departments",
                "Distinct users with a running server in the range, hours, and hours times "
                f"requested cores and GiB of memory. {AS_KNOWN}",
                "none",
                w=12,
            ),
            (
                Column("department", "Department"),
                Column("users", "Users", "none"),
                Column("hours", "Hours", "h"),
                Column("hours_with_gpu", "Hours with GPU", "h"),
                Column("core_hours", "Core-hours", "none"),
                Column("gib_hours", "GiB-hours", "none"),
            ),
            query("departments"),
        ),
    ]
    titles = [
        ranks(
            About(
                "Users by job title",
                f"Distinct users with a running server in the range. {AS_KNOWN}",
                "none",
                w=12,
            ),
            query("users_by_job_title"),
        ),
        rows(
            About(
                "Job titles",
                f"Distinct users with a running server in the range, and hours. {AS_KNOWN}",
                "none",
                w=12,
            ),
            (
                Column("job_title", "Job title"),
                Column("users", "Users", "none"),
                Column("hours", "Hours", "h"),
                Column("hours_with_gpu", "Hours with GPU", "h"),
            ),
            query("job_titles"),
        ),
    ]
    crossed = [
        matrix(
            About(
                "Department by application",
                "Distinct users of each image, whatever its version, in each department. "
                f"{AS_KNOWN}",
                "none",
                w=24,
                h=10,
            ),
            query("departments_by_image"),
            row="department",
            column="image",
            value="users",
        )
    ]
    return board(
        DEMOGRAPHICS,
        "Which departments and job titles use what, as far as sources of people know them.",
        [
            source("postgres", "postgres"),
            several("hub", "Hub", "hubs"),
            several("group", "Group", "groups", everything="'*'"),
        ],
        [
            ("Departments", [departments]),
            ("Job titles", [titles]),
            ("Applications", [crossed]),
        ],
    )
