"""What the world says, as values: the Hub's servers and the cluster's pods at one moment.

Made by ``sources.hubapi`` and ``sources.pods``, compared by ``sources.drift``. Standard library
only; no clock, no I/O. Times are aware and in UTC. What is unknown is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class HubServer:
    """One server as the Hub's REST API shows it; ``started_at`` is what ids are derived from."""

    username: str
    server_name: str
    started_at: datetime | None
    ready: bool
    pending: str | None = None
    last_activity_at: datetime | None = None


@dataclass(frozen=True)
class HubView:
    """All that the Hub knew in ``[asked_at, answered_at]``, by (user name, server name).

    Only servers that run or are about to; a stopped one is absent. ``groups`` are the members of
    each group, None where the token may not read them. ``clock_ahead_seconds`` is how far the
    Hub's clock is ahead of ours at least, negative if it is behind; to the second.
    """

    servers: Mapping[tuple[str, str], HubServer]
    groups: Mapping[str, frozenset[str]] | None
    asked_at: datetime
    answered_at: datetime
    clock_ahead_seconds: float = 0.0


@dataclass(frozen=True)
class Pod:
    """One single-user pod; identity from KubeSpawner's annotations, never from its name.

    ``running_since`` to ``exit_status`` are the container's present run; the ``last_`` fields say
    how its run before that ended, where the container was restarted.
    """

    namespace: str
    name: str
    uid: str
    username: str | None = None
    server_name: str | None = None
    phase: str | None = None
    created_at: datetime | None = None
    running_since: datetime | None = None
    finished_at: datetime | None = None
    finish_reason: str | None = None
    exit_status: int | None = None
    last_finished_at: datetime | None = None
    last_finish_reason: str | None = None
    last_exit_status: int | None = None
    deletion_at: datetime | None = None
    status_reason: str | None = None
    node: str | None = None
    image: str | None = None
    email: str | None = None
    full_name: str | None = None
    memory_limit_bytes: int | None = None

    @property
    def finished(self) -> bool:
        """Whether its container has ended, whatever the pod's own state."""
        # a node that was lost leaves an exit status without a time
        ended = self.finished_at is not None or self.exit_status is not None
        return ended or self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True)
class GonePod:
    """A pod that was deleted: its last state, and the interval in which it went."""

    pod: Pod
    gone_after: datetime
    gone_before: datetime


@dataclass(frozen=True)
class PodView:
    """The pods that are there, by (namespace, name), and those that went since the last view.

    ``fresh_at`` is the last moment at which the source was known to be in step with the cluster.
    """

    pods: Mapping[tuple[str, str], Pod]
    fresh_at: datetime
    gone: tuple[GonePod, ...] = field(default=())
