"""Every table, view and column that people may ask stands in docs/store.md."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg

from jupyterhub_metrics.store import Store

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
TOLD = set(re.findall(r"`([a-z_0-9]+)`", DOCUMENTATION))
PUBLIC = ("sessions", "sessions_with_activity", "session_activity", "container_observations")
RELATIONS = """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema::regnamespace
        AND relkind IN ('r', 'p', 'v') AND NOT relispartition
"""
COLUMNS = """
    SELECT attrelid::regclass::text AS relation, attname AS name FROM pg_attribute
    WHERE attrelid = ANY ($1::text[]::regclass[]) AND attnum > 0
"""


async def test_each_table_and_view_is_documented(store: Store, postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    relations = {row[0] for row in await connection.fetch(RELATIONS)}
    await connection.close()
    assert len(relations) > 15
    assert relations - TOLD == set()


async def test_each_column_of_the_views_is_documented(store: Store, postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    rows = await connection.fetch(COLUMNS, PUBLIC)
    await connection.close()
    assert {row["relation"] for row in rows} == set(PUBLIC)
    assert {row["name"] for row in rows} - TOLD == set()
