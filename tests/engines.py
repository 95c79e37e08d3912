"""On which database engines a test runs.

Loaded as a pytest plugin by ``conftest.py``. The tests of the modules below that ask for
``postgres_dsn`` run on the embedded PostgreSQL and on a real TimescaleDB, which is compiled to
WebAssembly and served by ``timescale/bridge.mjs``. Where ``JUPYTERHUB_METRICS_TEST_DSN`` is given,
everything runs on that server alone.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER_VARIABLE = "JUPYTERHUB_METRICS_TEST_DSN"
BRIDGE = Path(__file__).parent / "timescale"

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

ONE_BACKEND = "the engine is one backend that serves one transaction after another"
ANY_LOGIN = "the bridge lets everyone in, and makes what they call their database"
NOT_ON_TIMESCALE = {
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
    name = metafunc.function.__name__
    if metafunc.module.__name__ in ON_BOTH and name not in NOT_ON_TIMESCALE:
        marks = [pytest.mark.needs("node"), pytest.mark.needs("npm")]
        engines = ["plain", pytest.param("timescale", marks=marks)]
        metafunc.parametrize("engine", engines, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """``plain`` unless the test is one of those that run on both."""
    return getattr(request, "param", "plain")


@pytest.fixture(scope="module")
def timescale_server() -> Iterator[str]:
    """DSN of the module's TimescaleDB; any database's name will do.

    One backend keeps the plans of all functions that it ever ran: after a hundred schemas it takes
    a second to make the next.
    """
    wanted = json.loads((BRIDGE / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        installed = BRIDGE / "node_modules" / name / "package.json"
        if not installed.exists() or json.loads(installed.read_text())["version"] != version:
            install = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(install, cwd=BRIDGE, check=True)
    with subprocess.Popen(
        ["node", "bridge.mjs"],
        cwd=BRIDGE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as bridge:
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        port = bridge.stdout.readline().split()[1]
        yield f"postgresql://postgres:none@127.0.0.1:{port}/postgres"
        # it ends when its input does
        bridge.stdin.close()
