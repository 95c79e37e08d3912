"""What a check of the Hub and the cluster reads from the database and writes into it.

Called by ``service.checker`` through the store, and spoken by ``sources.drift``. Values and the
shapes of statements; no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from .digests import digest_of


@dataclass(frozen=True)
class CheckedSession:
    """A session as a check sees it: open, or ended and perhaps wrongly or not exactly so.

    ``original_username`` is the one of its identity, which its events carry. ``last_event_at``,
    ``alive_at`` and ``recorded`` speak of what the Hub's recorder told: its latest event, the
    latest that saw the server alive, whether it told anything at all, and (``stop_failed``) whether
    a stop raised, after which it alone knows the server. ``shown_ready``: a check concluded from
    the Hub's API that it was ready. ``seen_at`` is the last moment at which an earlier check saw
    it running; the rest is what that check measured.
    """

    id: UUID
    hub: str
    username: str
    original_username: str
    server_name: str
    started_at: datetime
    state: str
    ended_at: datetime | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None
    end_reason: str | None = None
    end_source: str | None = None
    ended_by: str | None = None
    exit_status: int | None = None
    image: str | None = None
    node: str | None = None
    namespace: str | None = None
    pod_name: str | None = None
    last_event_at: datetime | None = None
    alive_at: datetime | None = None
    recorded: bool = False
    stop_failed: bool = False
    shown_ready: bool = False
    seen_at: datetime | None = None
    polled_at: datetime | None = None
    active_seconds: float | None = None
    last_activity_at: datetime | None = None
    resolution_seconds: float | None = None

    @property
    def open(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True)
class Activity:
    """How active a session was, counted from check to check.

    ``active_seconds`` is the time in which the Hub reported activity; no stretch is known more
    finely than ``resolution_seconds``. ``polled_at`` is the check up to which it is counted.
    """

    session_id: UUID
    seen_at: datetime | None
    polled_at: datetime
    active_seconds: float
    last_activity_at: datetime | None
    resolution_seconds: float


@dataclass(frozen=True)
class Observation:
    """One server that a check saw running; by its pod, or by its session if it has none."""

    namespace: str | None
    pod_name: str | None
    session_id: UUID | None
    user_email: str
    user_name: str
    node_name: str | None
    container_image: str | None
    container_base: str | None
    container_version: str | None
    age_seconds: float | None


_SESSION_FIELDS: Final = tuple(field.name for field in fields(CheckedSession))
_ACTIVITY_FIELDS: Final = tuple(field.name for field in fields(Activity))
_OBSERVATION_FIELDS: Final = tuple(field.name for field in fields(Observation))


def checked_session(row: asyncpg.Record) -> CheckedSession:
    return CheckedSession(**{name: row[name] for name in _SESSION_FIELDS})


def activity(row: asyncpg.Record) -> Activity:
    return Activity(**{name: row[name] for name in _ACTIVITY_FIELDS})


def activity_columns(rows: Sequence[Activity]) -> list[list[Any]]:
    """One list for each column, as ``record_activity`` takes them."""
    return [[getattr(row, name) for row in rows] for name in _ACTIVITY_FIELDS]


def observation_columns(rows: Sequence[Observation]) -> list[list[Any]]:
    """One list for each column, as ``record_observations`` takes them."""
    users = [digest_of((o.namespace, o.pod_name, o.user_email, o.user_name)) for o in rows]
    images = [digest_of((o.container_image, o.container_base, o.container_version)) for o in rows]
    return [users, images, *([getattr(o, name) for o in rows] for name in _OBSERVATION_FIELDS)]


def membership_columns(groups: Mapping[str, Iterable[str]]) -> tuple[list[str], list[str]]:
    """Group names and usernames, one pair for each membership, in a stable order."""
    pairs = sorted((name, member) for name, members in groups.items() for member in members)
    return [name for name, _ in pairs], [member for _, member in pairs]
