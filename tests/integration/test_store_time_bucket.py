"""time_bucket gives the same on every engine, whichever is ours: what Grafana's queries ask."""

from __future__ import annotations

from datetime import datetime, timezone

import asyncpg
import pytest

from jupyterhub_metrics.store import Store

BUCKETS = [
    ("'15 minutes', t", "2026-03-29T01:44:59Z", "2026-03-29T01:30:00Z"),
    ("'1 hour', t", "1999-12-31T23:59:59.999999Z", "1999-12-31T23:00:00Z"),
    ("'1 day', t", "2026-03-29T22:30:00Z", "2026-03-29T00:00:00Z"),
    ("'1 day', t, 'Europe/Berlin'", "2026-03-29T22:30:00Z", "2026-03-29T22:00:00Z"),
    ("'1 day', t, 'Europe/Berlin'", "2026-03-29T21:30:00Z", "2026-03-28T23:00:00Z"),
    ("'1 week', t", "2026-11-22T08:00:00Z", "2026-11-16T00:00:00Z"),
    ("'1 week', t, '2026-11-01T00:00:00Z'::timestamptz", "2026-11-22T08:00Z", "2026-11-22T00:00Z"),
    ("'1 month', t", "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z"),
    ("'1 month', t, 'America/New_York'", "2026-03-01T04:59:00Z", "2026-02-01T05:00:00Z"),
    ("'3 months', t", "1987-05-05T05:05:05Z", "1987-04-01T00:00:00Z"),
    ("'1 year', t", "2026-11-22T08:00:00Z", "2026-01-01T00:00:00Z"),
    ("'1 day', t, '6 hours'::interval", "2026-11-22T05:00:00Z", "2026-11-21T06:00:00Z"),
    (
        """'1 day', t, 'Asia/Kolkata', "offset" => '2 hours'::interval""",
        "2026-11-22T20:00:00Z",
        "2026-11-21T20:30:00Z",
    ),
    (
        "'1 day', t, 'Asia/Kolkata', '2026-01-01T06:30:00Z'::timestamptz",
        "2026-11-22T06:00:00Z",
        "2026-11-21T06:30:00Z",
    ),
    ("'1 hour', t AT TIME ZONE 'UTC'", "2026-11-22T06:59:00Z", "2026-11-22T06:00:00"),
    ("'1 month', (t AT TIME ZONE 'UTC')::date", "2026-11-22T06:59:00Z", "2026-11-01"),
]


@pytest.mark.parametrize(("arguments", "moment", "bucket"), BUCKETS)
async def test_a_moment_falls_into_its_bucket(
    arguments: str, moment: str, bucket: str, store: Store, postgres_dsn: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    found = await connection.fetchval(
        f"SELECT time_bucket({arguments}) FROM (SELECT $1::timestamptz AS t) AS told",
        datetime.fromisoformat(moment.replace("Z", "+00:00")),
    )
    await connection.close()
    if bucket.endswith("Z"):
        assert found == datetime.fromisoformat(bucket[:-1]).replace(tzinfo=timezone.utc)
    else:
        assert found.isoformat() == bucket
