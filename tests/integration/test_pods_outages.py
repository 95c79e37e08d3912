"""What is known, said and kept while the API server is away, refuses or is held back."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from aiohttp import web
from kube_api import TOKEN, KubeApi, failure, hang_up
from pod_cluster import named, user_pod, view_where
from pod_followed import NAMESPACE, SourceOf, follow, put, settled, watching

from jupyterhub_metrics.sources.pods import PodSource


async def test_what_went_during_an_outage_went_between_the_last_step_and_the_new_list(
    kube_api: KubeApi, followed: PodSource
) -> None:
    await kube_api.stop()
    last_known = datetime.now(timezone.utc)
    await view_where(followed, lambda view: followed.complaint)
    kube_api.store.delete(NAMESPACE, "jupyter-ada")
    deleted_at = datetime.now(timezone.utc)
    kube_api.store.compact()
    assert "jupyter-ada" in named(followed.view())
    await asyncio.sleep(0.1)
    back_at = datetime.now(timezone.utc)
    await kube_api.start()
    view = await view_where(followed, lambda view: view.gone)
    (gone,) = view.gone
    assert gone.gone_after <= last_known
    assert gone.gone_after <= deleted_at <= gone.gone_before
    assert gone.gone_before >= back_at
    assert followed.lists == 2
    await view_where(followed, lambda view: followed.complaint is None)


async def test_a_server_that_restarts_with_its_state_needs_no_new_list(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    put(kube_api, "jupyter-ada")
    # patient enough that a few tries outlast the restart: many failures are answered by a list
    patience = {"first_backoff_seconds": 1.0, "longest_backoff_seconds": 1.0}
    followed = follow(kube_api, source_of, tmp_path, **patience)
    await settled(followed, kube_api)
    await watching(kube_api)
    await kube_api.stop()
    await kube_api.start()
    put(kube_api, "jupyter-bob")
    await settled(followed, kube_api)
    assert followed.lists == 1


async def test_old_news_after_a_stall_is_not_taken_for_new(
    kube_api: KubeApi, followed: PodSource
) -> None:
    """The network holds deletions back; then both arrive one after the other."""
    for name in ("jupyter-bob", "jupyter-eve"):
        put(kube_api, name)
    await settled(followed, kube_api)
    kube_api.silence()
    deleted_at = {}
    for name in ("jupyter-bob", "jupyter-eve"):
        kube_api.store.delete(NAMESPACE, name)
        deleted_at[name] = datetime.now(timezone.utc)
        await asyncio.sleep(0.3)
    for change in kube_api.store.changes[-2:]:
        kube_api.say(change.line_for("component=singleuser-server") or b"")
        await asyncio.sleep(0.2)
    view = await view_where(followed, lambda view: len(view.gone) == 2)
    for gone in view.gone:
        assert gone.gone_after <= deleted_at[gone.pod.name] <= gone.gone_before


async def test_a_broken_pod_hides_no_other_and_keeps_its_last_state(
    kube_api: KubeApi, followed: PodSource, caplog: pytest.LogCaptureFixture
) -> None:
    put(kube_api, "jupyter-bob")
    before = (await settled(followed, kube_api)).pods[NAMESPACE, "jupyter-ada"]
    kube_api.store.patch(NAMESPACE, "jupyter-ada", {"status": {"phase": 7}})
    kube_api.store.patch(NAMESPACE, "jupyter-bob", {"status": {"phase": "Running"}})
    view = await view_where(followed, lambda view: named(view)["jupyter-bob"].phase == "Running")
    assert view.pods[NAMESPACE, "jupyter-ada"] == before
    assert sum("jupyter-ada" in record.getMessage() for record in caplog.records) == 1
    assert followed.faults == 0


async def test_several_namespaces_are_one_view_and_are_there_only_together(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    def refuse(request: web.Request) -> web.Response | None:
        return failure(403, "Forbidden", "no") if "/other/" in request.path else None

    put(kube_api, "jupyter-ada")
    kube_api.store.create(user_pod("jupyter-ada", namespace="other", username="eve"))
    for _ in range(20):
        kube_api.fail_next(refuse, "list")
    source = follow(kube_api, source_of, tmp_path, namespaces=[NAMESPACE, "other"])
    await watching(kube_api)
    assert source.view() is None
    assert "'other'" in source.complaint
    kube_api.faults.clear()
    view = await settled(source, kube_api)
    assert {key: pod.username for key, pod in view.pods.items()} == {
        (NAMESPACE, "jupyter-ada"): "ada",
        ("other", "jupyter-ada"): "eve",
    }


async def test_a_new_token_in_the_kubeconfig_counts_at_the_next_try(
    kube_api: KubeApi, followed: PodSource, tmp_path: Path
) -> None:
    kube_api.token = "another-token-8a72"
    kube_api.break_watches()
    await view_where(followed, lambda view: "HTTP 401" in str(followed.complaint))
    assert "jupyter-ada" in named(followed.view())
    kube_api.kubeconfig(tmp_path / "kubeconfig", "test")
    put(kube_api, "jupyter-bob")
    await settled(followed, kube_api)


async def test_a_watch_that_is_forbidden_leaves_a_list_now_and_then(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    for _ in range(1000):
        kube_api.fail_next(lambda request: failure(403, "Forbidden", "pods is forbidden"), "watch")
    put(kube_api, "jupyter-ada")
    source = follow(kube_api, source_of, tmp_path)
    await settled(source, kube_api)
    put(kube_api, "jupyter-bob")
    kube_api.store.delete(NAMESPACE, "jupyter-ada")
    view = await settled(source, kube_api)
    assert [gone.pod.name for gone in view.gone] == ["jupyter-ada"]
    await view_where(
        source, lambda view: "to watch pods in the namespace 'jhub'" in str(source.complaint)
    )
    assert "Role" in source.complaint


async def test_staleness_grows_while_the_server_is_away(
    kube_api: KubeApi, followed: PodSource
) -> None:
    await kube_api.stop()
    await view_where(followed, lambda view: followed.complaint)
    fresh_at = followed.view().fresh_at
    first = followed.stale_seconds
    await asyncio.sleep(0.2)
    assert followed.stale_seconds >= first + 0.2
    assert followed.view().fresh_at - fresh_at < timedelta(seconds=2)


async def test_no_token_reaches_a_log_or_a_complaint(
    kube_api: KubeApi,
    source_of: SourceOf,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    def log_in_page(request: web.Request) -> web.Response:
        return web.Response(text="<html>Please log in</html>", content_type="text/html")

    def echo(request: web.Request) -> web.Response:
        return failure(403, "Forbidden", f"who is {request.headers['Authorization']}?")

    kube_api.fail_next(echo, "list")
    kube_api.fail_next(hang_up, "list")
    kube_api.fail_next(log_in_page, "list")
    put(kube_api, "jupyter-ada")
    source = follow(kube_api, source_of, tmp_path)
    await settled(source, kube_api)
    assert "who is Bearer [token]?" in caplog.text
    assert TOKEN not in caplog.text
    provider = {"auth-provider": {"name": "oidc", "token": TOKEN}}
    broken = {"users": [{"name": "tester", "user": provider}]}
    path = tmp_path / "broken"
    whole = json.loads((tmp_path / "kubeconfig").read_text())
    path.write_text(json.dumps({**whole, **broken}))
    other = source_of(path, NAMESPACE)
    for _ in range(400):
        if other.complaint:
            break
        await asyncio.sleep(0.005)
    assert "no usable current context" in other.complaint
    assert TOKEN not in caplog.text
