"""What pages and the REST API read: usage, sessions, users and groups, a page at a time.

Called by the service. Who may read what is decided there. Every method raises DatabaseUnavailable,
and UnknownZone for a time zone that the database does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from .queries import Fetch
from .read_rows import (
    STEPS,
    DayRow,
    Dimension,
    DrawnSession,
    HowSeen,
    KnownGroup,
    KnownServer,
    PseudonymKey,
    SecondsRow,
    SeenSession,
    SessionPlace,
    SummarisedDimension,
    UsageRow,
    UserOrder,
    UserRow,
    Window,
)
from .resources import Overasking, measured_of
from .rows import session_of


class Reading:
    """Asks the store's own database."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def usage_of_user(
        self, hub: str, username: str, window: Window, by: Dimension
    ) -> list[UsageRow]:
        """One user's usage, by bucket, most seconds first."""
        return await self._usage([hub], username, None, window, by)

    async def days_of_user(
        self,
        hub: str,
        username: str,
        since: datetime,
        until: datetime,
        resources_since: datetime,
        zone: str,
    ) -> list[DayRow]:
        """One user's usage by day of the zone, in no order.

        ``since`` and ``resources_since`` begin days of the zone; hours of resources are told of
        days from the latter on.
        """
        rows = await self._fetch(
            "usage_days_of_user", hub, username, since, until, resources_since, zone
        )
        return [DayRow(*row) for row in rows]

    async def usage_of_group(
        self, hub: str, group: str, window: Window, by: Dimension
    ) -> list[UsageRow]:
        """What a group's members used while they were in it, by bucket, most seconds first."""
        return await self._usage([hub], None, [group], window, by)

    async def usage_by_groups(
        self, hubs: Sequence[str], window: Window, groups: Sequence[str] | None = None
    ) -> list[UsageRow]:
        """Usage of all groups or of those named, by bucket, most seconds first."""
        return await self._usage(hubs, None, groups, window, "group")

    async def usage_of_all(
        self, hubs: Sequence[str], window: Window, by: Dimension
    ) -> list[UsageRow]:
        """Everybody's usage, by bucket, most seconds first."""
        return await self._usage(hubs, None, None, window, by)

    async def _usage(
        self,
        hubs: Sequence[str],
        username: str | None,
        groups: Sequence[str] | None,
        window: Window,
        by: Dimension,
    ) -> list[UsageRow]:
        named = None if groups is None else list(groups)
        rows = await self._fetch("usage_by", list(hubs), username, named, *_divided(window), by)
        return [UsageRow(*row.values()) for row in rows]

    async def seconds_over_time(
        self, hubs: Sequence[str], window: Window, by: SummarisedDimension
    ) -> list[SecondsRow]:
        """How long everybody's servers ran, by bucket of a day or more, in no order."""
        rows = await self._fetch("seconds_over_time", list(hubs), *_divided(window), by)
        return [SecondsRow(*row.values()) for row in rows]

    async def users(
        self,
        hubs: Sequence[str],
        window: Window,
        order: UserOrder,
        after: UserRow | None,
        limit: int,
    ) -> list[UserRow]:
        """Users with their usage, at most ``limit`` that come after ``after``."""
        place = (
            (None, None, None, None)
            if after is None
            else (after.sort_key, after.username, after.hub, after.person_id)
        )
        key, username, hub, person_id = place
        rows = await self._fetch(
            "users_page",
            list(hubs),
            window.since,
            window.until,
            order.search,
            order.column,
            order.descending,
            key,
            username,
            hub,
            limit,
            person_id,
        )
        return [UserRow(**dict(row)) for row in rows]

    async def sessions_of_user(
        self,
        hub: str,
        username: str,
        window: Window,
        server_name: str | None,
        after: SessionPlace | None,
        limit: int,
    ) -> list[SeenSession]:
        """A user's sessions that overlap the window, newest first."""
        rows = await self._fetch(
            "sessions_of_user_page",
            hub,
            username,
            window.since,
            window.until,
            server_name,
            *(after or (None, None)),
            limit,
        )
        return [_seen(row) for row in rows]

    async def drawn_sessions_of_user(
        self, hub: str, username: str, window: Window, server_name: str | None, limit: int
    ) -> list[DrawnSession]:
        """The newest of a user's sessions that overlap the window, newest first."""
        rows = await self._fetch(
            "drawn_sessions_of_user",
            hub,
            username,
            window.since,
            window.until,
            server_name,
            limit,
        )
        return [DrawnSession(*row.values()) for row in rows]

    async def sessions_of_group(
        self,
        hub: str,
        group: str,
        window: Window,
        server_name: str | None,
        after: SessionPlace | None,
        limit: int,
    ) -> list[SeenSession]:
        """Sessions that overlap a membership of the group within the window, newest first."""
        rows = await self._fetch(
            "sessions_of_group_page",
            hub,
            group,
            window.since,
            window.until,
            server_name,
            *(after or (None, None)),
            limit,
        )
        return [_seen(row) for row in rows]

    async def sessions_of_all(
        self,
        hubs: Sequence[str],
        window: Window,
        server_name: str | None,
        after: SessionPlace | None,
        limit: int,
    ) -> list[SeenSession]:
        """Everybody's sessions that overlap the window, newest first."""
        rows = await self._fetch(
            "sessions_of_all_page",
            list(hubs),
            window.since,
            window.until,
            server_name,
            *(after or (None, None)),
            limit,
        )
        return [_seen(row) for row in rows]

    async def running(
        self,
        hubs: Sequence[str],
        username: str | None,
        group: str | None,
        after: SessionPlace | None,
        limit: int,
    ) -> list[SeenSession]:
        """What starts or runs, of one user or everybody, newest first.

        Of a group: of those who were in it at some time since the server was requested.
        """
        rows = await self._fetch(
            "running_page", list(hubs), username, group, *(after or (None, None)), limit
        )
        return [_seen(row, row["total"]) for row in rows]

    async def overasking(self, hubs: Sequence[str]) -> list[Overasking]:
        """By Hub, profile and image, the most memory that nobody touched first."""
        rows = await self._fetch("overasking", list(hubs))
        return [Overasking(*row.values()) for row in rows]

    async def groups(self, hubs: Sequence[str]) -> list[KnownGroup]:
        """The groups that somebody is in now, by name."""
        return [KnownGroup(*row.values()) for row in await self._fetch("groups_known", list(hubs))]

    async def servers_of_user(self, hub: str, username: str) -> list[KnownServer]:
        """All servers that a user ever had, by name.

        None of them for a user of whom the Hub never told.
        """
        rows = await self._fetch("servers_of_user", hub, username)
        return [KnownServer(*row.values()) for row in rows]

    async def usernames(self, hubs: Sequence[str]) -> list[tuple[str, str]]:
        """Hub and name of everyone who ever had a server, in no order."""
        rows = await self._fetch("usernames_of_hubs", list(hubs))
        return [(row["hub"], row["username"]) for row in rows]

    async def pseudonym_key(self) -> PseudonymKey:
        """What turns names into the pseudonyms that the database's reader sees."""
        [row] = await self._fetch("pseudonym_key")
        return PseudonymKey(*row.values())

    async def how_seen(
        self, hubs: Sequence[str], since: datetime, until: datetime
    ) -> list[HowSeen]:
        """How the sessions that began in ``[since, until)`` became known, by Hub."""
        rows = await self._fetch("how_sessions_were_seen", list(hubs), since, until)
        return [HowSeen(*row.values()) for row in rows]


def _divided(window: Window) -> tuple[datetime, datetime, str | None, str]:
    step = None if window.step is None else STEPS[window.step]
    return window.since, window.until, step, window.zone


def _seen(row: asyncpg.Record, total: int | None = None) -> SeenSession:
    return SeenSession(
        session_of(row), row["active_seconds"], row["last_activity_at"], total, measured_of(row)
    )
