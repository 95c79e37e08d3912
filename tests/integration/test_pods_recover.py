"""What goes wrong between the source and an API server, and that nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from aiohttp import web
from kube_api import TOKEN, KubeApi, error_line, failure, half_page, hang_up
from pod_cluster import named, user_pod, view_where

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


def text_page(status: int) -> Callable[[web.Request], web.Response]:
    body = "<html><body>Please log in</body></html>"
    return lambda request: web.Response(text=body, content_type="text/html", status=status)


def json_page(body: object) -> Callable[[web.Request], web.Response]:
    return lambda request: web.json_response(body)


BROKEN_LISTS = {
    "hang up": hang_up,
    "500": lambda request: failure(500, "InternalError", "etcd is away"),
    "429": lambda request: failure(429, "TooManyRequests", "later"),
    "HTML": text_page(200),
    "HTML 502": text_page(502),
    "half a page": half_page(b'{"kind":"PodList","metadata":{"resourceVersion":"9"},"items":[]}'),
    "an empty object": json_page({}),
    "another kind": json_page(
        {"kind": "SecretList", "metadata": {"resourceVersion": "9"}, "items": []}
    ),
    "no version": json_page({"kind": "PodList", "metadata": {}, "items": []}),
    "a nameless pod": json_page(
        {"kind": "PodList", "metadata": {"resourceVersion": "9"}, "items": [{"metadata": {}}]}
    ),
}


@pytest.mark.parametrize("act", BROKEN_LISTS.values(), ids=BROKEN_LISTS)
async def test_a_list_that_fails_ends_no_pod(
    act: Callable[..., object], kube_api: KubeApi, followed: PodSource
) -> None:
    for _ in range(4):
        kube_api.fail_next(act, "list")
    kube_api.store.compact()
    put(kube_api, "jupyter-bob")
    kube_api.store.compact()
    await asyncio.sleep(0)
    kube_api.say(error_line(410, "Expired", "too old"))
    await view_where(followed, lambda view: not kube_api.faults)
    assert "jupyter-ada" in named(followed.view())
    view = await settled(followed, kube_api)
    assert view.gone == ()


BROKEN_WATCHES: dict[str, bytes] = {
    "gone": error_line(410, "Expired", "too old resource version"),
    "error": error_line(500, "InternalError", "etcd is away"),
    "error without a status": b'{"type":"ERROR","object":{}}\n',
    "garbage": b"\x00\xff not json\n",
    "another object": b'{"a":1}\n',
    "half a line, then another": b'{"type":"ADDED","obj' + error_line(500, "x", "x"),
    "an unknown kind": b'{"type":"RENAMED","object":{"metadata":{}}}\n',
    "an event without a pod": b'{"type":"DELETED","object":{}}\n',
    "a bookmark without a version": b'{"type":"BOOKMARK","object":{"metadata":{}}}\n',
}


@pytest.mark.parametrize("said", BROKEN_WATCHES.values(), ids=BROKEN_WATCHES)
async def test_a_watch_that_breaks_is_taken_up_and_a_deletion_meanwhile_is_told_once(
    said: bytes, kube_api: KubeApi, followed: PodSource
) -> None:
    uid = followed.view().pods[NAMESPACE, "jupyter-ada"].uid
    kube_api.say(said)
    put(kube_api, "jupyter-bob")
    kube_api.store.delete(NAMESPACE, "jupyter-ada")
    view = await settled(followed, kube_api)
    assert [gone.pod.uid for gone in view.gone] == [uid]
    kube_api.store.delete(NAMESPACE, "jupyter-bob")
    view = await settled(followed, kube_api)
    assert len(view.gone) == 2
    assert followed.faults == 0


async def test_a_watch_goes_on_from_where_it_broke_without_a_new_list(
    kube_api: KubeApi, followed: PodSource
) -> None:
    kube_api.break_watches()
    put(kube_api, "jupyter-bob")
    await settled(followed, kube_api)
    await watching(kube_api)
    kube_api.end_watches()
    put(kube_api, "jupyter-eve")
    await settled(followed, kube_api)
    assert followed.lists == 1


async def test_half_a_line_at_the_end_of_a_stream_is_asked_for_again(
    kube_api: KubeApi, followed: PodSource
) -> None:
    kube_api.silence()
    put(kube_api, "jupyter-bob")
    line = kube_api.store.changes[-1].line_for("component=singleuser-server")
    assert line is not None
    kube_api.say(line[:-20])
    kube_api.end_watches()
    view = await settled(followed, kube_api)
    assert set(named(view)) == {"jupyter-ada", "jupyter-bob"}
    assert followed.lists == 1


async def test_a_line_that_comes_in_pieces_is_one_line(
    kube_api: KubeApi, followed: PodSource
) -> None:
    kube_api.silence()
    put(kube_api, "jupyter-bob")
    put(kube_api, "jupyter-eve")
    lines = [c.line_for("component=singleuser-server") or b"" for c in kube_api.store.changes[-2:]]
    text = b"".join(lines)
    for piece in (text[:10], text[10:50], text[50 : len(lines[0]) + 7], text[len(lines[0]) + 7 :]):
        kube_api.say(piece)
        await asyncio.sleep(0.02)
    await settled(followed, kube_api)
    assert len(kube_api.watchers) == 1
    watches = [request for request in kube_api.seen if request.query.get("watch")]
    assert len(watches) == 1


async def test_a_bookmark_moves_the_version_so_that_compaction_needs_no_list(
    kube_api: KubeApi, followed: PodSource
) -> None:
    for number in range(3):
        kube_api.store.create(user_pod(f"other-{number}", labels={}, namespace=NAMESPACE))
    kube_api.bookmark()
    await asyncio.sleep(0.05)
    kube_api.store.compact()
    kube_api.break_watches()
    put(kube_api, "jupyter-bob")
    await view_where(followed, lambda view: "jupyter-bob" in named(view))
    assert followed.lists == 1


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
    kube_api: KubeApi, followed: PodSource
) -> None:
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


async def test_a_version_that_is_gone_between_two_pages_starts_the_list_again(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    for number in range(5):
        put(kube_api, f"jupyter-{number}")
    kube_api.fail_next(lambda request: kube_api.store.compact(), "continue")
    kube_api.fail_next(lambda request: kube_api.store.compact(), "continue")
    source = follow(kube_api, source_of, tmp_path, page_size=2)
    view = await settled(source, kube_api)
    assert len(view.pods) == 5
    assert not kube_api.faults
    assert source.lists == 1


async def test_a_pod_deleted_between_two_pages_is_told_by_the_watch(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    for number in range(5):
        put(kube_api, f"jupyter-{number}")
    kube_api.fail_next(lambda request: kube_api.store.delete(NAMESPACE, "jupyter-4"), "continue")
    source = follow(kube_api, source_of, tmp_path, page_size=2)
    view = await settled(source, kube_api)
    assert [gone.pod.name for gone in view.gone] == ["jupyter-4"]


async def test_a_watch_that_falls_silent_is_opened_again(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    put(kube_api, "jupyter-ada")
    source = follow(kube_api, source_of, tmp_path, silence_seconds=0.3)
    await watching(kube_api)
    kube_api.silence()
    put(kube_api, "jupyter-bob")
    await settled(source, kube_api)
    assert source.lists == 1


async def test_a_page_that_drips_forever_counts_as_failed(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    put(kube_api, "jupyter-ada")
    kube_api.fail_next(drip, "list")
    source = follow(kube_api, source_of, tmp_path, request_timeout_seconds=0.3)
    for _ in range(2000):
        if source.complaint:
            break
        await asyncio.sleep(0.005)
    assert "in time" in source.complaint
    await settled(source, kube_api)


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

    def echo(request: web.Request) -> web.Response:
        return failure(403, "Forbidden", f"who is {request.headers['Authorization']}?")

    kube_api.fail_next(echo, "list")
    kube_api.fail_next(hang_up, "list")
    kube_api.fail_next(text_page(200), "list")
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
