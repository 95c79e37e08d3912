"""What the running service learns of people: from pods at each check, from Graph now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from builders import at
from fake_graph import CLIENT, SECRET, TENANT, FakeGraph, refuses
from hub_process import until
from service_fixtures import data_dir, event, running_service  # noqa: F401 - a fixture
from test_service_checker import World, world  # noqa: F401 - a fixture
from traitlets.config import Config
from worlds import HUB, pod, pod_view

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.service.app import MetricsService
from jupyterhub_metrics.service.database import Database
from jupyterhub_metrics.service.directory import Directory
from jupyterhub_metrics.service.measuring import new_statements, people_of_pods
from jupyterhub_metrics.service.metrics import Metrics
from jupyterhub_metrics.sources.graph import MicrosoftGraph
from jupyterhub_metrics.store import Person


@pytest.fixture
async def fake() -> AsyncIterator[FakeGraph]:
    made = FakeGraph()
    made.start()
    yield made
    await made.stop()


def test_of_two_pods_that_disagree_the_later_one_counts() -> None:
    pods = pod_view(
        9,
        [
            pod("ada", "new", email="new@uni", created_at=at(5)),
            pod("ada", email="old@uni", full_name="Ada", created_at=at(1)),
            pod(None, email="nobody@uni"),
            pod("grace"),
        ],
    )
    told = people_of_pods(pods)
    assert told == {"ada": {"email": "new@uni", "full_name": "Ada"}}
    assert people_of_pods(None) == {}
    (statement,) = new_statements(HUB, told, {}, at(9))
    assert (statement.username, statement.source, statement.said_at) == ("ada", "pod", at(9))
    assert new_statements(HUB, told, told, at(10)) == []


async def test_what_a_pod_says_of_its_user_reaches_users(world: World) -> None:  # noqa: F811
    checker = world.checker(with_pods=True)
    world.pods.now = pod_view(100, [pod("ada", email="ada@uni", full_name="Ada")])
    await world.check(checker, 100)
    world.pods.now = pod_view(400, [pod("ada", email="ada@uni", full_name="Ada")])
    await world.check(checker, 400)
    world.pods.now = pod_view(700, [pod("ada")])
    await world.check(checker, 700)
    assert await world.store.people(HUB) == [Person("ada", "ada@uni", "Ada")]
    rows = await world.rows("SELECT valid_from, valid_to FROM user_history")
    assert rows == [{"valid_from": at(100), "valid_to": None}]


def directory_of(world: World, fake: FakeGraph) -> Directory:  # noqa: F811
    graph = MicrosoftGraph(
        graph_url=fake.url,
        login_url=fake.url,
        environment=fake.environment(),
        pause=lambda seconds: asyncio.sleep(0),
    )
    return Directory(
        HUB,
        world.database,
        world.metrics,
        graph,
        interval=timedelta(seconds=0.05),
        clock=lambda: world.now,
    )


async def test_the_directory_is_asked_again_and_again(
    world: World,  # noqa: F811
    fake: FakeGraph,
    caplog: pytest.LogCaptureFixture,
) -> None:
    world.pods.now = pod_view(100, [pod("ada", email="ada@uni")])
    await world.check(world.checker(with_pods=True), 100)
    asked = directory_of(world, fake)
    task = asyncio.create_task(asked.run(), name="directory")
    try:
        fake.add("ada@campus.example", mail="ada@uni", displayName="Ada", department="Physics")

        async def is_physicist() -> bool:
            return await world.store.people(HUB) == [Person("ada", "ada@uni", "Ada", "Physics")]

        await until(is_physicist, "the directory was read")
        with caplog.at_level(logging.WARNING):
            fake.fault = refuses(403, "Authorization_RequestDenied")
            await until(
                lambda: (world.value("source_failures_total", source="graph") or 0) > 1,
                "refusals are counted",
            )
        assert "What is known of people stays as it was" in caplog.text
        assert SECRET not in caplog.text
        assert await is_physicist()
        fake.users[0]["department"] = "Chemistry"
        fake.fault = lambda handler, path: False
        world.now = at(900)

        async def is_chemist() -> bool:
            return (await world.store.people(HUB))[0].department == "Chemistry"

        await until(is_chemist, "the change was read")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        asked.close()
    rows = await world.rows("SELECT department, valid_to FROM user_history ORDER BY valid_from")
    assert rows[-2:] == [
        {"department": "Physics", "valid_to": at(900)},
        {"department": "Chemistry", "valid_to": None},
    ]


async def test_the_service_asks_the_directory_of_its_settings(
    data_dir: Path,  # noqa: F811
    postgres_dsn: str,
    fake: FakeGraph,
) -> None:
    (data_dir / "secrets" / "graph").write_text(SECRET + "\n")
    config = Config()
    config.MicrosoftGraph.tenant = TENANT
    config.MicrosoftGraph.client_id = CLIENT
    config.MicrosoftGraph.client_secret_file = str(data_dir / "secrets" / "graph")
    config.MicrosoftGraph.graph_url = config.MicrosoftGraph.login_url = fake.url
    fake.add("alice@campus.example", department="Physics")
    settings = {"dsn": postgres_dsn, "config": config, "people_interval_seconds": 0.2}
    async with running_service(data_dir, **settings) as service:
        await service.post(service.batch(event(service.hub)))
        connection = await asyncpg.connect(postgres_dsn)

        async def is_known() -> bool:
            return await connection.fetchval("SELECT department FROM users") == "Physics"

        await until(is_known, "the directory was asked")
        await connection.close()


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT}, False),
        ({"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_SECRET": SECRET}, True),
    ],
)
def test_without_a_secret_the_directory_is_not_asked(
    environment: dict[str, str], asked: bool
) -> None:
    assert MicrosoftGraph(environment=environment).configured is asked


async def test_an_interval_of_0_asks_nobody(data_dir: Path, fake: FakeGraph) -> None:  # noqa: F811
    settings = MetricsService(data_dir=str(data_dir), hub_name=HUB, people_interval_seconds=0)
    settings.environment = fake.environment()
    assert settings._directory(Database(None, Metrics()), Metrics(), utc_now) is None
