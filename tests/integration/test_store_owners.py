"""Whose each server is and since when each user is here: kept, and always what sessions say."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from builders import T0, at, event

from jupyterhub_metrics.store import Statement, Store

DAMAGE = (
    "UPDATE server_owners SET user_email = 'somebody@else'",
    "DELETE FROM server_owners",
    "UPDATE user_starts SET first_at = first_at - interval '1 second'",
    "DELETE FROM user_starts",
)


async def ask(dsn: str, question: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(question)
    await connection.close()
    return [tuple(row) for row in rows]


async def say(store: Store, email: str | None, username: str = "ada", seconds: float = 0) -> None:
    await store.record_people(
        [Statement("campus", username, "file", at(seconds), {"email": email})]
    )


def lived(started: float, **rest: Any) -> list[Any]:
    rest["started"] = started
    return [
        event("requested", started, **rest),
        event("ready", started + 1, **rest),
        event("stopped", started + 60, **rest),
    ]


SEEN = "SELECT username, first_seen, last_seen FROM users ORDER BY username"
OWNED = "SELECT user_email, session_start FROM user_sessions ORDER BY session_start"


async def test_a_session_told_late_moves_the_first_and_not_the_last(
    store: Store, postgres_dsn: str
) -> None:
    await store.ingest(lived(3600))
    await store.ingest(lived(0, server_name="gpu"))
    assert await ask(postgres_dsn, SEEN) == [("ada", T0, at(3660))]


async def test_an_email_is_that_of_now_whenever_it_was_told(
    store: Store, postgres_dsn: str
) -> None:
    await say(store, "ada@x")
    await store.ingest(lived(0))
    assert await ask(postgres_dsn, OWNED) == [("ada@x", T0)]
    await say(store, "lovelace@x", seconds=5)
    await store.ingest(lived(3600, server_name="gpu"))
    assert await ask(postgres_dsn, OWNED) == [("lovelace@x", T0), ("lovelace@x", at(3600))]
    await say(store, None, seconds=9)
    assert await ask(postgres_dsn, OWNED) == [("ada", T0), ("ada", at(3600))]


async def test_a_renamed_user_leaves_nothing_under_the_name_before(
    store: Store, postgres_dsn: str
) -> None:
    await store.ingest(lived(0))
    await store.ingest(lived(3600))
    await say(store, "countess@x", "countess")
    renamed = {"facts": {"username": "countess"}, "source": "hub_api"}
    await store.ingest([event("renamed", 100, **renamed)])
    assert await ask(postgres_dsn, SEEN) == [
        ("ada", at(3600), at(3660)),
        ("countess", T0, at(60)),
    ]
    assert await ask(postgres_dsn, OWNED) == [("countess@x", T0), ("ada", at(3600))]
    await store.ingest([event("renamed", 3700, started=3600, **renamed)])
    assert await ask(postgres_dsn, SEEN) == [("countess", T0, at(3660))]
    assert await ask(postgres_dsn, "SELECT username FROM server_owners") == [("countess",)]


async def test_a_request_that_was_rejected_makes_nobody_a_user(
    store: Store, postgres_dsn: str
) -> None:
    await store.ingest([event("rejected", reason="throttled")])
    assert await ask(postgres_dsn, SEEN) == []


@pytest.mark.parametrize("damage", DAMAGE)
async def test_what_is_kept_wrongly_is_found_and_put_right(
    store: Store, postgres_dsn: str, damage: str
) -> None:
    await say(store, "ada@x")
    await store.ingest(lived(0))
    before = await ask(postgres_dsn, SEEN), await ask(postgres_dsn, OWNED)
    assert not await store.verify(at(3600))
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(damage)
    await connection.close()
    assert (await store.verify(at(3600))).users == {("campus", "ada")}
    await store.rebuild(at(3600))
    assert not await store.verify(at(3600))
    assert (await ask(postgres_dsn, SEEN), await ask(postgres_dsn, OWNED)) == before


async def test_sessions_are_numbered_once_for_each_server(store: Store, postgres_dsn: str) -> None:
    told = []
    for number in range(300):
        facts = {"node": f"n{number % 3}", "pod_name": f"jupyter-ada-{number % 2}"}
        told += lived(number * 3600, server_name=f"s{number % 2}", facts=facts)
    await store.ingest(told)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("ANALYZE")
    asked = "SELECT session_id FROM user_sessions WHERE user_email = 'ada'"
    found = await connection.fetch(asked)
    assert sorted(row[0] for row in found) == sorted(list(range(1, 51)) * 6)
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {asked}")
    await connection.close()
    counted = [node for node in nodes(json.loads(explained)[0]["Plan"]) if is_numbering(node)]
    assert sum(node["Actual Loops"] for node in counted) == 2


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]


def is_numbering(node: dict[str, Any]) -> bool:
    return bool(node["Node Type"] == "WindowAgg")
