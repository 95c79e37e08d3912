"""A source that follows the tests' own API server, and waiting for what it should see.

Loaded as a pytest plugin by ``conftest.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from kube_api import KubeApi
from pod_cluster import user_pod, view_where

from jupyterhub_metrics.sources.pods import PodSource
from jupyterhub_metrics.sources.world import PodView

SourceOf = Callable[..., PodSource]
NAMESPACE = "jhub"


def put(api: KubeApi, name: str) -> str:
    """Creates a pod; its uid."""
    return api.store.create(user_pod(name, namespace=NAMESPACE))["metadata"]["uid"]


def follow(api: KubeApi, source_of: SourceOf, tmp_path: Path, **settings: object) -> PodSource:
    return source_of(api.kubeconfig(tmp_path / "kubeconfig", "test"), NAMESPACE, **settings)


async def settled(source: PodSource, api: KubeApi) -> PodView:
    """The view once it shows what the server has."""

    def in_step(view: PodView) -> bool:
        truth = {pod.pod["metadata"]["uid"] for pod in api.store.pods.values()}
        return {pod.uid for pod in view.pods.values()} == truth

    return await view_where(source, in_step)


async def watching(api: KubeApi, count: int = 1) -> None:
    for _ in range(2000):
        if len(api.watchers) == count:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("no watch within 10 s")


@pytest.fixture
async def followed(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> AsyncIterator[PodSource]:
    """A source that watches one pod, ``jupyter-ada``."""
    put(kube_api, "jupyter-ada")
    source = follow(kube_api, source_of, tmp_path)
    await settled(source, kube_api)
    await watching(kube_api)
    yield source
