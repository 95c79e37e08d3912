"""Sessions are computed again from events, whatever was done to them; verify only looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from builders import at
from contents import contents, fill

from jupyterhub_metrics.errors import SchemaMismatch
from jupyterhub_metrics.model import session_id
from jupyterhub_metrics.store.rebuilding import rebuild, verify

FIRST = session_id("campus", "user-0", "", at(0))


def unseen(label: str, total: int) -> Callable[[int], None]:
    return lambda amount: None


@pytest.fixture
async def filled(postgres_dsn: str) -> str:
    await fill(postgres_dsn, sessions=9)
    return postgres_dsn


async def run(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


DAMAGE = {
    "another end": (
        "UPDATE ended_sessions SET ended_at = ended_at + interval '1 second'",
        "differs",
    ),
    "another image": (
        "UPDATE open_sessions SET description_id = (SELECT max(id) FROM descriptions) + 1",
        "differs",
    ),
    "lost open ones": ("DELETE FROM open_sessions", "is missing"),
    "lost ended ones": ("DELETE FROM ended_sessions", "is missing"),
    "made up": (
        "INSERT INTO ended_sessions (id, started_at, ended_at, server_id, description_id, "
        "request_id, state, simulated, inferred) SELECT gen_random_uuid(), started_at, ended_at, "
        "server_id, description_id, request_id, state, false, false FROM ended_sessions LIMIT 1",
        "has no events",
    ),
    "made up on a day without events": (
        "INSERT INTO open_sessions (id, started_at, server_id, description_id, request_id, state, "
        "simulated, inferred) VALUES (gen_random_uuid(), '2020-01-01Z', 1, 1, 1, 'running', "
        "false, false)",
        "has no events",
    ),
}


async def test_what_is_right_is_found_right_and_stays(filled: str) -> None:
    before = await contents(filled)
    verdict = await verify(filled, unseen)
    assert (verdict.sessions, verdict.differences) == (9, [])
    done = await rebuild(filled, unseen)
    assert (done.sessions, done.removed) == (9, 0)
    assert await contents(filled) == before


@pytest.mark.parametrize("what", DAMAGE)
async def test_every_damage_is_found_and_put_right(filled: str, what: str) -> None:
    before = await contents(filled)
    statement, how = DAMAGE[what]
    await run(filled, statement)
    damaged = await contents(filled)
    assert damaged != before
    wrong = (await verify(filled, unseen)).differences
    assert {difference.how for difference in wrong} == {how}
    assert await contents(filled) == damaged
    await rebuild(filled, unseen)
    assert (await verify(filled, unseen)).differences == []
    after = await contents(filled)
    for name in ("events", "container_observations", "group_memberships"):
        assert after[name] == before[name]


async def test_activity_is_kept(filled: str) -> None:
    before = (await contents(filled))["session_activity"]
    await run(filled, "UPDATE open_sessions SET node_id = NULL")
    await rebuild(filled, unseen)
    assert (await contents(filled))["session_activity"] == before != []


async def test_progress_counts_sessions(filled: str) -> None:
    said: list[tuple[str, int]] = []
    counted = 0

    def begin(label: str, total: int) -> Callable[[int], None]:
        said.append((label, total))

        def advance(amount: int) -> None:
            nonlocal counted
            counted += amount

        return advance

    await rebuild(filled, begin)
    await verify(filled, begin)
    assert said == [("rebuild", 9), ("verify", 9)]
    assert counted == 18


@pytest.mark.parametrize("work", [rebuild, verify])
async def test_a_database_without_schema_is_refused(postgres_dsn: str, work: Any) -> None:
    with pytest.raises(SchemaMismatch, match="jupyterhub-metrics db migrate"):
        await work(postgres_dsn, unseen)
