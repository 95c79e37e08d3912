"""The pods of users' servers, followed in the cluster all the time: settings, start, stop, view.

Made by the service where the Hub runs on Kubernetes. Needs the extra ``kubernetes``, and an
account that may list and watch pods; see ``docs/pods.md``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from traitlets import Float, Integer, List, Unicode, default
from traitlets.config import LoggingConfigurable

from .._clock import utc_now
from .._tasks import end
from .cluster import Cluster
from .cluster_login import ClusterAddress, connect
from .pod_follower import FollowSettings, PodFollower
from .pod_json import PodFields
from .world import PodView

DEFAULT_LABEL_SELECTOR = "component=singleuser-server"


class PodSource(LoggingConfigurable):
    """Follows the pods of one or more namespaces and shows them as they last were known."""

    kubeconfig = Unicode(
        help="""Path of the kubeconfig file. Default: empty, which means the service account of
        the pod that this runs in; outside of a cluster or with a context: KUBECONFIG, else
        ~/.kube/config."""
    ).tag(config=True)
    context = Unicode(
        help="""Name of the context in the kubeconfig file. Default: the value of
        KUBECTL_CONTEXT; empty: the file's current context."""
    ).tag(config=True)
    namespaces = List(
        Unicode(),
        help="""Namespaces whose pods are followed. Default: the names in NAMESPACE, else in
        K8S_NAMESPACE, separated by commas; empty: the namespace of the service account or of the
        context, else "default".""",
    ).tag(config=True)
    label_selector = Unicode(
        help="""Kubernetes label selector of users' servers. Default: the value of
        POD_LABEL_SELECTOR, else component=singleuser-server. Empty: every pod."""
    ).tag(config=True)
    container = Unicode(
        "notebook",
        help="""Name of the container that is the server; in pods without it, the first one.""",
    ).tag(config=True)
    email_annotation = Unicode(
        help="""Annotation of the pod with its user's e-mail. Default: empty, none."""
    ).tag(config=True)
    full_name_annotation = Unicode(
        help="""Annotation of the pod with its user's full name. Default: empty, none."""
    ).tag(config=True)
    email_variable = Unicode(
        "GIT_AUTHOR_EMAIL",
        help="""Environment variable of the server's container with its user's e-mail, read where
        the annotation is absent. No other variable but the named ones is read. Empty: none.""",
    ).tag(config=True)
    full_name_variable = Unicode(
        "GIT_AUTHOR_NAME",
        help="""Environment variable of the server's container with its user's full name, read
        where the annotation is absent. Empty: none.""",
    ).tag(config=True)
    page_size = Integer(
        500, min=1, max=10_000, help="Pods in one page of a list; more need more memory at once."
    ).tag(config=True)
    watch_seconds = Integer(
        300,
        min=1,
        help="""Seconds after which the API server is asked to end a watch, which is then taken up
        where it ended; up to half as much again is added at random.""",
    ).tag(config=True)
    silence_seconds = Float(
        150.0,
        min=0.1,
        help="""Seconds without a byte after which a watch counts as lost and is opened again. The
        API server sends a bookmark about every 60.""",
    ).tag(config=True)
    request_timeout_seconds = Float(
        60.0,
        min=0.1,
        help="Seconds until a connection, or a page of a list to its last byte, counts as failed.",
    ).tag(config=True)
    first_backoff_seconds = Float(
        0.5,
        min=0.001,
        help="""Seconds to wait after a first failure, doubled at each further one; up to half of
        it is taken off at random.""",
    ).tag(config=True)
    longest_backoff_seconds = Float(
        30.0, min=0.001, help="Seconds to wait at most between two tries."
    ).tag(config=True)

    @default("context")
    def _default_context(self) -> str:
        return self.environment.get("KUBECTL_CONTEXT", "")

    @default("namespaces")
    def _default_namespaces(self) -> list[str]:
        environment = self.environment
        names = environment.get("NAMESPACE") or environment.get("K8S_NAMESPACE") or ""
        return [name.strip() for name in names.split(",") if name.strip()]

    @default("label_selector")
    def _default_label_selector(self) -> str:
        return self.environment.get("POD_LABEL_SELECTOR") or DEFAULT_LABEL_SELECTOR

    def __init__(
        self,
        *,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], datetime] = utc_now,
        **kwargs: Any,
    ) -> None:
        self.environment = environment
        self.clock = clock
        super().__init__(**kwargs)
        self._followers: list[PodFollower] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to follow, in the background; to be called in the event loop, once."""
        address = ClusterAddress(self.kubeconfig, self.context, self.environment)

        async def connect_here() -> Cluster:
            return await connect(address)

        settings = self._settings()
        namespaces: list[str | None] = [*dict.fromkeys(self.namespaces)]
        self._followers = [
            PodFollower(namespace, connect_here, settings, self.clock)
            for namespace in namespaces or [None]
        ]
        self._tasks = [
            asyncio.create_task(follower.follow(), name=f"pods-{follower.namespace or 'own'}")
            for follower in self._followers
        ]

    async def stop(self) -> None:
        """Ends the tasks and their connections; what was known stays to be seen."""
        await end(self._tasks)
        self._tasks = []

    def view(self) -> PodView | None:
        """All namespaces as last known; None until each has been listed once.

        An immutable copy. ``gone`` are the pods that went, oldest first, handed out again by
        every view until :meth:`acknowledge`: a caller whose round fails loses none.
        """
        fresh_at = self._fresh_at(self.clock())
        if fresh_at is None:
            return None
        pods = {
            (pod.namespace, pod.name): pod
            for follower in self._followers
            for pod in follower.ledger.pods
        }
        gone = [item for follower in self._followers for item in follower.ledger.gone]
        gone.sort(key=lambda item: item.gone_before)
        return PodView(pods=pods, fresh_at=fresh_at, gone=tuple(gone))

    def acknowledge(self, view: PodView) -> None:
        """What ``view`` said is gone has been taken note of, durably; later views leave it out."""
        for follower in self._followers:
            follower.ledger.acknowledge(view.gone)

    @property
    def stale_seconds(self) -> float | None:
        """Seconds since the state was last known to be in step; None until the first lists."""
        now = self.clock()
        fresh_at = self._fresh_at(now)
        return None if fresh_at is None else (now - fresh_at).total_seconds()

    @property
    def complaint(self) -> str | None:
        """What is missing, in one line without secrets; None while every namespace is followed."""
        return next((f.complaint for f in self._followers if f.complaint is not None), None)

    @property
    def lists(self) -> int:
        """Complete lists so far, of all namespaces."""
        return sum(follower.lists for follower in self._followers)

    @property
    def faults(self) -> int:
        """Rounds that ended by an error this code does not know; each is in the log."""
        return sum(follower.faults for follower in self._followers)

    def _fresh_at(self, now: datetime) -> datetime | None:
        """The earliest of all namespaces; None until each has been listed."""
        fresh = [follower.ledger.in_step.until(now) for follower in self._followers]
        known = [moment for moment in fresh if moment is not None]
        return min(known) if known and len(known) == len(fresh) else None

    def _settings(self) -> FollowSettings:
        return FollowSettings(
            label_selector=self.label_selector,
            fields=PodFields(
                container=self.container,
                email_annotation=self.email_annotation,
                full_name_annotation=self.full_name_annotation,
                email_variable=self.email_variable,
                full_name_variable=self.full_name_variable,
            ),
            page_size=self.page_size,
            watch_seconds=self.watch_seconds,
            silence_seconds=self.silence_seconds,
            request_timeout_seconds=self.request_timeout_seconds,
            first_backoff_seconds=self.first_backoff_seconds,
            longest_backoff_seconds=self.longest_backoff_seconds,
        )
