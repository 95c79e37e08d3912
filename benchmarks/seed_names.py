"""Whether the names that dashboards of sampled metrics use are as fast here as their own tables.

    python benchmarks/seed_names.py [--days 30] [--rounds 3]

Puts the same sessions, ``--days`` of the year of truth that end now, into this store and into the
tables that a sampler would have filled from them every five minutes, in one embedded PostgreSQL.
Then asks both every question of ``tests/seed_queries.sql`` over 24 hours, 30 days and all of it,
in turns, and prints the best time of each, this store's share of the other's, and the sizes.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from seed_queries import queries_of
from year import (
    BEGIN,
    DAYS,
    HUB,
    SESSIONS,
    Run,
    events,
    microseconds,
    moment,
    year,
)

from jupyterhub_metrics.model import session_id
from jupyterhub_metrics.store import Statement, Store

EVENTS_A_BATCH = 3_000
POLL = timedelta(minutes=5)
SAMPLER = queries_of(Path(__file__).with_suffix(".sql"))
SMALLEST_SECONDS = 0.002
"""Below this a query's time is that of asking at all."""


def runs_until(now: datetime, days: int) -> list[Run]:
    """The first ``days`` of the year of truth, moved so that they end now."""
    moved = microseconds(now) - microseconds(BEGIN + timedelta(days=days))
    return [
        replace(
            run,
            started_at=run.started_at + moved,
            ready_at=run.ready_at + moved,
            ended_at=run.ended_at + moved,
        )
        for run in year(days=days, sessions=SESSIONS * days // DAYS)
        if run.started_at + moved < microseconds(now)
    ]


def email_of(run: Run) -> str:
    return f"{run.username}@campus.example"


def pod_of(run: Run) -> str:
    return f"jupyter-{run.username}" + (run.server_name and f"--{run.server_name}")


async def fill_ours(store: Store, runs: Sequence[Run], since: datetime, now: datetime) -> None:
    until = microseconds(now)
    happened = (
        event for run in runs for event in events(run) if microseconds(event.occurred_at) < until
    )
    while batch := list(itertools.islice(happened, EVENTS_A_BATCH)):
        await store.ingest(batch)
    people = {run.user: run for run in runs}
    await store.record_people(
        [
            Statement(
                HUB,
                run.username,
                "file",
                since,
                {
                    "email": email_of(run),
                    "full_name": run.username.title(),
                    "department": f"Department {run.user % 25}",
                    "job_title": f"Title {run.user % 9}",
                },
            )
            for run in people.values()
        ]
    )


async def fill_sampled(
    connection: asyncpg.Connection, runs: Sequence[Run], since: datetime, now: datetime
) -> None:
    await connection.execute(SAMPLER["make_runs"])
    await connection.copy_records_to_table(
        "runs",
        schema_name="sampled",
        records=(
            (
                email_of(run),
                run.username.title(),
                run.node_name,
                run.image_reference,
                run.image_base,
                run.image_version,
                pod_of(run),
                *map(moment, (run.started_at, run.ready_at, run.ended_at)),
                session_id(HUB, run.username, run.server_name, moment(run.started_at)),
            )
            for run in runs
        ),
    )
    for name in ("fill_observations", "make_tables"):
        text = SAMPLER[name].replace("$hub$", f"'{HUB}'")
        text = text.replace("$since$", f"'{since.isoformat()}'")
        text = text.replace("$until$", f"'{now.isoformat()}'")
        # one at a time, so that the last is planned with what the first has made
        for statement in text.split(";\n"):
            await connection.execute(statement, timeout=None)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    now = datetime.now(timezone.utc)
    since = now - timedelta(days=given.days)
    runs = runs_until(now, given.days)
