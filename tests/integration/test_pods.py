"""What a cluster's pods become in the view: on the tests' own API server, or on a real one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from pod_cluster import (
    PodCluster,
    container,
    named,
    running,
    terminated,
    user_pod,
    view_where,
    whole_second,
)

from jupyterhub_metrics.sources.pods import PodSource

SourceOf = Callable[..., PodSource]


async def test_a_pod_shows_all_that_kubespawner_and_kubernetes_say(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    env = [
        {"name": "GIT_AUTHOR_EMAIL", "value": "ada@example.org"},
        {"name": "GIT_AUTHOR_NAME", "value": "Ada Lovelace"},
    ]
    made = await pod_cluster.create(user_pod("jupyter-ada", server_name="lab", env=env))
    since = whole_second()
    await pod_cluster.set_status("jupyter-ada", running(since))
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    view = await view_where(source, lambda view: len(view.pods) == 1)
    pod = view.pods[pod_cluster.namespace, "jupyter-ada"]
    assert pod.uid == made["metadata"]["uid"]
    assert (pod.username, pod.server_name) == ("ada", "lab")
    assert (pod.email, pod.full_name) == ("ada@example.org", "Ada Lovelace")
    assert (pod.phase, pod.node) == ("Running", "node-1")
    assert pod.image == "registry.example:5000/lab/scipy-notebook:2026-01"
    assert pod.memory_limit_bytes == 4 * 2**30
    assert pod.running_since == since
    assert pod.created_at is not None
    assert not pod.finished
    assert view.gone == ()
    assert source.complaint is None


async def test_before_the_first_list_there_is_no_view(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    assert source.view() is None
    assert source.stale_seconds is None
    view = await view_where(source, lambda view: True)
    assert view.pods == {}
    assert 0 <= source.stale_seconds < 10


async def test_a_pod_that_starts_and_ends_is_followed_with_its_reason(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    await view_where(source, lambda view: True)
    await pod_cluster.create(user_pod("jupyter-ada"))
    await view_where(source, lambda view: len(view.pods) == 1)
    since = whole_second() - timedelta(minutes=5)
    await pod_cluster.set_status("jupyter-ada", running(since))
    await view_where(source, lambda view: named(view)["jupyter-ada"].running_since == since)
    at = whole_second()
    await pod_cluster.set_status("jupyter-ada", terminated(at, "OOMKilled", 137, since))
    view = await view_where(source, lambda view: named(view)["jupyter-ada"].finished)
    pod = named(view)["jupyter-ada"]
    assert (pod.finished_at, pod.finish_reason, pod.exit_status) == (at, "OOMKilled", 137)
    assert source.lists == 1


async def test_a_deletion_is_told_at_once_with_the_last_state_until_it_is_acknowledged(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    await pod_cluster.create(user_pod("jupyter-ada"))
    since = whole_second() - timedelta(minutes=5)
    at = whole_second()
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    await view_where(source, lambda view: len(view.pods) == 1)
    await pod_cluster.set_status("jupyter-ada", terminated(at, "Completed", 0, since))
    before = datetime.now(timezone.utc)
    await pod_cluster.delete("jupyter-ada")
    after = datetime.now(timezone.utc)
    view = await view_where(source, lambda view: view.gone)
    assert view.pods == {}
    (gone,) = view.gone
    assert (gone.pod.username, gone.pod.finished_at) == ("ada", at)
    assert gone.gone_after <= after
    assert before <= gone.gone_before <= after + timedelta(seconds=2)
    assert source.view().gone == view.gone
    source.acknowledge(view)
    assert source.view().gone == ()


async def test_a_pod_made_again_under_its_name_is_another_pod(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    first = await pod_cluster.create(user_pod("jupyter-ada"))
    await view_where(source, lambda view: len(view.pods) == 1)
    await pod_cluster.delete("jupyter-ada")
    second = await pod_cluster.create(user_pod("jupyter-ada"))
    view = await view_where(
        source,
        lambda view: [pod.uid for pod in view.pods.values()] == [second["metadata"]["uid"]],
    )
    assert [gone.pod.uid for gone in view.gone] == [first["metadata"]["uid"]]


async def test_only_pods_that_the_selector_names_are_followed(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    await pod_cluster.create(user_pod("hub", labels={"component": "hub"}))
    await pod_cluster.create(user_pod("jupyter-ada"))
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    hubs = source_of(pod_cluster.kubeconfig, pod_cluster.namespace, label_selector="component=hub")
    assert set(named(await view_where(source, lambda view: True))) == {"jupyter-ada"}
    assert set(named(await view_where(hubs, lambda view: True))) == {"hub"}


async def test_a_list_comes_in_pages(pod_cluster: PodCluster, source_of: SourceOf) -> None:
    for number in range(7):
        await pod_cluster.create(user_pod(f"jupyter-{number}", username=f"user-{number}"))
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace, page_size=3)
    view = await view_where(source, lambda view: True)
    assert {pod.name: pod.uid for pod in view.pods.values()} == await pod_cluster.truth()


async def test_a_pod_without_annotations_or_status_has_no_identity(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    await pod_cluster.create(user_pod("jupyter-someone", username=None))
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    pod = named(await view_where(source, lambda view: len(view.pods) == 1))["jupyter-someone"]
    assert (pod.username, pod.server_name, pod.email, pod.full_name) == (None, None, None, None)
    assert pod.running_since is None


async def test_a_restarted_container_runs_and_tells_how_its_last_run_ended(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    await pod_cluster.create(user_pod("jupyter-ada"))
    at = whole_second()
    since = at - timedelta(hours=1)
    last = terminated(at, "OOMKilled", 137, since)["containerStatuses"][1]["state"]
    again = running(at)["containerStatuses"][1]["state"]
    statuses = container(again, lastState=last)
    await pod_cluster.set_status("jupyter-ada", {"phase": "Running", "containerStatuses": statuses})
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    view = await view_where(source, lambda view: named(view)["jupyter-ada"].running_since == at)
    pod = named(view)["jupyter-ada"]
    assert not pod.finished
    assert (pod.last_finished_at, pod.last_finish_reason) == (at, "OOMKilled")
    assert pod.last_exit_status == 137


async def test_stopping_ends_every_task_and_keeps_the_view(
    pod_cluster: PodCluster, source_of: SourceOf
) -> None:
    await pod_cluster.create(user_pod("jupyter-ada"))
    source = source_of(pod_cluster.kubeconfig, pod_cluster.namespace)
    await view_where(source, lambda view: len(view.pods) == 1)
    await source.stop()
    await pod_cluster.delete("jupyter-ada")
    assert len(source.view().pods) == 1
