"""A cluster whose pods a schedule moves, told to the real ledger as lists and watches tell it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

from builders import at
from scheduled_time import Time

from jupyterhub_metrics.sources.pod_json import SeenPod
from jupyterhub_metrics.sources.pod_ledger import PodLedger, Seen
from jupyterhub_metrics.sources.pods import PodSource
from jupyterhub_metrics.sources.world import Pod

NAMESPACE = "jhub"
BOOKMARK_SECONDS = 60.0


def pod_name(username: str) -> str:
    return f"jupyter-{username}"


class ScheduledCluster:
    """Pods by name; ``answers`` is False while nobody hears of them."""

    def __init__(self, time: Time) -> None:
        self.pods: dict[str, Pod] = {}
        self.answers = True
        self._time = time
        self._made = 0
        self._listed = False
        self._unheard: list[tuple[str, Pod]] = []
        self._hears: Callable[[str, Pod], None] | None = None
        self._lists: Callable[[], None] | None = None

    def follow(self, hears: Callable[[str, Pod], None], lists: Callable[[], None]) -> None:
        """Somebody new lists and then watches."""
        self._hears, self._lists = hears, lists
        self._unheard.clear()
        self._listed = self.answers
        if self.answers:
            lists()

    def runs(self, username: str) -> bool:
        pod = self.pods.get(pod_name(username))
        return pod is not None and not pod.finished

    def create(self, username: str) -> None:
        self._made += 1
        self._put(
            Pod(
                namespace=NAMESPACE,
                name=pod_name(username),
                uid=f"uid-{self._made}",
                username=username,
                server_name="",
                phase="Pending",
                created_at=self._moment(),
                node="n1",
            )
        )

    def run(self, username: str) -> None:
        """Its container starts, if it is still to."""
        pod = self.pods.get(pod_name(username))
        if pod is not None and pod.phase == "Pending":
            self._put(replace(pod, phase="Running", running_since=self._moment()))

    def finish(self, username: str) -> None:
        """Its container ends, and Kubernetes keeps the record."""
        pod = self.pods[pod_name(username)]
        self._put(
            replace(
                pod,
                phase="Failed",
                finished_at=self._moment(),
                finish_reason="OOMKilled",
                exit_status=137,
            )
        )

    def delete(self, username: str) -> None:
        pod = self.pods.pop(pod_name(username), None)
        if pod is not None:
            self._tell("DELETED", pod)

    def stall(self) -> None:
        self.answers = False

    def go_on(self, *, expired: bool) -> None:
        """What piled up is told now; what is too old takes a new list, as whoever has none does."""
        self.answers = True
        unheard, self._unheard = self._unheard, []
        if (expired or not self._listed) and self._lists is not None:
            self._listed = True
            self._lists()
            return
        for kind, pod in unheard:
            self._tell(kind, pod)

    def _put(self, pod: Pod) -> None:
        self.pods[pod.name] = pod
        self._tell("MODIFIED", pod)

    def _tell(self, kind: str, pod: Pod) -> None:
        if self.answers and self._hears is not None:
            self._hears(kind, pod)
        else:
            self._unheard.append((kind, pod))

    def _moment(self) -> datetime:
        """As Kubernetes writes it: whole seconds."""
        return at(math.floor(self._time.now))


class ScheduledPodSource(PodSource):
    """The real source, without its connection: the cluster tells the real ledger itself."""

    def __init__(
        self, cluster: ScheduledCluster, time: Time, clock: Callable[[], datetime]
    ) -> None:
        super().__init__(environment={}, clock=clock)
        self._cluster = cluster
        self._time = time
        self._stopped = False

    def start(self) -> None:
        self._ledger = PodLedger()
        self._followers = [SimpleNamespace(ledger=self._ledger, complaint=None)]  # type: ignore[list-item]
        self._cluster.follow(self._hears, self._lists)
        self._bookmark()

    def end(self) -> None:
        self._stopped = True

    def _hears(self, kind: str, pod: Pod) -> None:
        seen, now = SeenPod(pod, "1"), self.clock()
        if kind == "DELETED":
            self._ledger.remove(seen, now)
        else:
            self._ledger.put(seen, now)
        self._ledger.in_step.ran_dry(now)

    def _lists(self) -> None:
        now = self.clock()
        pods = [SeenPod(pod, "1") for pod in self._cluster.pods.values()]
        self._ledger.replace(Seen(pods, now, now))

    def _bookmark(self) -> None:
        """The API server says every minute how far it is."""
        if self._stopped:
            return
        if self._cluster.answers:
            self._ledger.in_step.ran_dry(self.clock())
        self._time.later(BOOKMARK_SECONDS, self._bookmark)
