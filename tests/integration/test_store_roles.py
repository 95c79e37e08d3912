"""The four roles on a real server: each connects and tries what it must and must not do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest
from builders import at, event
from databases import with_database
from test_store_command import db, one_line

from jupyterhub_metrics.errors import ConfigurationError, SchemaMismatch
from jupyterhub_metrics.service.access import Viewer
from jupyterhub_metrics.service.privacy import Privacy
from jupyterhub_metrics.store import (
    EmbeddedServer,
    Observation,
    Statement,
    Store,
    UpkeepRules,
    open_store,
)
from jupyterhub_metrics.store.checks import Activity
from jupyterhub_metrics.store.roles import (
    ROLES,
    create_roles,
    read_passwords,
    read_roles,
    role_names,
)
from jupyterhub_metrics.store.scram import scram_verifier

DENIED = asyncpg.InsufficientPrivilegeError
BASE_TABLES = ("people_said", "people_history", "people_sources", "pseudonym_key")


class Roles:
    """The roles of one database, each with a password."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.prefix = f"t{uuid.uuid4().hex[:8]}_"
        self.names = role_names(self.prefix)
        self.passwords = {role: f"password of {role} {secrets.token_hex(8)}" for role in ROLES}

    async def create(self, reads: str | None = None) -> None:
        await create_roles(self.dsn, self.prefix, passwords=self.passwords, reads=reads)

    def dsn_of(self, role: str) -> str:
        parts = urlsplit(self.dsn)
        login = f"{self.names[role]}:{quote(self.passwords[role], safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))

    @asynccontextmanager
    async def connected(self, role: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.dsn_of(role))
        try:
            yield connection
        finally:
            await connection.close()

    async def tries(self, role: str, *statements: str) -> None:
        """Each of these is denied."""
        async with self.connected(role) as connection:
            for statement in statements:
                # what default_transaction_read_only forbids must be forbidden without it too
                await connection.execute("SET default_transaction_read_only = off")
                with pytest.raises(DENIED):
                    await connection.execute(statement)
                    raise AssertionError(f"{role} may {statement}")


@pytest.fixture
async def roles(postgres_dsn: str) -> AsyncIterator[Roles]:
    made = Roles(postgres_dsn)
    yield made
    connection = await asyncpg.connect(postgres_dsn)
    for name in made.names.values():
        if await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name):
            await connection.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")
    await connection.close()


@pytest.fixture
async def made(roles: Roles, store: Store) -> Roles:
    """The roles of a database with one session, one observation and one person in it."""
    told = event("requested", facts={"email": "ada@uni", "pod_name": "jupyter-ada"})
    await store.ingest([told, event("ready", 5), event("stopped", 60)])
    await store.record_observations(
        "campus",
        at(30),
        [
            Observation(
                "jhub",
                "jupyter-ada",
                told.session_id,
                "ada@uni",
                "Ada",
                "n1",
                "img",
                "img",
                None,
                9,
            )
        ],
    )
    await store.record_memberships("campus", {"staff": ["ada"]}, at(0))
    await store.record_people(
        [Statement("campus", "ada", "file", at(0), {"department": "Physics"})]
    )
    await roles.create()
    return roles


async def rights_of(roles: Roles, role: str) -> dict[str, set[str]]:
    """The objects by right, as the catalog has it."""
    found: dict[str, set[str]] = {}
    for read in await read_roles(roles.dsn, roles.prefix):
        if read.name == roles.names[role]:
            for right in read.rights:
                for one in right.rights.split(", "):
                    found.setdefault(f"{right.kind} {one}", set()).update(right.objects)
    return found


async def relations(connection: asyncpg.Connection, kinds: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind = ANY (string_to_array($1, ' ')::\"char\"[])",
        kinds,
    )
    return [row["relname"] for row in rows]


async def append_only(roles: Roles) -> list[str]:
    """The tables that a trigger protects from change."""
    connection = await asyncpg.connect(roles.dsn)
    rows = await connection.fetch(
        "SELECT DISTINCT relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        "WHERE tgname LIKE '%append\\_only' AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    await connection.close()
    assert rows
    return [row["relname"] for row in rows]


# -- the reader ----------------------------------------------------------------


async def test_the_reader_reads_every_view_and_every_documented_table(made: Roles) -> None:
    async with made.connected("reader") as reader:
        for name in [*await relations(reader, "v m"), "sessions", "events", "group_memberships"]:
            await reader.fetch(f"SELECT * FROM {name} LIMIT 1")
        assert await reader.fetchval("SELECT email FROM users") == "ada@uni"
        assert await reader.fetchval("SELECT user_name FROM container_observations") == "Ada"
        assert await reader.fetchval("SELECT seconds FROM usage_daily") == 60
        assert await reader.fetchval("SELECT seconds FROM usage_hourly") == 60


USAGE_QUESTIONS = (
    "usage_between({0}, '1 day')",
    "usage_over_time({0}, '1 hour', 'node')",
    "active_users_over_time({0}, '1 hour')",
    "running_servers_over_time({0}, '5 minutes')",
    "nodes_over_time({0}, '1 day')",
    "images_over_time({0}, '1 day')",
    "top_users({0})",
    "usage_by_group({0}, '1 day')",
    "peak_servers_over_time({0}, '1 day')",
    "image_table({0})",
)


async def test_the_reader_asks_every_function_of_usage(made: Roles, store: Store) -> None:
    window = f"'{at(-86_400)}', '{at(86_400)}'"
    for _ in range(9):
        async with made.connected("reader") as reader:
            for question in USAGE_QUESTIONS:
                assert await reader.fetch(f"SELECT * FROM {question.format(window)}"), question
            assert await reader.fetchval("SELECT sum(unique_users) FROM hourly_node_stats") == 1
        await store.upkeep(UpkeepRules(), at(9 * 86_400))


async def test_a_temporary_table_never_comes_before_ours(made: Roles) -> None:
    async with made.connected("owner") as owner:
        pinned = await owner.fetch(
            "SELECT DISTINCT setting FROM pg_proc CROSS JOIN unnest(proconfig) AS setting "
            "WHERE prosecdef AND pronamespace = 'public'::regnamespace "
            "AND setting LIKE 'search_path=%'"
        )
        assert [row["setting"] for row in pinned] == ["search_path=public, pg_temp"]


async def test_the_reader_reads_no_table_behind_them(made: Roles) -> None:
    await made.tries("reader", *(f"SELECT * FROM {name}" for name in BASE_TABLES))


async def test_the_reader_changes_nothing_whatever_it_sets(made: Roles) -> None:
    async with made.connected("reader") as reader:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await reader.execute("CREATE TEMPORARY TABLE mine (one integer)")
        tables = await relations(reader, "r p")
    await made.tries(
        "reader",
        *(f"DELETE FROM {name}" for name in tables),
        *(f"TRUNCATE {name}" for name in tables),
        "DELETE FROM user_history",
        "INSERT INTO people_sources VALUES ('x', 9)",
        "CREATE TABLE mine (one integer)",
        "CREATE TEMPORARY TABLE mine (one integer)",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        f"SET ROLE {made.names['writer']}",
        f"SET ROLE {made.names['owner']}",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT rolpassword FROM pg_authid",
    )
    held = await rights_of(made, "reader")
    assert set(held) == {"schema USAGE", "relation SELECT", "routine EXECUTE"}


async def test_the_limits_of_the_reader_hold_from_its_first_statement(made: Roles) -> None:
    async with made.connected("reader") as reader:
        assert await reader.fetchval("SHOW default_transaction_read_only") == "on"
        assert await reader.fetchval("SHOW statement_timeout") == "1min"
        assert await reader.fetchval("SHOW idle_in_transaction_session_timeout") == "1min"
        await reader.execute("SET statement_timeout = 0")
        with pytest.raises(DENIED):
            await reader.execute("SET temp_file_limit = -1")
    (reader_role,) = [
        role
        for role in await read_roles(made.dsn, made.prefix)
        if role.name == made.names["reader"]
    ]
    assert reader_role.connection_limit == 20


@pytest.mark.parametrize("role", ROLES)
async def test_nothing_is_compiled_for_any_of_them(made: Roles, role: str) -> None:
    async with made.connected(role) as connection:
        found = await connection.fetchrow(
            "SELECT setting, source FROM pg_settings WHERE name = 'jit'"
        )
    assert tuple(found) == ("off", "database user")


# -- the writer, the sampler and the owner ---------------------------------------


async def test_the_writer_runs_the_service(made: Roles) -> None:
    writer = await open_store(made.dsn_of("writer"))
    try:
        later = {"started": 100.0}
        told = event("requested", 100, facts={"department": "Physics"}, **later)
        await writer.ingest([told, event("stopped", 200, **later)])
        assert len(await writer.sessions_of_user("campus", "ada", at(0), at(999), limit=9)) == 2
        await writer.sessions_to_check("campus", [("ada", "", at(0))], at(0))
        assert told.session_id is not None
        await writer.record_activity([Activity(told.session_id, None, at(1), 1.0, None, 1.0)])
        await writer.record_observations(
            "campus",
            at(130),
            [Observation(None, None, told.session_id, "ada", "ada", None, None, None, None, 1.0)],
        )
        await writer.record_memberships("campus", {"staff": ["grace"]}, at(50))
        await writer.record_people(
            [Statement("campus", "ada", "graph", at(9), {"email": "a@b", "department": None})]
        )
        assert [person.username for person in await writer.people("campus")] == ["ada"]
        await writer.ping()
    finally:
        await writer.close()


async def test_the_writer_changes_no_event_and_no_schema(made: Roles) -> None:
    kept = await append_only(made)
    await made.tries(
        "writer",
        "UPDATE events SET username = 'eve'",
        "DELETE FROM events",
        *(f"DELETE FROM {table}" for table in kept),
        *(f"TRUNCATE {table}" for table in kept),
        *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in kept),
        "DROP TABLE group_memberships",
        "CREATE TABLE mine (one integer)",
        "DELETE FROM schema_migrations",
        "UPDATE people_sources SET rank = 9",
        "DELETE FROM pseudonym_key",
        "UPDATE pseudonym_key SET inner_pad = ''",
        "CREATE TEMPORARY TABLE mine (one integer)",
        f"SET ROLE {made.names['owner']}",
    )


RING_FUNCTIONS = {
    "ring_open", "ring_write", "ring_recent", "ring_resize", "ring_clean", "ring_state",
    "record_pod_samples",
}  # fmt: skip


async def test_the_sampler_executes_the_functions_of_the_ring_and_nothing_else(
    made: Roles,
) -> None:
    async with made.connected("sampler") as sampler:
        everything = await relations(sampler, "r p v m")
        routines = [
            row["called"]
            for row in await sampler.fetch(
                "SELECT format('%I(%s)', proname, array_to_string(array_fill('NULL'::text, "
                "ARRAY[pronargs]), ',')) AS called FROM pg_proc "
                "WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' "
                "AND prorettype <> 'trigger'::regtype AND proname <> ALL ($1)",
                list(RING_FUNCTIONS),
            )
        ]
    assert len(everything) > 8
    assert len(routines) > 3
    await made.tries(
        "sampler",
        *(f"SELECT * FROM {name}" for name in everything),
        *(f"SELECT {called}" for called in routines),
        "INSERT INTO monitor_samples_ring (slot, node_flag, node_name) VALUES (1, TRUE, 'n')",
        "CREATE TABLE mine (one integer)",
        "CREATE TEMPORARY TABLE mine (one integer)",
    )
    assert await rights_of(made, "sampler") == {
        "schema USAGE": {"public"},
        "routine EXECUTE": RING_FUNCTIONS,
    }


async def test_the_sampler_runs_rings_that_readers_read(made: Roles) -> None:
    one = '[{"sample_time": 1000, "node_flag": true, "node_name": "n1"}]'
    async with made.connected("sampler") as sampler:
        for name in ("monitor_samples_ring", "performance_metrics"):
            await sampler.execute("SELECT ring_open($1, 5, TRUE, TRUE)", name)
            await sampler.execute("SELECT ring_write($1, $2)", name, one)
            [row] = await sampler.fetch("SELECT * FROM ring_recent($1, 5)", name)
            assert (row["sample_time"], row["source"]) == (1000, "psutil")
            assert await sampler.fetchval("SELECT held FROM ring_state($1)", name) == 1
            await sampler.execute("SELECT ring_resize($1, 3)", name)
            assert await sampler.fetchval("SELECT ring_clean($1, 1)", name) == 1
    await made.tries("sampler", "SELECT * FROM performance_metrics")
    async with made.connected("reader") as reader:
        for name in ("monitor_samples_ring", "performance_metrics"):
            await reader.fetch(f"SELECT * FROM {name}")
    await made.tries("reader", "DELETE FROM performance_metrics")


async def test_the_owner_migrates_and_what_it_makes_is_nobody_elses(made: Roles) -> None:
    async with made.connected("owner") as owner:
        await owner.execute("ALTER TABLE people_said ADD COLUMN note text")
        await owner.execute("CREATE FUNCTION later() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        await owner.execute("CREATE TABLE later_table (one serial)")
        await owner.execute("CREATE VIEW later_view AS SELECT one FROM later_table")
    await made.tries("sampler", "SELECT later()")
    await made.tries("reader", "SELECT * FROM later_view")
    done = db("migrate", JUPYTERHUB_METRICS_DSN=made.dsn_of("owner"))
    assert (done.returncode, done.stderr) == (0, "")
    await made.create()
    async with made.connected("reader") as reader:
        await reader.fetch("SELECT * FROM later_view")
    async with made.connected("writer") as writer:
        await writer.execute("INSERT INTO later_table DEFAULT VALUES")


# -- the command -----------------------------------------------------------------


async def test_to_create_them_again_changes_nothing(made: Roles) -> None:
    before = await read_roles(made.dsn, made.prefix)
    await made.create()
    assert await read_roles(made.dsn, made.prefix) == before


async def test_what_is_printed_is_what_the_catalog_holds(made: Roles) -> None:
    async with made.connected("owner") as owner:
        await owner.execute(f"GRANT DELETE ON sessions TO {made.names['reader']}")
    done = db("roles", "--prefix", made.prefix, JUPYTERHUB_METRICS_DSN=made.dsn)
    assert (done.returncode, done.stderr) == (0, "")
    sections = re.split(r"^(?=\S)", done.stdout, flags=re.MULTILINE)[1:]
    told = dict(zip(ROLES, sections, strict=True))
    assert told["reader"].startswith(f"{made.names['reader']}: logs in\n")
    assert re.search(r"^  SELECT, DELETE +sessions$", told["reader"], re.MULTILINE)
    assert re.search(r"^  connections +at most 20$", told["reader"], re.MULTILINE)
    assert "statement_timeout=60s" in told["reader"]
    only_inserted = re.search(r"^  SELECT, INSERT  +([^A-Z]+)$", told["writer"], re.MULTILINE)
    assert only_inserted is not None
    assert set(only_inserted[1].replace(",", " ").split()) == set(await append_only(made))
    said = " ".join(told["sampler"].partition("\n")[2].split())
    assert said == (
        "set search_path=public set jit=off set statement_timeout=10s database CONNECT "
        f"EXECUTE {', '.join(sorted(RING_FUNCTIONS))} schema USAGE on public"
    )
    assert "TRUNCATE" in told["owner"]
    assert max(map(len, done.stdout.splitlines())) <= 100


async def test_roles_without_a_password_cannot_log_in(roles: Roles, store: Store) -> None:
    done = db("roles", "--create", "--prefix", roles.prefix, JUPYTERHUB_METRICS_DSN=roles.dsn)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": cannot log in\n") == 4
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(roles.dsn_of("reader"))


async def test_passwords_come_from_files_and_reach_no_log(short_dir: Path, tmp_path: Path) -> None:
    server = EmbeddedServer(short_dir)
    roles = Roles(await server.start())
    for role in ("reader", "writer"):
        (tmp_path / role).touch(mode=0o600)
        (tmp_path / role).write_text(roles.passwords[role] + "\n")
    try:
        await (await open_store(roles.dsn)).close()
        connection = await asyncpg.connect(roles.dsn)
        await connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        await connection.execute("SELECT pg_reload_conf()")
        arguments = ("roles", "--create", "--prefix", roles.prefix, "--passwords", str(tmp_path))
        done = db(*arguments, JUPYTERHUB_METRICS_DSN=roles.dsn)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count(": logs in\n") == 2
        async with roles.connected("reader") as reader:
            assert await reader.fetchval("SELECT current_user") == roles.names["reader"]
        kept = await connection.fetchval(
            "SELECT rolpassword FROM pg_authid WHERE rolname = $1", roles.names["reader"]
        )
        assert kept.startswith("SCRAM-SHA-256$4096:")
        await connection.close()
    finally:
        await server.stop()
    log = (short_dir / "postgres" / "postgres.log").read_text()
    assert "jupyterhub_metrics.roles" in log, "statements are logged"
    for role in ("reader", "writer"):
        assert roles.passwords[role] not in log + done.stdout


async def test_an_administrator_who_is_no_superuser_makes_them(
    database_server: str, roles: Roles
) -> None:
    """As on managed PostgreSQL: one who may create roles and owns the database."""
    admin, database = f"{roles.prefix}admin", f"{roles.prefix}database"
    server = await asyncpg.connect(database_server)
    await server.execute(f"CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD 'of the admin'")
    await server.execute(f"CREATE DATABASE {database} OWNER {admin}")
    parts = urlsplit(with_database(database_server, database))
    host = parts.netloc.rpartition("@")[2]
    roles.dsn = urlunsplit(parts._replace(netloc=f"{admin}:of%20the%20admin@{host}"))
    try:
        await (await open_store(roles.dsn)).close()
        await roles.create()
        await roles.create("pseudonymised")
        assert (await rights_of(roles, "reader"))["schema USAGE"] == {"public", "pseudonymised"}
        writer = await open_store(roles.dsn_of("writer"))
        assert (await writer.ingest([event("requested")])).new == 1
        await writer.close()
        await roles.tries("writer", "DELETE FROM events")
        assert db("migrate", JUPYTERHUB_METRICS_DSN=roles.dsn).returncode == 0
    finally:
        await server.execute(f"DROP DATABASE {database} WITH (FORCE)")
        for name in [*roles.names.values(), admin]:
            await server.execute(f"DROP ROLE IF EXISTS {name}")
        await server.close()


async def test_an_empty_database_gets_no_roles(roles: Roles) -> None:
    with pytest.raises(SchemaMismatch, match="run jupyterhub-metrics db migrate"):
        await roles.create()
    assert await read_roles(roles.dsn, roles.prefix) == []


async def test_a_role_that_may_more_is_not_taken_for_ours(roles: Roles, store: Store) -> None:
    connection = await asyncpg.connect(roles.dsn)
    await connection.execute(f"CREATE ROLE {roles.names['reader']} SUPERUSER")
    await connection.close()
    with pytest.raises(ConfigurationError, match="that may do more than it should"):
        await roles.create()
    assert [role.name for role in await read_roles(roles.dsn, roles.prefix)] == [
        roles.names["reader"]
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prefix", "none_of_these_"], "found no role none_of_these_owner, none_of_these_writer"),
        (["--prefix", 'x"; DROP', "--create"], "found the prefix 'x\"; DROP'; expected"),
        (["--reads", "plain"], "found --passwords or --reads without --create"),
        (["--create", "--passwords", "/no/such"], "found no password in /no/such"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(
    store: Store, postgres_dsn: str, arguments: list[str], said: str
) -> None:
    assert said in one_line(db("roles", *arguments, JUPYTERHUB_METRICS_DSN=postgres_dsn))


@pytest.mark.parametrize(
    ("password", "mode", "said"),
    [
        ("long enough to be one", 0o640, "open to others"),
        ("tooshort!", 0o600, "short or not ASCII"),
        ("lang genug für alle", 0o600, "short or not ASCII"),
    ],
)
def test_a_bad_password_is_refused_without_being_shown(
    tmp_path: Path, password: str, mode: int, said: str
) -> None:
    (tmp_path / "reader").write_text(password)
    (tmp_path / "reader").chmod(mode)
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_passwords(tmp_path)
    assert password not in str(caught.value)


def test_a_verifier_is_what_the_standard_computes() -> None:
    """The salt and the password of the example of RFC 7677, section 3."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    _, keys = scram_verifier("pencil", salt).split("$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    server_key = base64.b64decode(keys.partition(":")[2])
    told = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(server_key, told, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert scram_verifier("pencil") != scram_verifier("pencil")


# -- pseudonyms --------------------------------------------------------------------


async def pseudonymous_rows(made: Roles) -> dict[str, list[dict[str, Any]]]:
    async with made.connected("reader") as reader:
        views = await reader.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'pseudonymised'::regnamespace"
        )
        return {
            row["relname"]: [
                dict(one) for one in await reader.fetch(f"SELECT * FROM {row['relname']}")
            ]
            for row in views
        }


async def test_pseudonyms_hide_who_it_is_and_keep_people_apart_and_together(
    made: Roles, store: Store
) -> None:
    await store.ingest([event("requested", username="grace"), event("requested", hub="physics")])
    await made.create("pseudonymised")
    rows = await pseudonymous_rows(made)
    assert set(rows) == {
        "sessions",
        "container_observations",
        "users",
        "user_history",
        "group_memberships",
        "usage_daily",
        "usage_hourly",
    }
    users = {row["username"]: row for row in rows["users"]}
    assert len(users) == len(rows["sessions"]) == 3
    (ada,) = [name for name, row in users.items() if row["department"] == "Physics"]
    assert re.fullmatch(r"[0-9a-f]{32}", ada)
    assert rows["container_observations"][0]["user_email"] == ada
    assert rows["group_memberships"][0]["username"] == ada
    assert {row["username"] for row in rows["user_history"]} == {ada}
    assert {row["username"]: row["seconds"] for row in rows["usage_daily"]}[ada] == 60
    assert {row["username"] for row in rows["usage_hourly"]} == set(users)
    assert {row["username"] for row in rows["sessions"]} == set(users)
    shown = repr(rows)
    for secret in ("'ada'", "ada@uni", "grace", "jupyter-ada", "Ada"):
        assert secret not in shown
    for name in ("id", "session_id", "server_name", "pod_name", "user_options", "started_by"):
        assert not any(name in row for found in rows.values() for row in found)
    plain = [hashlib.sha256(text).hexdigest()[:32] for text in (b"ada", b"campus\x1fada")]
    assert ada not in plain
    privacy, operator = Privacy(True), Viewer("op", "campus", "op", True, ("campus", "physics"))
    writer = await open_store(made.dsn_of("writer"))
    await privacy.learn(writer.reading)
    everyone = await writer.reading.usernames(operator.hubs)
    await writer.close()
    assert {privacy.shown(operator, hub, username) for hub, username in everyone} == set(users)


async def test_who_sees_pseudonyms_sees_nothing_else(made: Roles) -> None:
    await made.create("pseudonymised")
    admin = await asyncpg.connect(made.dsn)
    everything = await relations(admin, "r p v m")
    await admin.close()
    await made.tries("reader", *(f"SELECT * FROM public.{name}" for name in everything))
    held = await rights_of(made, "reader")
    assert all(name.startswith("pseudonymised.") for name in held["relation SELECT"])


async def test_pseudonyms_stay_until_they_are_taken_back(made: Roles) -> None:
    await made.create("pseudonymised")
    before = await pseudonymous_rows(made)
    await made.create()
    assert await pseudonymous_rows(made) == before, "to grant again never shows names"
    await made.create("plain")
    async with made.connected("reader") as reader:
        assert await reader.fetchval("SELECT username FROM users") == "ada"
    await made.tries("reader", "SELECT * FROM pseudonymised.users")
