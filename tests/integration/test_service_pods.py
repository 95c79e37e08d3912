"""The service's checks over a watched cluster: the tests' API server, a small Hub, PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fake_hub import TOKEN, FakeHub
from kube_api import KubeApi
from pod_cluster import container, text_of, user_pod, view_where, whole_second
from pod_followed import NAMESPACE
from test_service_checker import HUB, Opened

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.model import Event, isoformat, session_id
from jupyterhub_metrics.service.app import MetricsService
from jupyterhub_metrics.service.checker import Checker
from jupyterhub_metrics.service.database import Database
from jupyterhub_metrics.service.metrics import Metrics
from jupyterhub_metrics.sources.pods import PodSource
from jupyterhub_metrics.store import Store


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    made = FakeHub()
    made.start()
    yield made
    await made.stop()


@pytest.fixture
async def checker(
    hub: FakeHub, kube_api: KubeApi, store: Store, tmp_path: Path
) -> AsyncIterator[Checker]:
    """As the service's own settings put it together."""
    settings = MetricsService(
        data_dir=str(tmp_path), hub_name=HUB, event_grace_seconds=0, watch_pods=True
    )
    settings.environment = {
        "JUPYTERHUB_API_URL": hub.url,
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "KUBECONFIG": str(kube_api.kubeconfig(tmp_path / "kubeconfig", "test")),
        "NAMESPACE": NAMESPACE,
    }
    database = Database(Opened(store), Metrics())
    opening = asyncio.create_task(database.keep_open(), name="open")
    while database.reason is not None:
        await asyncio.sleep(0.01)
    made = settings._checker(database, Metrics(), utc_now)
    assert made is not None
    made.open()
    yield made
    await made.close()
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)


def life(started_at: datetime) -> list[Event]:
    of_session = {
        "hub": HUB,
        "username": "ada",
        "server_name": "",
        "session_id": session_id(HUB, "ada", "", started_at),
        "started_at": started_at,
        "source": "hub",
    }
    facts = {"pod_name": "jupyter-ada", "namespace": NAMESPACE}
    ready_at = started_at + timedelta(seconds=5)
    return [
        Event(kind="requested", occurred_at=started_at, facts=facts, **of_session),
        Event(kind="ready", occurred_at=ready_at, **of_session),
    ]


def patch_status(kube_api: KubeApi, phase: str, state: dict[str, Any]) -> None:
    status = {"phase": phase, "containerStatuses": container(state)}
    kube_api.store.patch(NAMESPACE, "jupyter-ada", {"status": status})


async def test_a_pod_that_the_kernel_killed_gives_its_session_an_end_and_a_reason(
    checker: Checker, hub: FakeHub, kube_api: KubeApi, store: Store, postgres_dsn: str
) -> None:
    now = whole_second()
    started_at, finished_at = now - timedelta(hours=1), now - timedelta(minutes=3)
    await store.ingest(life(started_at))
    hub.run("ada", isoformat(started_at), last_activity=isoformat(now - timedelta(minutes=5)))
    kube_api.store.create(user_pod("jupyter-ada", namespace=NAMESPACE))
    running = {"running": {"startedAt": text_of(started_at + timedelta(seconds=3))}}
    patch_status(kube_api, "Running", running)
    pods = checker._pods
    assert isinstance(pods, PodSource)
    await view_where(pods, lambda view: any(pod.running_since for pod in view.pods.values()))
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await checker.check()
        [seen] = await connection.fetch("SELECT * FROM container_observations")
        assert (seen["pod_name"], seen["node_name"]) == ("jupyter-ada", "node-1")
        assert seen["container_base"] == "scipy-notebook"
        assert seen["user_email"] == "ada", "where nothing tells an e-mail address"

        terminated = {
            "exitCode": 137,
            "reason": "OOMKilled",
            "startedAt": text_of(started_at),
            "finishedAt": text_of(finished_at),
        }
        patch_status(kube_api, "Failed", {"terminated": terminated})
        await view_where(pods, lambda view: all(pod.finished for pod in view.pods.values()))
        hub.users.clear()
        # a watched moment counts some seconds later, and an end is concluded from two looks
        for _ in range(40):
            kube_api.bookmark()
            await asyncio.sleep(0.25)
            await checker.check()
            [row] = await connection.fetch("SELECT * FROM sessions")
            if row["state"] != "running":
                break
    finally:
        await connection.close()
    assert (row["state"], row["ended_at"]) == ("ended", finished_at)
    assert (row["end_reason"], row["end_source"]) == ("oom_killed", "container")
    assert row["exit_status"] == 137
