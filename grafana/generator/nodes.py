"""Nodes and images: what runs where, and which versions are taken up."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import NODES, Line, board, several, source
from .panels import About, Column, cells, lines, rows
from .sources import Format, PostgresQuery

EACH = "in each 5 minutes (ranges up to 36 hours), hour (up to 45 days) or UTC day"


def query(name: str, shape: Format = "time_series") -> PostgresQuery:
    return PostgresQuery("nodes", name, shape)


def dashboard() -> Dashboard:
    nodes: list[Line] = [
        [
            lines(
                About(
                    "Servers by node",
                    f"How many servers ran on average on each node, {EACH}.",
                    "none",
                    w=12,
                ),
                query("servers_by_node"),
                stacked=True,
            ),
            lines(
                About(
                    "Users by node",
                    f"Distinct users with a running server on each node, {EACH}. A user of two "
                    "nodes counts on both.",
                    "none",
                    w=12,
                ),
                query("users_by_node"),
            ),
        ],
        [
            cells(
                About(
                    "Node by hour",
                    f"How many servers ran on average on each node, {EACH}; the darker, the more.",
                    "none",
                    w=24,
                    h=10,
                ),
                query("node_hours"),
            )
        ],
        [
            rows(
                About(
                    "Nodes",
                    "Hours that servers ran on each node in the range, how many ran on average "
                    "and at most, and the most distinct users in one 5 minutes, hour or day.",
                    "none",
                    w=12,
                    h=9,
                ),
                (
                    Column("node", "Node"),
                    Column("hours", "Hours", "h"),
                    Column("servers", "Servers on average", "none"),
                    Column("most_servers", "Servers at most", "none"),
                    Column("most_users", "Users at most", "none"),
                ),
                query("nodes", "table"),
            ),
            lines(
                About(
                    "Servers by GPUs",
                    f"How many servers ran on average by how many GPUs they requested, {EACH}.",
                    "none",
                    w=12,
                    h=9,
                ),
                query("servers_by_gpus"),
                stacked=True,
            ),
        ],
    ]
    images: list[Line] = [
        [
            lines(
                About(
                    "Servers by image",
                    f"How many servers ran on average of each image, whatever its version, {EACH}.",
                    "none",
                    w=12,
                ),
                query("servers_by_image"),
                stacked=True,
            ),
            lines(
                About(
                    "Image adoption",
                    "Distinct users of each image, whatever its version: by week from Monday in "
                    "ranges up to 45 days, by month in longer ones (UTC). A week or month that the "
                    "range cuts counts the days, or the month, that overlap it.",
                    "none",
                    w=12,
                ),
                query("image_adoption"),
            ),
        ],
        [
            rows(
                About(
                    "Images",
                    "Each image with its distinct users, the hours that it ran in the range and "
                    "how many servers were requested with it.",
                    "none",
                    w=12,
                    h=10,
                ),
                (
                    Column("image_base", "Image"),
                    Column("image_version", "Version"),
                    Column("image", "Reference"),
                    Column("users", "Users", "none"),
                    Column("hours", "Hours", "h"),
                    Column("starts", "Starts", "none"),
                ),
                query("images", "table"),
            ),
            lines(
                About(
                    "Servers by profile",
                    f"How many servers ran on average of each profile, {EACH}.",
                    "none",
                    w=12,
                    h=10,
                ),
                query("servers_by_profile"),
                stacked=True,
            ),
        ],
    ]
    return board(
        NODES,
        "What runs where, with how many GPUs, and which images and versions are taken up.",
        [
            source("postgres", "postgres"),
            several("hub", "Hub", "hubs"),
            several("node", "Node", "nodes", everything="'*'"),
            several("image", "Image", "images", everything="'*'"),
        ],
        [("Nodes", nodes), ("Images and profiles", images)],
        since="now-7d",
    )
