"""A cluster that tests put pods into over its API: the tests' own server, or a real one.

With ``JUPYTERHUB_METRICS_TEST_KUBECONFIG`` the tests that take ``pod_cluster`` run against the
current context of that file, in a namespace of their own. The tests that take ``kube_api`` stay
with the tests' own server: a real one cannot be told to break off, to lie or to forget.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from kube_api import KubeApi
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.config import load_kube_config

from jupyterhub_metrics.sources.pods import PodSource
from jupyterhub_metrics.sources.world import Pod, PodView

KUBECONFIG_VARIABLE = "JUPYTERHUB_METRICS_TEST_KUBECONFIG"
LABELS = {"component": "singleuser-server", "app": "jupyterhub"}


def text_of(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def whole_second() -> datetime:
    """Now, as exactly as Kubernetes can say it."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def user_pod(
    name: str,
    *,
    username: str | None = "ada",
    server_name: str = "",
    labels: dict[str, str] = LABELS,
    env: list[dict[str, Any]] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A pod as KubeSpawner makes it, with a sidecar before the server's container."""
    annotations = {} if username is None else {"hub.jupyter.org/username": username}
    if server_name:
        annotations["hub.jupyter.org/servername"] = server_name
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": annotations, **metadata},
        "spec": {
            "nodeName": "node-1",
            "automountServiceAccountToken": False,
            "restartPolicy": "OnFailure",
            "containers": [
                {"name": "sidecar", "image": "registry.example/sidecar:1"},
                {
                    "name": "notebook",
                    "image": "registry.example:5000/lab/scipy-notebook:2026-01",
                    "resources": {"limits": {"memory": "4Gi"}},
                    "env": env or [],
                },
            ],
        },
    }


def container(state: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The statuses of the two containers of :func:`user_pod`."""
    common = {"image": "x", "imageID": "x", "ready": False, "restartCount": 0}
    sidecar = {"name": "sidecar", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    return [{**common, **sidecar}, {**common, "name": "notebook", "state": state, **more}]


def running(since: datetime) -> dict[str, Any]:
    state = {"running": {"startedAt": text_of(since)}}
    return {"phase": "Running", "containerStatuses": container(state)}


def terminated(at: datetime, reason: str, exit_code: int, since: datetime) -> dict[str, Any]:
    ended = {
        "startedAt": text_of(since),
        "finishedAt": text_of(at),
        "reason": reason,
        "exitCode": exit_code,
    }
    return {"phase": "Running", "containerStatuses": container({"terminated": ended})}


class PodCluster:
    """One namespace of a cluster, changed over HTTP."""

    def __init__(self, kubeconfig: Path, client: ApiClient, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self._client = client

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, str] | None = None,
        *,
        api: str = "api/v1",
    ) -> dict[str, Any]:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Content-Type": kind}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        response = await self._client.rest_client.request(
            method,
            f"{self._client.configuration.host}/{api}/{path}",
            headers=headers,
            body=body,
            query_params=list((query or {}).items()),
            _preload_content=False,
        )
        answer = await response.json()
        if not 200 <= response.status < 300:
            raise ApiException(status=response.status, reason=answer.get("message"))
        return answer

    async def make_namespace(self) -> None:
        await self.ask("POST", "namespaces", {"metadata": {"name": self.namespace}})
        try:
            # where no controller makes it, pods could not be created
            await self.ask(
                "POST",
                f"namespaces/{self.namespace}/serviceaccounts",
                {"metadata": {"name": "default"}},
            )
        except ApiException as error:
            if error.status != 409:
                raise

    async def delete_namespace(self) -> None:
        await self.ask("DELETE", f"namespaces/{self.namespace}")

    async def create(self, pod: dict[str, Any]) -> dict[str, Any]:
        return await self.ask("POST", self._pods, pod)

    async def set_status(self, name: str, status: dict[str, Any]) -> None:
        await self.ask("PATCH", f"{self._pods}/{name}/status", {"status": status})

    async def patch(self, name: str, patch: dict[str, Any]) -> None:
        await self.ask("PATCH", f"{self._pods}/{name}", patch)

    async def delete(self, name: str, *, grace_seconds: int = 0) -> None:
        options = {"gracePeriodSeconds": grace_seconds}
        await self.ask("DELETE", f"{self._pods}/{name}", options)

    async def truth(self) -> dict[str, str]:
        """The uid of each pod of a user, by name, as a list of its own says."""
        selector = ",".join(f"{name}={value}" for name, value in LABELS.items())
        answer = await self.ask("GET", self._pods, query={"labelSelector": selector})
        return {item["metadata"]["name"]: item["metadata"]["uid"] for item in answer["items"]}

    @property
    def configuration(self) -> Configuration:
        """Where its API answers, and by which certificate."""
        return self._client.configuration

    @property
    def _pods(self) -> str:
        return f"namespaces/{self.namespace}/pods"


@asynccontextmanager
async def opened_cluster(kubeconfig: Path) -> AsyncIterator[PodCluster]:
    """A namespace of its own in the cluster of a kubeconfig's current context."""
    configuration = type.__call__(Configuration)
    await load_kube_config(
        config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
    )
    client = ApiClient(configuration)
    cluster = PodCluster(kubeconfig, client, f"jhm-test-{uuid.uuid4().hex[:8]}")
    try:
        await cluster.make_namespace()
        yield cluster
        await cluster.delete_namespace()
    finally:
        await client.close()


def make_source(kubeconfig: Path | None, namespace: str | None, **settings: Any) -> PodSource:
    """A source with short waits, which reads no variable of this process."""
    fast = {"first_backoff_seconds": 0.01, "longest_backoff_seconds": 0.05}
    return PodSource(
        **{
            "kubeconfig": str(kubeconfig or ""),
            "namespaces": [namespace] if namespace else [],
            "environment": {},
            **fast,
            **settings,
        }
    )


async def view_where(source: PodSource, wanted: Callable[[PodView], Any]) -> PodView:
    """The first view of which ``wanted`` is true."""

    for _ in range(2000):
        view = source.view()
        if view is not None and wanted(view):
            return view
        await asyncio.sleep(0.005)
    raise AssertionError(f"no such view within 10 s; {source.complaint}; {source.view()}")


def named(view: PodView) -> dict[str, Pod]:
    return {pod.name: pod for pod in view.pods.values()}


@pytest.fixture
async def kube_api() -> AsyncIterator[KubeApi]:
    api = KubeApi()
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
async def pod_cluster(tmp_path: Path) -> AsyncIterator[PodCluster]:
    given = os.environ.get(KUBECONFIG_VARIABLE)
    if given:
        async with opened_cluster(Path(given)) as cluster:
            yield cluster
        return
    api = KubeApi()
    await api.start()
    try:
        async with opened_cluster(api.kubeconfig(tmp_path / "kubeconfig", "test")) as cluster:
            yield cluster
    finally:
        await api.stop()


@pytest.fixture
async def source_of() -> AsyncIterator[Callable[..., PodSource]]:
    """Starts sources, and stops them at the end of the test."""
    started: list[PodSource] = []

    def start(kubeconfig: Path | None, namespace: str | None, **settings: Any) -> PodSource:
        source = make_source(kubeconfig, namespace, **settings)
        source.start()
        started.append(source)
        return source

    yield start
    for source in started:
        await source.stop()
