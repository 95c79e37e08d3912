"""The DaemonSet as it is: its very command with its settings, mounts, rights and service account.

What a kubelet makes of the manifest is made here by hand. The cluster is the tests' own server, or
a real one (``pod_cluster``); the pods' control groups are this machine's, as a kubelet makes them.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kube_rbac import RBAC, GuardedKubeApi
from mounted_root import MountedRoot, at_most, this_package
from pod_cluster import KUBECONFIG_VARIABLE, PodCluster, opened_cluster, user_pod
from real_cgroups import RealGroup
from sampler_database import sampler_database, until

from jupyterhub_metrics import _data

MANIFEST = _data.path("share", "jupyter", "jupyterhub-metrics", "sampler") / "daemonset.yaml"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
QUOTA_CORES = 0.4
LOAD = ("stress-ng", "--cpu", "1", "--timeout", "4s", "--quiet")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[PodCluster, GuardedKubeApi | None]]:
    """A cluster, and the server itself where it is the tests' own."""
    given = os.environ.get(KUBECONFIG_VARIABLE)
    if given:
        async with opened_cluster(Path(given)) as opened:
            yield opened, None
        return
    api = GuardedKubeApi(tmp_path / "certificates")
    await api.start()
    try:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig", "test")
        async with opened_cluster(kubeconfig) as opened:
            yield opened, api
    finally:
        await api.stop()


def manifest(namespace: str, host: str) -> dict[str, Any]:
    """The documents by kind, with what its head says to replace replaced."""
    text = MANIFEST.read_text(encoding="utf-8")
    head, kept = text.split("apiVersion", 1)
    assert all(word in head for word in ("IMAGE", "NAMESPACE", "HOST"))
    for word, instead in (("NAMESPACE", namespace), ("IMAGE", "sampler:1"), ("HOST", host)):
        kept = kept.replace(word, instead)
    return {document["kind"]: document for document in yaml.safe_load_all(f"apiVersion{kept}")}


@asynccontextmanager
async def applied(cluster: PodCluster, documents: dict[str, Any]) -> AsyncIterator[str]:
    """Makes the service account with its role; gives a token of its."""
    account = documents["ServiceAccount"]
    path = f"namespaces/{account['metadata']['namespace']}/serviceaccounts"
    kinds = ("ClusterRole", "ClusterRoleBinding")
    await cluster.ask("POST", path, account)
    for kind in kinds:
        await cluster.ask("POST", f"{kind.lower()}s", documents[kind], api=RBAC)
    try:
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        token_path = f"{path}/{account['metadata']['name']}/token"
        answer = await cluster.ask("POST", token_path, request)
        yield str(answer["status"]["token"])
    finally:
        # they are in no namespace
        for kind in reversed(kinds):
            name = documents[kind]["metadata"]["name"]
            await cluster.ask("DELETE", f"{kind.lower()}s/{name}", api=RBAC)


def as_a_kubelet(
    documents: dict[str, Any], root: MountedRoot, *, node: str, password: str
) -> tuple[list[str], dict[str, str], list[str]]:
    """Command, environment and rights of the pod's container; its volumes are put into ``root``."""
    pod = documents["DaemonSet"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == documents["ServiceAccount"]["metadata"]["name"]
    # the processes of this machine are those that it sees
    assert pod["hostPID"]
    [container] = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        assert mount["readOnly"]
        volume = volumes.pop(mount["name"])
        if "hostPath" in volume:
            root.mount(volume["hostPath"]["path"], mount["mountPath"])
        elif "configMap" in volume:
            config = documents["ConfigMap"]
            assert volume["configMap"]["name"] == config["metadata"]["name"]
            for name, text in config["data"].items():
                root.put(f"{mount['mountPath']}/{name}", text)
        else:
            # by the command in the manifest's head
            assert volume["secret"]["secretName"] == "jupyterhub-metrics-sampler"
            mode = volume["secret"]["defaultMode"]
            root.put(f"{mount['mountPath']}/password", password, mode=mode)
    assert not volumes
    environment = {**this_package(), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    for one in container["env"]:
        field = {"spec.nodeName": node}[one["valueFrom"]["fieldRef"]["fieldPath"]]
        environment[one["name"]] = field
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"]["drop"] == ["ALL"]
    rights = ["--no-new-privs", *at_most(security["capabilities"]["add"])]
    return [*container.get("command", []), *container["args"]], environment, rights


async def make_pods(cluster: PodCluster, node: str) -> dict[str, str]:
    """Two users' pods of the node, one of another node, and one of no user; gives their uids."""
    uids = {}
    for name, where, labels in (
        ("jupyter-ada", node, {}),
        ("jupyter-bob", node, {}),
        ("jupyter-eve", f"not-{node}", {}),
        ("no-user", node, {"labels": {"component": "hub"}}),
    ):
        pod = user_pod(name, **labels)
        pod["spec"]["nodeName"] = where
        uids[name] = str((await cluster.create(pod))["metadata"]["uid"])
    return uids


@contextmanager
def pod_groups(uids: dict[str, str]) -> Iterator[dict[str, tuple[RealGroup, RealGroup]]]:
    """The groups of each pod and of a container in it, as a kubelet's driver cgroupfs has them."""
    with ExitStack() as stack:
        above = f"kubelet-{secrets.token_hex(4)}"
        for path in (above, f"{above}/kubepods", f"{above}/kubepods/burstable"):
            stack.enter_context(RealGroup(path))
        found = {}
        for name, uid in uids.items():
            pod = stack.enter_context(RealGroup(f"{above}/kubepods/burstable/pod{uid}"))
            inner = stack.enter_context(RealGroup(f"{pod.path}/{secrets.token_hex(32)}"))
            found[name] = (pod, inner)
        yield found


def memory_limit(documents: dict[str, Any]) -> int:
    [container] = documents["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    limit = str(container["resources"]["limits"]["memory"])
    assert limit.endswith("Mi")
    return int(limit.removesuffix("Mi")) * 2**20


def holds_files_of(pid: int, uid: str) -> bool:
    """Whether a process has files of a pod's group open, as it has from its first reading on."""
    files = Path(f"/proc/{pid}/fd")
    return any(
        f"pod{uid}/" in str(file.readlink()) for file in files.iterdir() if file.is_symlink()
    )


def granted(documents: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in documents["ClusterRole"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.needs("mount")
@pytest.mark.needs("cgroups")
@pytest.mark.needs("stress-ng")
async def test_it_samples_this_nodes_pods_by_what_the_manifest_gives_it(
    cluster: tuple[PodCluster, GuardedKubeApi | None], short_dir: Path, tmp_path: Path
) -> None:
    opened, api = cluster
    node = f"node-{secrets.token_hex(4)}"
    uids = await make_pods(opened, node)
    root = MountedRoot(tmp_path / "root")
    async with sampler_database(short_dir) as database:
        documents = manifest(opened.namespace, database.host)
        command, environment, rights = as_a_kubelet(
            documents, root, node=node, password=database.password
        )
        address = urlsplit(opened.configuration.host)
        environment["KUBERNETES_SERVICE_HOST"] = str(address.hostname)
        environment["KUBERNETES_SERVICE_PORT"] = str(address.port or 443)
        root.put(f"{ACCOUNT}/ca.crt", Path(opened.configuration.ssl_ca_cert).read_text())
        async with applied(opened, documents) as token:
            root.put(f"{ACCOUNT}/token", token)
            with pod_groups(uids) as groups, RealGroup() as limited:
                limited.limit_memory(memory_limit(documents))
                pod, inner = groups["jupyter-ada"]
                pod.limit_cpu(QUOTA_CORES)
                sampler = root.start(command, environment, rights=rights, group=limited)
                try:

                    async def has_read() -> bool:
                        assert sampler.poll() is None, sampler.communicate()
                        return holds_files_of(sampler.pid, uids["jupyter-ada"])

                    await until(has_read, "the first reading")
                    before = pod.cpu_seconds()
                    with inner.running(LOAD) as stress:
                        await asyncio.to_thread(stress.wait, 60)
                    used, ended_at = pod.cpu_seconds() - before, math.ceil(time.time())

                    async def has_read_again() -> bool:
                        assert sampler.poll() is None, sampler.communicate()
                        found = "NOT node_flag AND sample_time >= $1"
                        return len(await database.rows_where(found, ended_at)) >= 2

                    await until(has_read_again, "readings after the load")
                finally:
                    sampler.send_signal(signal.SIGTERM)
                    said, _ = await asyncio.to_thread(sampler.communicate, timeout=60)
        assert sampler.returncode == 0, said
        assert "WARN" not in said
        assert database.password not in said
        rows = await database.rows_where("sample_time > 0")
    assert {row["node_name"] for row in rows} == {node}
    assert any(row["node_flag"] for row in rows)
    pods = [row for row in rows if not row["node_flag"]]
    ada, bob = (f"{opened.namespace}/{name}" for name in ("jupyter-ada", "jupyter-bob"))
    assert {row["container_name"] for row in pods} == {ada, bob}
    assert used > 0.5
    assert used == pytest.approx(
        sum(
            row["cpu_total_pct"] / 100 * QUOTA_CORES * row["interval_seconds"]
            for row in pods
            if row["container_name"] == ada
        ),
        rel=0.02,
    )
    # it asks for all that it may ask for
    if api is not None:
        assert api.asked == granted(documents)
