"""The schema is brought up to date once, and one that the code does not know is refused."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace

import asyncpg
import pytest
from builders import at, event
from contents import check_functions

from jupyterhub_metrics.errors import SchemaMismatch
from jupyterhub_metrics.store import Store, UpkeepRules, open_store
from jupyterhub_metrics.store.migrations import (
    Dialect,
    Migration,
    applied_migrations,
    dialect_of,
    known_migrations,
    migrate,
)
from jupyterhub_metrics.store.queries import all_queries
from jupyterhub_metrics.store.schema import read_schema

NEXT = len(known_migrations("plain")) + 1


@pytest.fixture
async def connection(postgres_dsn: str):
    opened = await asyncpg.connect(postgres_dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def known(connection) -> Sequence[Migration]:
    """The migrations of this code for this engine."""
    return (await read_schema(connection)).known


async def test_every_named_query_is_understood_by_a_real_server(connection, known, engine) -> None:
    await migrate(connection, known)
    async with connection.transaction():
        # makes the table that others of its transaction read
        await connection.execute(all_queries()["keep_activity"])
        for name, text in all_queries().items():
            if engine != "plain" or not name.endswith("_timescale"):
                assert await connection.prepare(text), name


async def test_all_that_functions_name_is_there_in_the_end(connection, known) -> None:
    await migrate(connection, known)
    await check_functions(connection)


async def test_migrating_twice_applies_nothing_more(connection, known) -> None:
    assert await migrate(connection, known) == known
    assert await migrate(connection, known) == []


async def test_nothing_is_compiled_for_whoever_connects_from_then_on(
    postgres_dsn: str, connection
) -> None:
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {database} SET jit = on")
    store = await open_store(postgres_dsn)
    later = await asyncpg.connect(postgres_dsn)
    asked = "SELECT setting, source FROM pg_settings WHERE name = 'jit'"
    assert tuple(await later.fetchrow(asked)) == ("off", "database")
    await later.close()
    async with store._pool.acquire() as own:
        assert tuple(await own.fetchrow(asked)) == ("off", "database")
    await store.close()


async def test_what_others_in_the_database_have_chosen_stays(
    postgres_dsn: str, connection, caplog
) -> None:
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(
        "CREATE SCHEMA theirs; CREATE TABLE theirs.notes (); "
        f"ALTER DATABASE {database} SET jit = on"
    )
    store = await open_store(postgres_dsn)
    later = await asyncpg.connect(postgres_dsn)
    assert await later.fetchval("SHOW jit") == "on"
    # an embedded server cannot compile at all
    can = await later.fetchval("SELECT pg_jit_available()")
    assert ("found jit on" in caplog.text) == can
    await later.close()
    await store.close()


async def test_who_does_not_own_the_database_migrates_it_too(connection, known) -> None:
    name = "guest_" + uuid.uuid4().hex[:12]
    schema = await connection.fetchval("SELECT quote_ident(current_schema())")
    await connection.execute(
        f"CREATE ROLE {name}; GRANT CREATE, USAGE ON SCHEMA {schema} TO {name}; SET ROLE {name}"
    )
    assert await migrate(connection, known) == known
    await connection.execute(f"RESET ROLE; DROP OWNED BY {name}; DROP ROLE {name}")


async def test_services_that_start_at_once_migrate_once(postgres_dsn: str, connection) -> None:
    stores = await asyncio.gather(*(open_store(postgres_dsn) for _ in range(4)))
    assert [entry.version for entry in await applied_migrations(connection)] == list(range(1, NEXT))
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_failing_migration_leaves_nothing_and_keeps_what_came_before(
    connection, known
) -> None:
    broken = Migration(NEXT, "broken", "CREATE TABLE half (); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, [*known, broken])
    assert len(await applied_migrations(connection)) == len(known)
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    mended = Migration(NEXT, "broken", "CREATE TABLE half ();")
    assert await migrate(connection, [*known, mended]) == [mended]


async def test_an_edited_migration_is_refused_by_name(postgres_dsn: str, connection, known) -> None:
    await migrate(connection, known)
    await connection.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
    with pytest.raises(SchemaMismatch, match=known[0].label):
        await open_store(postgres_dsn)


async def test_a_newer_schema_is_refused(postgres_dsn: str, connection, known) -> None:
    later = Migration(NEXT, "later", "CREATE TABLE later ();")
    await migrate(connection, [*known, later])
    with pytest.raises(SchemaMismatch, match=f"found schema version {NEXT}; expected at most"):
        await open_store(postgres_dsn, migrate="always")


async def test_an_older_schema_is_refused_with_the_command_that_helps(connection, known) -> None:
    await migrate(connection, known)
    later = Migration(NEXT, "later", "CREATE TABLE later ();")
    with pytest.raises(SchemaMismatch, match="jupyterhub-metrics db migrate"):
        await migrate(connection, [*known, later], only_if_empty=True)
    assert await connection.fetchval("SELECT to_regclass('later')") is None


async def test_a_database_without_schema_is_refused_where_none_may_be_made(
    postgres_dsn: str, connection
) -> None:
    with pytest.raises(SchemaMismatch, match="found no schema"):
        await open_store(postgres_dsn, migrate="never")
    assert await applied_migrations(connection) == []


@pytest.mark.parametrize(
    "theirs",
    ["CREATE TABLE sessions (id integer)", "CREATE TABLE schema_migrations (version text)"],
)
async def test_another_programs_tables_are_left_alone(
    theirs: str, postgres_dsn: str, connection
) -> None:
    await connection.execute(theirs)
    with pytest.raises(SchemaMismatch, match="of our own"):
        await open_store(postgres_dsn)
    assert await connection.fetchval("SELECT to_regclass('events')") is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET reason = 'x'",
        "DELETE FROM events",
        *(
            f"{change} {table} {rest if change == 'UPDATE' else ''}"
            for table, rest in (
                ("event_rows", "SET node_id = 2"),
                ("servers", "SET hub = 'x'"),
                ("words", "SET word = 'x'"),
                ("fact_sets", "SET facts = '{}'"),
                ("circumstances", "SET reason = 'x'"),
            )
            for change in ("UPDATE", "DELETE FROM", "TRUNCATE")
        ),
    ],
)
async def test_what_was_told_is_append_only(change: str, store: Store, connection) -> None:
    await store.ingest([event("requested", facts={"node": "n1"})])
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await connection.execute(change)
    assert await connection.fetchval("SELECT facts ->> 'node' FROM events") == "n1"


def test_the_same_migration_with_other_line_ends_has_the_same_checksum(tmp_path) -> None:
    (tmp_path / "0001_a.sql").write_bytes(b"SELECT 1;\nSELECT 2;\n")
    unix = known_migrations("plain", tmp_path)[0].checksum
    (tmp_path / "0001_a.sql").write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    assert known_migrations("plain", tmp_path)[0].checksum == unix


async def test_a_database_keeps_to_the_dialect_of_its_schema(store: Store, connection) -> None:
    ours: Dialect = "plain" if store.capabilities.engine == "plain" else "timescale"
    applied = await applied_migrations(connection)
    assert {entry.dialect for entry in applied} == {None, ours}
    plain = store.capabilities.without_timescaledb()
    has_it = replace(plain, timescaledb_version="2.23.0", timescaledb_licence="apache")
    if ours == "plain":
        assert dialect_of(has_it, applied) == "plain"
    else:
        with pytest.raises(SchemaMismatch, match="made with TimescaleDB in a database without it"):
            dialect_of(plain, applied)


async def test_timescaledb_that_came_later_is_not_used(postgres_dsn: str, connection) -> None:
    await migrate(connection, known_migrations("plain"))
    opened = await open_store(postgres_dsn)
    assert opened.capabilities.engine == "plain"
    assert (await opened.ingest([event("requested")])).new == 1
    assert (await opened.upkeep(UpkeepRules(), at(0))).lag_seconds["event_partitions"] == 0
    await opened.close()


def test_each_dialect_gets_its_twin(tmp_path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1;")
    (tmp_path / "0002_b.plain.sql").write_text("SELECT 2;")
    (tmp_path / "0002_b.timescale.sql").write_text("SELECT 3;")
    (tmp_path / "0003_c.sql").write_text("SELECT 4;")
    assert [one.script[7] for one in known_migrations("plain", tmp_path)] == ["1", "2", "4"]
    assert [one.script[7] for one in known_migrations("timescale", tmp_path)] == ["1", "3", "4"]


@pytest.mark.parametrize(
    "names",
    [
        ["0001_a.plain.sql"],
        ["0001_a.plain.sql", "0001_a.sql"],
        ["0001_a.plain.sql", "0001_b.timescale.sql"],
        ["0001_a.sql", "0001_b.sql"],
    ],
)
def test_a_twin_without_its_other_is_refused(names: list[str], tmp_path) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="expected one file, or plain and timescale"):
        known_migrations("plain", tmp_path)


@pytest.mark.parametrize("name", ["0002_a.sql", "0001-a.sql", "1_a.sql"])
def test_a_migration_out_of_order_is_refused(name: str, tmp_path) -> None:
    (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="expected number 0001"):
        known_migrations("plain", tmp_path)
