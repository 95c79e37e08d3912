"""The questions of ``seed_queries.sql`` as Grafana would send them. Used by a benchmark too."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

_QUERY = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)
_FILE = Path(__file__).with_suffix(".sql")


def queries_of(file: Path) -> dict[str, str]:
    """Name and text of each query, in the order of the file."""
    return {match[1]: match[2].strip() for match in _QUERY.finditer(file.read_text())}


def seed_queries() -> dict[str, str]:
    """Every question, by name."""
    return queries_of(_FILE)


def as_grafana_sends(
    text: str, since: datetime, until: datetime, *, interval: str = "1 hour", user: str = ""
) -> str:
    """The query with macros and variables put in, as Grafana's PostgreSQL data source does."""
    low, high = (f"'{moment.isoformat()}'::timestamptz" for moment in (since, until))
    text = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {low} AND {high}", text)
    return (
        text.replace("$__timeFrom()", low)
        .replace("$__timeTo()", high)
        .replace("$__interval", interval)
        .replace("$user", user)
    )
