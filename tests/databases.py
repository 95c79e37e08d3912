"""A real PostgreSQL for tests: one server for the session, a fresh database for each test.

Loaded as a pytest plugin by ``conftest.py``. The server is an embedded one, or the one that
``JUPYTERHUB_METRICS_TEST_DSN`` points to, whose user must be allowed to create databases.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from engines import SERVER_VARIABLE, SERVERS
from scratch import scratch_folder

from jupyterhub_metrics.store import EmbeddedServer, Store, embedded, open_store


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A folder with a short path that the embedded server's own account can pass through."""
    folder = scratch_folder()
    yield folder
    # what a killed server has left is removed by its next start, which here never comes
    for link in folder.rglob("postgres/socket"):
        if link.is_symlink():
            shutil.rmtree(link.readlink(), ignore_errors=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """DSN of the session's server, as one who may create databases."""
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        yield given
        return
    folder = scratch_folder()
    server = EmbeddedServer(folder)
    # a loop of its own: the tests' loops come and go
    loop = asyncio.new_event_loop()
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(embedded._SETTINGS, "fsync", "off")
            dsn = loop.run_until_complete(server.start())
        yield dsn
    finally:
        loop.run_until_complete(server.stop())
        loop.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def migrated_database(database_server: str) -> str | None:
    """Name of a database with our schema to copy; None where background workers would be in it."""
    if os.environ.get(SERVER_VARIABLE):
        return None

    async def make() -> None:
        connection = await asyncpg.connect(database_server)
        await connection.execute("CREATE DATABASE migrated")
        await connection.close()
        await (await open_store(with_database(database_server, "migrated"))).close()

    asyncio.run(make())
    return "migrated"


def with_database(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@pytest.fixture
def engine_server(engine: str, request: pytest.FixtureRequest) -> str:
    """DSN of the server with the test's engine; the others are not started for it."""
    server: str = request.getfixturevalue(SERVERS[engine])
    return server


@asynccontextmanager
async def new_database(server: str, engine: str, template: str | None = None) -> AsyncIterator[str]:
    """DSN of a new database, empty or as the template, dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    dsn = with_database(server, name)
    if engine != "plain":
        yield dsn
        # there, a database is a schema
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"DROP SCHEMA {name} CASCADE")
        await connection.close()
        return
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}")
    yield dsn
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
def template(engine: str, request: pytest.FixtureRequest) -> str | None:
    """What the test's database is a copy of; None for an empty one."""
    if engine == "plain" and "store" in request.fixturenames:
        migrated: str | None = request.getfixturevalue("migrated_database")
        return migrated
    return None


@pytest.fixture
async def postgres_dsn(engine: str, engine_server: str, template: str | None) -> AsyncIterator[str]:
    """DSN of a database, dropped after the test; empty unless the test asks for ``store``."""
    async with new_database(engine_server, engine, template) as dsn:
        yield dsn


@pytest.fixture
async def another_dsn(engine: str, engine_server: str) -> AsyncIterator[str]:
    """DSN of another database, empty."""
    async with new_database(engine_server, engine) as dsn:
        yield dsn


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[Store]:
    """An open store over an empty, migrated database."""
    opened = await open_store(postgres_dsn)
    yield opened
    await opened.close()
