"""What sources say of people becomes one dated history, whatever the order of arrival."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from builders import T0, at, event

from jupyterhub_metrics.model import PERSON_FIELDS
from jupyterhub_metrics.store import PEOPLE_SOURCES, Person, Statement, Store

PAGE = (Path(__file__).parents[2] / "docs" / "people.md").read_text(encoding="utf-8")
DAY = 86400.0
MONTH = 31 * DAY


def said(seconds: float, source: str = "file", username: str = "ada", **fields: Any) -> Statement:
    return Statement("campus", username, source, at(seconds), fields)


async def history(dsn: str, username: str = "ada") -> list[dict[str, Any]]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT * FROM user_history WHERE username = $1 ORDER BY valid_from", username
    )
    await connection.close()
    return [dict(row) for row in rows]


async def only_user(dsn: str) -> dict[str, Any]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT * FROM users")
    await connection.close()
    assert len(rows) == 1
    return dict(rows[0])


def holds(statements: Sequence[Statement], seconds: float) -> dict[str, str | None]:
    """What must be known at one moment, found the slow way."""
    known: dict[str, str | None] = {}
    for field in PERSON_FIELDS:
        for source in PEOPLE_SOURCES:
            told = [
                (statement.said_at, statement.fields[field] or "")
                for statement in statements
                if statement.source == source
                and field in statement.fields
                and statement.said_at <= at(seconds)
            ]
            value = max(told, default=(None, ""))[1]
            if value:
                known[field] = value
                break
        else:
            known[field] = None
    return known


async def test_facts_of_auth_state_reach_users(store: Store, postgres_dsn: str) -> None:
    facts = {"email": "ada@uni.example", "full_name": "Ada Lovelace", "department": "Mathematics"}
    await store.ingest([event("requested", facts=facts), event("stopped", 60)])
    assert await only_user(postgres_dsn) == {
        "email": "ada@uni.example",
        "user_id": "ada",
        "full_name": "Ada Lovelace",
        "department": "Mathematics",
        "job_title": None,
        "first_seen": T0,
        "last_seen": at(60),
        "hub": "campus",
        "username": "ada",
        "user_email": "ada@uni.example",
    }


async def test_a_user_of_whom_nobody_told_is_listed_by_name(
    store: Store, postgres_dsn: str
) -> None:
    await store.ingest([event("requested"), event("stopped", 60)])
    user = await only_user(postgres_dsn)
    assert user["email"] is user["full_name"] is user["department"] is user["job_title"] is None
    assert user["user_email"] == "ada"


async def test_someone_who_never_had_a_session_was_never_seen(
    store: Store, postgres_dsn: str
) -> None:
    await store.record_people([said(0, department="Physics")])
    user = await only_user(postgres_dsn)
    assert user["department"] == "Physics"
    assert user["first_seen"] is user["last_seen"] is None


async def test_whoever_runs_a_server_is_seen_now(store: Store, postgres_dsn: str) -> None:
    await store.ingest([event("requested")])
    connection = await asyncpg.connect(postgres_dsn)
    assert await connection.fetchval("SELECT last_seen = now() FROM users")
    await connection.close()


async def test_what_one_source_does_not_know_does_not_erase_anothers(store: Store) -> None:
    await store.record_people([said(0, "pod", email="ada@pod", full_name="Ada of the pod")])
    await store.record_people([said(1, "file", email=None, department="Physics")])
    await store.record_people([said(2, "graph", full_name="Ada Lovelace", department=None)])
    assert await store.people("campus") == [
        Person("ada", "ada@pod", "Ada Lovelace", "Physics", None)
    ]


async def test_a_move_to_another_department_is_dated(store: Store, postgres_dsn: str) -> None:
    await store.record_people([said(0, email="ada@uni", department="Physics")])
    await store.record_people([said(DAY, email="ada@uni", department="Physics")])
    await store.record_people([said(2 * DAY, department="Chemistry")])
    rows = await history(postgres_dsn)
    assert [(row["department"], row["valid_from"], row["valid_to"]) for row in rows] == [
        ("Physics", T0, at(2 * DAY)),
        ("Chemistry", at(2 * DAY), None),
    ]
    assert {row["email"] for row in rows} == {"ada@uni"}


async def test_a_source_takes_back_what_it_said(store: Store, postgres_dsn: str) -> None:
    await store.record_people([said(0, department="Physics")])
    await store.record_people([said(DAY, department=None)])
    await store.record_people([said(2 * DAY, department="Physics")])
    rows = await history(postgres_dsn)
    assert [(row["valid_from"], row["valid_to"]) for row in rows] == [
        (T0, at(DAY)),
        (at(2 * DAY), None),
    ]


async def test_there_and_back_again_is_kept(store: Store, postgres_dsn: str) -> None:
    for day, department in enumerate(["Physics", "Chemistry", "Physics", "Chemistry"]):
        await store.record_people([said(day * DAY, department=department)])
    departments = [row["department"] for row in await history(postgres_dsn)]
    assert departments == ["Physics", "Chemistry", "Physics", "Chemistry"]


async def test_what_is_said_every_day_takes_one_row_a_month(
    store: Store, postgres_dsn: str
) -> None:
    for day in range(0, 90, 3):
        await store.record_people([said(day * DAY, department="Physics")])
    connection = await asyncpg.connect(postgres_dsn)
    assert await connection.fetchval("SELECT count(*) FROM people_said") == 3
    await connection.close()
    assert len(await history(postgres_dsn)) == 1


@pytest.mark.parametrize("seed", range(8))
async def test_the_history_does_not_depend_on_the_order_of_arrival(
    store: Store, postgres_dsn: str, seed: int
) -> None:
    """Nor on the batches, nor on what comes twice; and it is what the slow way finds."""
    dice = random.Random(seed)
    statements = [
        said(
            moment * MONTH + dice.choice([0.0, DAY]),
            source,
            **{
                field: dice.choice([None, f"{field} A", f"{field} B"])
                for field in dice.sample(PERSON_FIELDS, 2)
            },
        )
        for source in PEOPLE_SOURCES
        for moment in range(4)
    ]
    arriving = [*statements, *dice.sample(statements, 6)]
    dice.shuffle(arriving)
    while arriving:
        batch = [arriving.pop() for _ in range(min(len(arriving), dice.randint(1, 5)))]
        await store.record_people(batch)
    rows = await history(postgres_dsn)
    for seconds in (moment * MONTH + part for moment in range(5) for part in (0, DAY, 2 * DAY)):
        now = at(seconds)
        found = [
            {field: row[field] for field in PERSON_FIELDS}
            for row in rows
            if row["valid_from"] <= now and (row["valid_to"] is None or row["valid_to"] > now)
        ]
        expected = holds(statements, seconds)
        assert found == ([expected] if any(expected.values()) else [])


async def test_another_order_of_sources_counts_at_once_and_for_the_past(
    store: Store, postgres_dsn: str
) -> None:
    await store.record_people([said(0, "file", department="Physics")])
    await store.record_people([said(DAY, "graph", department="Chemistry")])
    assert [person.department for person in await store.people("campus")] == ["Physics"]
    order = ["graph", "file", "pod", "auth_state"]
    await store.order_people_sources(order)
    assert await store.people_sources() == order
    assert [row["department"] for row in await history(postgres_dsn)] == ["Physics", "Chemistry"]


async def test_the_same_event_again_changes_nothing(store: Store, postgres_dsn: str) -> None:
    told = event("requested", facts={"department": "Physics"})
    await store.ingest([told])
    before = await history(postgres_dsn)
    await store.ingest([told])
    assert await history(postgres_dsn) == before


async def test_the_documented_query_gives_each_session_the_department_of_its_day(
    store: Store, postgres_dsn: str
) -> None:
    await store.record_people([said(-DAY, department="Physics")])
    await store.record_people([said(DAY / 2, department="Chemistry")])
    for start, hours in ((-2 * DAY, 1), (0.0, 2), (DAY, 4)):
        session = {"started": start}
        kinds = (("requested", start), ("ready", start), ("stopped", start + hours * 3600))
        await store.ingest([event(kind, moment, **session) for kind, moment in kinds])
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    connection = await asyncpg.connect(postgres_dsn)
    rows = await connection.fetch(query)
    await connection.close()
    assert {row["department"]: float(row["hours"]) for row in rows} == {
        None: 1.0,
        "Physics": 2.0,
        "Chemistry": 4.0,
    }


@pytest.mark.parametrize("view", ["users", "user_history"])
async def test_the_columns_and_only_they_are_documented(
    store: Store, postgres_dsn: str, view: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    columns = await connection.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1", view
    )
    await connection.close()
    short = {"timestamp with time zone": "timestamptz"}
    types = {row["column_name"]: short.get(row["data_type"], row["data_type"]) for row in columns}
    section = PAGE.partition(f"### `{view}`\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    documented = dict(re.findall(r"^\| `([a-z_]+)` \| (\w+) \|", section, re.MULTILINE))
    assert documented == types
