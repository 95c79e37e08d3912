"""What every room speaks: events, sessions, their identity and their wire format.

Standard library only, no clock, no I/O. The Hub's recorder builds events from here and the
service reads them with the same code, so that both derive the same ids without talking.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

NAMESPACE: Final = uuid.UUID("8f1d8a1e-5a0e-5f0b-9a55-0d6c1f6f9c11")
"""Root of every derived id. Part of the identity rule: it never changes."""

KINDS: Final = (
    "requested",
    "ready",
    "failed",
    "stopped",
    "stop_failed",
    "renamed",
    "corrected",
    "rejected",
)
"""Every kind of event. ``rejected`` alone belongs to no session."""

FAILURE_REASONS: Final = ("timeout", "exception", "exited", "cancelled", "hub_restarted")
"""Why a start failed: too slow, it raised, the process exited, someone stopped it, the Hub died."""

STOP_REASONS: Final = (
    "stopped_by_user",
    "stopped_by_admin",
    "stopped_by_service",
    "stopped_by_hub",
    "hub_shutdown",
    "died",
)
"""Why a running server ended: who asked, or ``died``, which means that nobody did.
``stopped_by_hub`` is the Hub's own decision, such as a blocked user found at its start, or that of
code that runs in it and acts in no one's name."""

CONTAINER_REASONS: Final = (
    "completed",
    "error",
    "oom_killed",
    "evicted",
    "deadline_exceeded",
    "node_lost",
    "preempted",
)
"""Why a container ended, by the cluster's own record."""

UNSEEN: Final = "unseen"
"""Why a session ended that was found gone: nobody saw it."""

REJECTION_REASONS: Final = (
    "throttled",
    "server_limit",
    "auth_expired",
    "pre_spawn_failed",
    "refused",
    "error",
)
"""Why a request never became a session; ``error``: the Hub raised before it asked a spawner."""

SOURCES: Final = ("hub", "hub_poll", "hub_start", "hub_api", "container", "pods", "simulation")
"""Who saw it: the Hub at the moment itself, its poll of a server, its check of servers at start,
a poll of its REST API, Kubernetes' own record of a container, the watched pods, or a simulation."""

PERSON_FIELDS: Final = ("email", "full_name", "department", "job_title")
"""What may be known of a user: facts of events, and columns of ``users``."""

MAX_NAME_CHARACTERS: Final = 255
MAX_BATCH_EVENTS: Final = 1000


def session_id(hub: str, username: str, server_name: str, started_at: datetime) -> uuid.UUID:
    """The id of a session, derived from what JupyterHub itself stores for the server.

    ``started_at`` is aware; its microseconds count. Two views that agree on the four values
    agree on the id (a version 5 UUID, RFC 9562) without talking to one another.
    """
    return uuid.uuid5(NAMESPACE, "\x1f".join((hub, username, server_name, isoformat(started_at))))


def isoformat(moment: datetime) -> str:
    """UTC in RFC 3339 with exactly six decimals, for example ``2026-11-22T08:00:00.000000Z``."""
    if moment.tzinfo is None:
        raise ValueError(f"found naive datetime {moment!r}; expected an aware one")
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"


def moment_of(text: str) -> datetime:
    """The moment that RFC 3339 names; naive where it names no zone. Raises ValueError."""
    # before Python 3.11 fromisoformat knows no Z
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass(frozen=True)
class Event:
    """Something that happened to a session, or a request that never became one.

    ``occurred_at`` is the best estimate and lies in ``[not_before, not_after]``; the three are
    equal when the moment is exact. ``id`` is derived from all the rest, so that the same event
    sent twice is one event, and two events that differ anywhere are two.
    """

    kind: str
    hub: str
    username: str
    server_name: str
    occurred_at: datetime
    source: str
    session_id: uuid.UUID | None = None
    started_at: datetime | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    reason: str | None = None
    actor: str | None = None
    exit_status: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    id: uuid.UUID | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "not_before", self.not_before or self.occurred_at)
        object.__setattr__(self, "not_after", self.not_after or self.occurred_at)
        if self.id is None:
            object.__setattr__(self, "id", uuid.uuid5(NAMESPACE, canonical(self._content())))

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "kind": self.kind,
            "hub": self.hub,
            "username": self.username,
            "server_name": self.server_name,
            "occurred_at": isoformat(self.occurred_at),
            "source": self.source,
            "facts": dict(self.facts),
        }
        if self.session_id is not None:
            content["session_id"] = str(self.session_id)
        for name in ("started_at", "not_before", "not_after"):
            moment = getattr(self, name)
            if moment is not None and (name == "started_at" or moment != self.occurred_at):
                content[name] = isoformat(moment)
        for name in ("reason", "actor", "exit_status"):
            if getattr(self, name) is not None:
                content[name] = getattr(self, name)
        return content

    def to_wire(self) -> dict[str, Any]:
        """The event as JSON-ready values; what is unknown is absent. See ``docs/events.md``."""
        return {"id": str(self.id), **self._content()}

    def to_json(self) -> str:
        return canonical(self.to_wire())


def canonical(value: Mapping[str, Any], *, allow_nan: bool = True) -> str:
    """JSON with sorted keys and no spaces: one text for one value.

    NaN and infinities are not JSON; with ``allow_nan=False`` they raise ValueError.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=allow_nan
    )


@dataclass(frozen=True)
class Session:
    """One run of one user server, as the ``sessions`` table keeps it.

    Times are aware and in UTC. ``ended_at`` is None while the server starts or runs; otherwise it
    lies in ``[ended_after, ended_before]``, and the three are equal when the end was seen.
    What is unknown is None.
    """

    id: uuid.UUID
    hub: str
    username: str
    server_name: str
    started_at: datetime
    state: str
    ready_at: datetime | None = None
    ended_at: datetime | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None
    end_reason: str | None = None
    end_source: str | None = None
    ended_by: str | None = None
    exit_status: int | None = None
    started_by: str | None = None
    display_name: str | None = None
    groups: tuple[str, ...] = ()
    spawner_class: str | None = None
    profile: str | None = None
    user_options: Mapping[str, Any] = field(default_factory=dict)
    image: str | None = None
    image_name: str | None = None
    image_tag: str | None = None
    image_digest: str | None = None
    node: str | None = None
    namespace: str | None = None
    pod_name: str | None = None
    cpu_guarantee_cores: float | None = None
    cpu_limit_cores: float | None = None
    memory_guarantee_bytes: int | None = None
    memory_limit_bytes: int | None = None
    gpus: float | None = None
    simulated: bool = False
    inferred: bool = False

    def seconds(self, now: datetime) -> float:
        """Seconds of ``[started_at, ended_at)``, or until ``now`` while it runs.

        A server that never became ready has none.
        """
        if self.state in ("starting", "failed"):
            return 0.0
        return max(0.0, ((self.ended_at or now) - self.started_at).total_seconds())

    def seconds_between(self, since: datetime, until: datetime, now: datetime) -> float:
        """The part of :meth:`seconds` that falls in ``[since, until)``."""
        if self.state in ("starting", "failed"):
            return 0.0
        begin = max(since, self.started_at)
        end = min(until, self.ended_at or now)
        return max(0.0, (end - begin).total_seconds())

    def waiting_seconds(self) -> float | None:
        """Seconds from the request until the server was ready; None if that was not seen."""
        if self.ready_at is None:
            return None
        return (self.ready_at - self.started_at).total_seconds()
