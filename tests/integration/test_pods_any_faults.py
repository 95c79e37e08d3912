"""Whatever goes wrong in whatever order: the view becomes the truth, each deletion is told once."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kube_api import KubeApi, error_line, failure, half_page, hang_up
from pod_cluster import make_source, user_pod, view_where

from jupyterhub_metrics.sources.pods import PodSource
from jupyterhub_metrics.sources.world import GonePod, PodView

NAMESPACE = "jhub"
NAMES = ["jupyter-ada", "jupyter-bob", "jupyter-eve"]

ANSWERS: dict[str, Callable[[web.Request], Any]] = {
    "hang up": hang_up,
    "500": lambda request: failure(500, "InternalError", "etcd is away"),
    "410": lambda request: failure(410, "Expired", "too old"),
    "403": lambda request: failure(403, "Forbidden", "pods is forbidden"),
    "HTML": lambda request: web.Response(text="<html>", content_type="text/html"),
    "an empty object": lambda request: web.json_response({}),
    "half a page": half_page(b'{"kind":"PodList","metadata":{"resourceVersion":"9"},"items":[]}'),
}
SAID = {
    "410": error_line(410, "Expired", "too old"),
    "500": error_line(500, "InternalError", "etcd is away"),
    "garbage": b"\x00\xff\n",
    "half a line": b'{"type":"DELETED","object":{"metad',
}

ACTIONS = st.one_of(
    st.tuples(st.just("make"), st.sampled_from(NAMES)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES)),
    st.tuples(st.just("touch"), st.sampled_from(NAMES)),
    st.tuples(st.just("fail a list"), st.sampled_from(sorted(ANSWERS))),
    st.tuples(st.just("fail a continued list"), st.sampled_from(sorted(ANSWERS))),
    st.tuples(st.just("fail a watch"), st.sampled_from(sorted(ANSWERS))),
    st.tuples(st.just("say"), st.sampled_from(sorted(SAID))),
    st.tuples(
        st.sampled_from(["break", "end", "compact", "silence", "bookmark", "stop", "start"]),
        st.just(""),
    ),
    st.tuples(st.just("wait"), st.sampled_from(["0", "0.005", "0.03"])),
    st.tuples(st.just("acknowledge"), st.just("")),
)


class Story:
    """Carries the actions out, and knows what truly happened."""

    def __init__(self, api: KubeApi, source: PodSource) -> None:
        self.api = api
        self.source = source
        self.deleted_at: dict[str, datetime] = {}
        self.seen: set[str] = set()
        self.told: list[GonePod] = []
        self._up = True

    def look(self) -> PodView | None:
        view = self.source.view()
        if view is not None:
            self.seen |= {pod.uid for pod in view.pods.values()}
        return view

    def acknowledge(self) -> None:
        view = self.look()
        if view is not None:
            self.told += view.gone
            self.source.acknowledge(view)

    async def carry_out(self, what: str, argument: str) -> None:
        self.look()
        store, key = self.api.store, (NAMESPACE, argument)
        if what == "make" and key not in store.pods:
            store.create(user_pod(argument, namespace=NAMESPACE))
        elif what == "delete" and key in store.pods:
            self.deleted_at[store.pods[key].pod["metadata"]["uid"]] = datetime.now(timezone.utc)
            store.delete(*key)
        elif what == "touch" and key in store.pods:
            store.patch(*key, {"status": {"phase": "Running"}})
        elif what.startswith("fail"):
            wanted = {"fail a list": "list", "fail a watch": "watch"}.get(what, "continue")
            self.api.fail_next(ANSWERS[argument], wanted)
        elif what == "say":
            self.api.say(SAID[argument])
        elif what == "wait":
            await asyncio.sleep(float(argument))
        elif what == "acknowledge":
            self.acknowledge()
        elif what == "stop" and self._up:
            self._up = False
            await self.api.stop()
        elif what == "start":
            await self.heal()
        elif what in ("break", "end", "silence"):
            name = "silence" if what == "silence" else f"{what}_watches"
            getattr(self.api, name)()
        elif what == "bookmark":
            self.api.bookmark()
        elif what == "compact":
            store.compact()

    async def heal(self) -> None:
        if not self._up:
            self._up = True
            await self.api.start()


async def live(actions: list[tuple[str, str]], folder: Path) -> None:
    api = KubeApi()
    await api.start()
    source = make_source(
        api.kubeconfig(folder / "kubeconfig", "test"),
        NAMESPACE,
        page_size=2,
        silence_seconds=0.2,
    )
    source.start()
    story = Story(api, source)
    try:
        api.store.create(user_pod(NAMES[0], namespace=NAMESPACE))
        await view_where(source, lambda view: view.pods)
        for what, argument in actions:
            await story.carry_out(what, argument)
        await story.heal()
        api.faults.clear()

        def in_step(view: PodView) -> bool:
            truth = {
                (stored.pod["metadata"]["uid"], stored.pod["status"]["phase"])
                for stored in api.store.pods.values()
            }
            return {(pod.uid, pod.phase) for pod in view.pods.values()} == truth

        await view_where(source, in_step)
        story.acknowledge()
    finally:
        await source.stop()
        await api.stop()
    told = [gone.pod.uid for gone in story.told]
    assert len(told) == len(set(told))
    assert set(told) <= set(story.deleted_at)
    assert story.seen & set(story.deleted_at) <= set(told)
    for gone in story.told:
        assert gone.gone_after <= story.deleted_at[gone.pod.uid] <= gone.gone_before
    assert source.faults == 0


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(st.lists(ACTIONS, min_size=5, max_size=30))
def test_after_any_faults_the_view_is_the_truth_and_each_deletion_is_told_once(
    actions: list[tuple[str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(actions, Path(folder)))
