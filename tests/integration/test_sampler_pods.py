"""The user pods of one node: a real API over HTTP, control groups as the kubelet makes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from kernel_trees import write_proc, write_tree, write_v1, write_v2
from kube_api import KubeApi
from pod_cluster import user_pod

from jupyterhub_metrics.errors import ConfigurationError, SourceUnavailable
from jupyterhub_metrics.model import Event, session_id
from jupyterhub_metrics.sampler import ResourceMonitor
from jupyterhub_metrics.sampler.cgroups import CgroupReader
from jupyterhub_metrics.sampler.finding import ContainerFinder
from jupyterhub_metrics.sampler.gpus import Gpu
from jupyterhub_metrics.sampler.host import HostReader
from jupyterhub_metrics.sampler.measuring import Measuring
from jupyterhub_metrics.sampler.pods import LOOK_SECONDS, NodePods, PodApi, pod_groups
from jupyterhub_metrics.sampler.rounds import Rounds
from jupyterhub_metrics.store import Store

SELECTOR = "component=singleuser-server"


class Steps:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class OneGpu:
    """A GPU that one process holds."""

    def read(self) -> list[Gpu]:
        return [Gpu(0, "GPU-0", "x", used_pct=70.0, processes={4321: 5.0 * 2**30})]

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
async def cluster() -> AsyncIterator[KubeApi]:
    api = KubeApi()
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
def account(tmp_path: Path, cluster: KubeApi) -> Path:
    write_tree(tmp_path / "account", {"token": f"{cluster.token}\n"})
    return tmp_path / "account"


async def add(cluster: KubeApi, name: str, namespace: str = "jhub", **spec: Any) -> str:
    """Puts a pod into the cluster; gives its uid."""
    pod = user_pod(name)
    pod["spec"].update(spec)
    pod["metadata"]["namespace"] = namespace
    stored = cluster.store.create(pod)
    return str(stored["metadata"]["uid"])


def api_of(cluster: KubeApi, account: Path, **options: Any) -> PodApi:
    return PodApi("node-1", selector=SELECTOR, url=cluster.url, account=account, **options)


async def test_only_this_nodes_user_pods_are_found(cluster: KubeApi, account: Path) -> None:
    mine = await add(cluster, "jupyter-ada")
    await add(cluster, "jupyter-bob", nodeName="node-2")
    other = await add(cluster, "jupyter-ada", "other-hub")
    api = api_of(cluster, account)
    assert await asyncio.to_thread(api.pods) == {
        mine: ("jhub", "jupyter-ada"),
        other: ("other-hub", "jupyter-ada"),
    }
    [asked] = cluster.seen
    assert asked.query["fieldSelector"] == "spec.nodeName=node-1"
    assert asked.query["labelSelector"] == SELECTOR
    one = api_of(cluster, account, namespace="jhub")
    assert await asyncio.to_thread(one.pods) == {mine: ("jhub", "jupyter-ada")}


async def test_a_wrong_token_and_a_cluster_that_is_away_are_told(
    cluster: KubeApi, account: Path
) -> None:
    (account / "token").write_text("expired")
    with pytest.raises(SourceUnavailable, match="found status 401"):
        await asyncio.to_thread(api_of(cluster, account).pods)
    (account / "token").write_text(cluster.token)
    await cluster.stop()
    with pytest.raises(SourceUnavailable, match="the cluster does not say"):
        await asyncio.to_thread(api_of(cluster, account).pods)
    with pytest.raises(SourceUnavailable, match="found no certificate in"):
        PodApi("n", selector=SELECTOR, url="https://127.0.0.1:1", account=account).pods()
    with pytest.raises(ConfigurationError, match="found no cluster; expected KUBERNETES_SERVICE"):
        PodApi("n", selector=SELECTOR, environment={})


UID = "0a1b2c3d-1111-2222-3333-444455556666"
UNDERSCORED = UID.replace("-", "_")


@pytest.mark.parametrize(
    "path",
    [
        f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNDERSCORED}.slice",
        f"kubepods.slice/kubepods-pod{UNDERSCORED}.slice",
        f"kubepods/besteffort/pod{UID}",
        f"kubepods/pod{UID}",
        f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UNDERSCORED}.slice",
    ],
)
def test_a_pods_group_is_found_however_the_kubelet_makes_it(tmp_path: Path, path: str) -> None:
    write_tree(tmp_path, {f"{path}/cri-containerd-1.scope/cgroup.procs": "1\n"})
    write_tree(tmp_path, {f"user.slice/pod{UID}/cgroup.procs": "", "kubepods/podless": ""})
    assert pod_groups([str(tmp_path), str(tmp_path / "none")]) == {UID: path}


async def test_pods_are_sampled_into_the_ring_and_their_sessions(
    cluster: KubeApi, account: Path, store: Store, postgres_dsn: str, tmp_path: Path
) -> None:
    started = datetime.now(timezone.utc) - timedelta(hours=1)
    identity = session_id("campus", "ada", "", started)
    facts = {"namespace": "jhub", "pod_name": "jupyter-ada", "memory_guarantee_bytes": 2**33}
    await store.ingest(
        [Event("requested", "campus", "ada", "", started, "hub", identity, started, facts=facts)]
    )
    uid = await add(cluster, "jupyter-ada")
    root, clock = tmp_path / "cgroup", Steps()
    write_tree(root, {"cgroup.controllers": "cpu memory io pids\n", "cgroup.procs": "1\n"})
    pod = f"kubepods.slice/kubepods-pod{uid.replace('-', '_')}.slice"
    write_v2(root, pod, usage_usec=1_000_000, cpu_max="200000 100000")
    write_tree(root, {f"{pod}/cri-containerd-1.scope/cgroup.procs": "4321\n"})
    write_proc(tmp_path)
    groups = CgroupReader(root, tmp_path / "proc", seconds=clock)
    rounds = Rounds(
        Measuring(
            "node-1",
            host=HostReader(tmp_path / "proc", tmp_path / "sys", seconds=clock),
            containers=ContainerFinder(groups),
        ),
        pods=NodePods(api_of(cluster, account), groups.mounts.roots, seconds=clock),
        groups=groups,
        gpus=OneGpu(),  # type: ignore[arg-type]
    )
    assert (await asyncio.to_thread(rounds.containers)).samples == ()
    clock.seconds += 2
    write_v2(root, pod, usage_usec=2_000_000, cpu_max="200000 100000")
    found = await asyncio.to_thread(rounds.containers)
    [sample] = found.samples
    assert sample.container_name == "jhub/jupyter-ada"
    assert sample.cpu_total_pct == pytest.approx(25.0)
    async with ResourceMonitor(postgres_dsn, node_name="node-1") as monitor:
        assert (await monitor.write(found.samples, found.pods)).written == 1
    connection = await asyncpg.connect(postgres_dsn)
    [row] = await connection.fetch("SELECT * FROM session_resources")
    await connection.close()
    assert (row["session_id"], row["source"]) == (identity, "node")
    assert row["memory_peak_bytes"] == 209_715_200 - 20_971_520
    assert row["cpu_peak_cores"] == pytest.approx(0.5)
    assert (row["gpu_peak_pct"], row["gpu_memory_peak_bytes"]) == (70.0, 5 * 2**30)
    # the pod ends: nothing is told of it any more, and its files are let go
    cluster.store.delete("jhub", "jupyter-ada")
    clock.seconds += LOOK_SECONDS
    assert await asyncio.to_thread(rounds.containers) == type(found)()
    rounds.close()


async def test_known_pods_are_sampled_while_the_cluster_is_away(
    cluster: KubeApi, account: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    uid, clock = await add(cluster, "jupyter-ada"), Steps()
    write_v1(tmp_path, f"kubepods/pod{uid}")
    pods = NodePods(api_of(cluster, account), [str(tmp_path / "memory")], seconds=clock)
    [pod] = await asyncio.to_thread(pods.pods)
    await cluster.stop()
    for _ in range(3):
        clock.seconds += LOOK_SECONDS
        assert await asyncio.to_thread(pods.pods) == [pod]
    assert len(caplog.records) == 1
