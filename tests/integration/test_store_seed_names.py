"""Questions written for sampled container metrics run unchanged and get the truth."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from seed_history import HUB, PEOPLE, World, lives, world
from seed_queries import as_grafana_sends, seed_queries
from seed_truth import TRUTH

from jupyterhub_metrics.model import PERSON_FIELDS
from jupyterhub_metrics.store import Observation, Statement, Store

OURS_ALONE = {"hub", "namespace", "session_id"}
"""Columns of container_observations that an export has besides."""


def comparable(rows: Iterable[Iterable[Any]]) -> list[tuple[Any, ...]]:
    """In one order, numbers to four digits."""
    plain = [
        tuple(round(float(v), 4) if isinstance(v, Decimal | float) else v for v in row)
        for row in rows
    ]
    return sorted(plain, key=repr)


async def live_through(store: Store, base: datetime) -> None:
    history = world(base, base)
    await store.ingest([event for life in lives(base) for event in life.events()])
    said = [
        Statement(
            HUB,
            human.name,
            "file",
            base,
            {
                name: getattr(human, name)
                for name in ("email", "full_name", "department", "job_title")
            },
        )
        for human in PEOPLE
        if human.email
    ]
    await store.record_people(said)
    for at in sorted({one.at for one in history.seen}):
        seen = [
            Observation(
                namespace="jhub",
                pod_name=one.life.pod,
                session_id=None,
                user_email=one.life.human.shown,
                user_name=one.life.human.full_name or one.life.human.name,
                node_name=one.life.node,
                container_image=one.life.image,
                container_base=one.life.base,
                container_version=one.life.version,
                age_seconds=float(one.age),
            )
            for one in history.seen
            if one.at == at
        ]
        await store.record_observations(HUB, at, seen)


async def answers(connection: asyncpg.Connection, name: str, text: str, w: World) -> list[Any]:
    sent = as_grafana_sends(text, w.since, w.now, user="ada@uni.example")
    rows = await connection.fetch(sent)
    if name == "readme_export_observations":
        order = (
            "timestamp user_email user_name node_name container_image container_base "
            "container_version age_seconds pod_name"
        )
        assert {key for row in rows for key, _ in row.items()} == {*order.split(), *OURS_ALONE}
        return [tuple(row[key] for key in order.split()) for row in rows]
    return [tuple(row.values()) for row in rows]


def test_every_question_has_its_truth() -> None:
    assert list(TRUTH) == list(seed_queries())


@pytest.mark.parametrize("counted", [False, True], ids=["live", "counted"])
async def test_every_question_gets_the_truth(
    store: Store, postgres_dsn: str, counted: bool
) -> None:
    base = datetime.now(timezone.utc).replace(microsecond=0)
    await live_through(store, base)
    connection = await asyncpg.connect(postgres_dsn, server_settings={"timezone": "UTC"})
    while counted and await connection.fetchval("SELECT hourly_count(now(), 500)"):
        pass
    wrong = {}
    async with connection.transaction(isolation="repeatable_read"):
        w = world(base, await connection.fetchval("SELECT now()"))
        for name, text in seed_queries().items():
            found = comparable(await answers(connection, name, text, w))
            expected = comparable(TRUTH[name](w))
            if found != expected:
                wrong[name] = {
                    "only found": [row for row in found if row not in expected],
                    "only expected": [row for row in expected if row not in found],
                }
    await connection.close()
    assert wrong == {}
