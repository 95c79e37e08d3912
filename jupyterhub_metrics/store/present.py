"""What is true now: open sessions, active users, groups, and the size of the database.

Called by the service's snapshots. A few rows for any number of sessions, except where users are
asked for one by one. Simulated sessions do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .queries import Fetch


@dataclass(frozen=True)
class OpenSessions:
    """``sessions`` that are all ``starting`` or all ``running`` and alike in the other fields.

    What they request in all: of a pod without a request its limit, as Kubernetes has it. What they
    use in all, by samples of the last five minutes. None where it is not known of any.
    """

    hub: str
    state: str
    profile: str | None
    image: str | None
    node: str | None
    gpus: float | None
    sessions: int
    memory_requested_bytes: float | None
    cpu_requested_cores: float | None
    gpus_requested: float | None
    memory_used_bytes: float | None = None
    cpu_used_cores: float | None = None


@dataclass(frozen=True)
class ActiveUsers:
    """How many of a Hub's users have a server that is ready, or had one within a time."""

    hub: str
    now: int
    day: int
    week: int
    month: int


@dataclass(frozen=True)
class UserRequests:
    """A user who had a server within 30 days, and what the open ones request in all, else None."""

    hub: str
    username: str
    open_sessions: int
    memory_requested_bytes: float | None
    cpu_requested_cores: float | None
    memory_used_bytes: float | None = None
    cpu_used_cores: float | None = None


@dataclass(frozen=True)
class Member:
    """One user in one group of a Hub."""

    hub: str
    group_name: str
    username: str


class Present:
    """Asks the store's own database; every method raises DatabaseUnavailable."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def open_sessions(self) -> list[OpenSessions]:
        """All that start or run, of all Hubs, in no particular order."""
        return [OpenSessions(*row.values()) for row in await self._fetch("open_sessions")]

    async def active_users(self, now: datetime) -> list[ActiveUsers]:
        """One for each Hub that had a user within 30 days before ``now``."""
        return [ActiveUsers(*row.values()) for row in await self._fetch("active_users", now)]

    async def users_and_requests(self, now: datetime) -> list[UserRequests]:
        """Every user of the 30 days before ``now``, by Hub and name."""
        return [UserRequests(*row.values()) for row in await self._fetch("users_and_requests", now)]

    async def members(self) -> list[Member]:
        """Who is in which group, as the last check saw it, by Hub and name."""
        return [Member(*row.values()) for row in await self._fetch("members_now")]

    async def database_bytes(self) -> int:
        """What the whole database takes on disk."""
        rows: Sequence[Any] = await self._fetch("database_size")
        return int(rows[0]["bytes"])
