"""Every name of sampled metrics and every column of it is documented."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

from jupyterhub_metrics.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "seed-names.md").read_text(encoding="utf-8")
NAMES = ["user_sessions", "user_session_stats", "hourly_node_stats", "hourly_image_stats"]


def documented(name: str) -> list[tuple[str, str]]:
    """Columns and types in the order of the table under this heading."""
    section = PAGE.split(f"## `{name}`\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \| (\w+) \|", section, re.MULTILINE)
    return [(column, kind) for cell, kind in rows for column in re.findall(r"`(\w+)`", cell)]


@pytest.mark.parametrize("name", NAMES)
async def test_columns_are_documented_in_their_order(
    store: Store, postgres_dsn: str, name: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, NULL) AS kind FROM pg_attribute "
        "WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum",
        name,
    )
    await connection.close()
    plain = {"timestamp with time zone": "timestamptz"}
    assert documented(name) == [(r["attname"], plain.get(r["kind"], r["kind"])) for r in rows]
