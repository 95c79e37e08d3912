"""What goes wrong with one list or one watch, and that nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from kube_api import KubeApi, error_line, failure, half_page, hang_up
from pod_cluster import named, user_pod, view_where
from pod_followed import NAMESPACE, SourceOf, follow, put, settled, watching

from jupyterhub_metrics.sources.pods import PodSource


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
