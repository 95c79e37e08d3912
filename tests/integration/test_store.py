"""Events in, sessions out, over a real PostgreSQL; and what is said when it is away."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest
from builders import at, event
from databases import with_database

from jupyterhub_metrics.errors import ConfigurationError, DatabaseUnavailable, SchemaMismatch
from jupyterhub_metrics.store import EmbeddedServer, Store, open_store
from jupyterhub_metrics.wire import event_from_wire

ODD_NAMES = [
    "o'brien\"; drop table sessions; --",
    "ünïcødé 用户",
    "🦉" * 60,
    "x" * 255,
    "100%s",
    "back\\slash",
    " spaces  ",
    "tab\tnew\nline",
    "{a,b}",
]


async def one_session(store: Store, username: str = "ada"):
    found = await store.sessions_of_user("campus", username, at(-100), at(10_000), limit=10)
    assert len(found) == 1
    return found[0]


async def test_a_start_and_a_stop_make_one_exact_session(store: Store) -> None:
    facts = {
        "image": "quay.io:443/jupyter/scipy:2026-01",
        "groups": ["physics"],
        "user_options": {"profile": "big"},
        "memory_limit_bytes": 2**33,
        "cpu_limit_cores": 1.5,
        "gpus": 1,
    }
    batch = [
        event("requested", facts=facts),
        event("ready", 12.25, facts={"node": "n1"}),
        event("stopped", 3600, reason="stopped_by_user", actor="ada", exit_status=0),
    ]
    assert (await store.ingest(batch)).new == 3
    session = await one_session(store)
    assert session.state == "ended"
    assert (session.started_at, session.ready_at) == (at(0), at(12.25))
    assert session.ended_after == session.ended_at == session.ended_before == at(3600)
    assert (session.end_reason, session.end_source, session.ended_by) == (
        "stopped_by_user",
        "hub",
        "ada",
    )
    assert (session.image_name, session.image_tag) == ("quay.io:443/jupyter/scipy", "2026-01")
    assert (session.groups, session.user_options) == (("physics",), {"profile": "big"})
    assert (session.memory_limit_bytes, session.cpu_limit_cores, session.gpus) == (2**33, 1.5, 1)
    assert (session.node, session.inferred, session.simulated) == ("n1", False, False)
    assert session.namespace is None


async def test_the_same_events_again_are_received_and_not_new(store: Store) -> None:
    batch = [event("requested"), event("ready", 1)]
    await store.ingest(batch)
    before = await one_session(store)
    assert (await store.ingest([])).received == 0
    result = await store.ingest([*batch, *batch])
    assert (result.received, result.new, result.refused) == (4, 0, ())
    assert await one_session(store) == before


async def test_a_late_exact_stop_replaces_an_earlier_correction(store: Store) -> None:
    guess = event("corrected", 50, bounds=(50, 350), source="hub_api", reason="died")
    await store.ingest([event("requested"), event("ready", 5), guess])
    guessed = await one_session(store)
    assert (guessed.ended_at, guessed.ended_before, guessed.inferred) == (at(50), at(350), True)
    await store.ingest([event("stopped", 200, reason="stopped_by_user")])
    exact = await one_session(store)
    assert (exact.ended_at, exact.ended_before, exact.inferred) == (at(200), at(200), False)
    assert exact.end_reason == "stopped_by_user"


async def test_a_start_that_the_hub_calls_failed_was_not_ready_whatever_its_api_showed(
    store: Store,
) -> None:
    shown = event("ready", 3, bounds=(0, 3), source="hub_api")
    cancelled = event("failed", 4, reason="cancelled")
    await store.ingest([event("requested"), shown, cancelled])
    [session] = await store.sessions_of_user("campus", "ada", at(-1), at(100), limit=10)
    assert (session.state, session.seconds(at(100))) == ("failed", 0.0)


async def test_a_start_that_a_check_calls_failed_was_ready_if_a_check_saw_it_so(
    store: Store,
) -> None:
    shown = event("ready", 3, bounds=(0, 3), source="hub_api")
    missed = event("failed", 4, bounds=(4, 9), source="hub_api", reason="unseen")
    await store.ingest([event("requested"), shown, missed])
    [session] = await store.sessions_of_user("campus", "ada", at(-1), at(100), limit=10)
    assert session.state == "ended"


async def test_a_rejected_request_is_kept_and_makes_no_session(
    store: Store, postgres_dsn: str
) -> None:
    await store.ingest([event("rejected", reason="throttled")])
    connection = await asyncpg.connect(postgres_dsn)
    assert await connection.fetchval("SELECT count(*) FROM events") == 1
    assert await connection.fetchval("SELECT count(*) FROM sessions") == 0
    await connection.close()


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_an_odd_name_comes_back_as_it_was(name: str, store: Store) -> None:
    sent = event("requested", username=name, server_name=name, facts={"display_name": name})
    await store.ingest([event_from_wire(json.loads(sent.to_json()))])
    session = await one_session(store, name)
    assert (session.username, session.server_name, session.display_name) == (name, name, name)


async def test_a_name_that_no_row_can_hold_has_no_sessions(store: Store) -> None:
    assert await store.sessions_of_user("campus", "a\0b", at(-10), at(1000), limit=10) == []


async def test_odd_facts_are_kept_as_they_were(store: Store, postgres_dsn: str) -> None:
    facts = {
        "": {"": []},
        "%s $1 '\"\\": "%s $1 '\"\\",
        "deep": {"a": [None, {"b": 10**30, "c": 1e-300, "d": -0.5}]},
        "gpus": 5e-324,
        "memory_limit_bytes": 2**63 - 1,
        "memory_guarantee_bytes": 1.5,
    }
    await store.ingest([event_from_wire(json.loads(event("requested", facts=facts).to_json()))])
    connection = await asyncpg.connect(postgres_dsn)
    assert json.loads(await connection.fetchval("SELECT facts FROM events")) == facts
    session = await one_session(store)
    assert (session.memory_limit_bytes, session.gpus) == (2**63 - 1, 5e-324)
    await connection.close()


async def test_an_event_that_the_database_refuses_does_not_take_others_with_it(
    store: Store,
) -> None:
    bad = event("requested", username="bob", facts={"note": float("nan")})
    worse = event("requested", username="eve", exit_status=2**40)
    result = await store.ingest([event("requested"), bad, event("ready", 3), worse])
    assert (result.received, result.new) == (4, 2)
    assert [refusal.index for refusal in result.refused] == [1, 3]
    assert (await one_session(store)).state == "running"


async def test_sessions_overlap_a_half_open_interval_newest_first(store: Store) -> None:
    for start in (0, 100, 200):
        await store.ingest(
            [event("requested", start, started=start), event("stopped", start + 50, started=start)]
        )

    async def starts(since: float, until: float, limit: int = 10):
        found = await store.sessions_of_user("campus", "ada", at(since), at(until), limit=limit)
        return [(session.started_at - at(0)).total_seconds() for session in found]

    assert await starts(-10, 1000) == [200, 100, 0]
    assert await starts(-10, 1000, limit=2) == [200, 100]
    assert await starts(50, 200) == [100]
    assert await starts(49, 201) == [200, 100, 0]
    other = await store.sessions_of_user("other-hub", "ada", at(-10), at(1000), limit=10)
    assert other == []


def with_password(dsn: str, password: str) -> str:
    parts = urlsplit(dsn)
    _, at_sign, address = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{password}{at_sign}{address}"))


async def test_a_wrong_password_is_named_without_being_shown(postgres_dsn: str) -> None:
    user = urlsplit(postgres_dsn).username
    with pytest.raises(DatabaseUnavailable) as refused:
        await open_store(with_password(postgres_dsn, "hunter2"))
    assert f'password authentication failed for user "{user}"' in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/x", DatabaseUnavailable),
        ("postgresql://u:hunter2@/x?host=/no/such/folder", DatabaseUnavailable),
        ("postgresql://u:hunter2@no-such-host.invalid/x", DatabaseUnavailable),
        ("postgresql://u:hunter2@127.0.0.1:port/x", ConfigurationError),
        ("postgresql://u:hunter2@[::1/x", ConfigurationError),
        ("postgresql://u:hunter2@127.0.0.1:1/x?sslmode=nonsense", ConfigurationError),
        ("mysql://u:hunter2@127.0.0.1/x", ConfigurationError),
    ],
)
async def test_a_useless_address_gives_one_line_without_the_password(
    dsn: str, expected: type[Exception]
) -> None:
    with pytest.raises(expected) as refused:
        await open_store(dsn)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_missing_database_is_named(database_server: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="no_such_database"):
        await open_store(with_database(database_server, "no_such_database"))


async def test_a_table_lost_while_running_is_a_schema_mismatch(
    store: Store, postgres_dsn: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("DROP TABLE ended_sessions CASCADE")
    await connection.close()
    with pytest.raises(SchemaMismatch, match=r"lost .*(session_rows|ended_sessions)"):
        await store.ingest([event("requested")])


async def test_broken_connections_are_replaced_without_the_caller_noticing(
    store: Store, postgres_dsn: str
) -> None:
    await asyncio.gather(*(store.ping() for _ in range(8)))
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert (await store.ingest([event("requested")])).new == 1
    await connection.close()


async def test_ingest_works_again_when_a_database_comes_back(short_dir: Path) -> None:
    server = EmbeddedServer(short_dir)
    dsn = urlsplit(await server.start())
    # the server's own link to its socket's folder outlives a restart
    stable = urlunsplit(dsn._replace(query=f"host={quote(str(short_dir / 'postgres/socket'))}"))
    store = await open_store(stable)
    try:
        await store.ingest([event("requested")])
        await server.stop()
        with pytest.raises(DatabaseUnavailable, match="not available"):
            await store.ingest([event("ready", 5)])
        with pytest.raises(DatabaseUnavailable):
            await store.ping()
        await server.start()
        assert (await store.ingest([event("requested"), event("ready", 5)])).new == 1
        assert (await one_session(store)).state == "running"
    finally:
        await store.close()
        await server.stop()
