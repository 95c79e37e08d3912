"""Events into the database, sessions out of it.

Called by the service. Every write is an idempotent upsert: the same events again, in any order and
any batches, give the same rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from ..errors import MalformedEvent
from ..model import Event, Session
from .batches import batch_of
from .capabilities import Capabilities
from .checks import (
    Activity,
    CheckedSession,
    Observation,
    activity,
    activity_columns,
    checked_session,
    membership_columns,
    observation_columns,
)
from .failures import CONNECTION_LOST, UNSTORABLE, translated
from .locks import lock_hubs, writing_for
from .people import Person, Statement, order_sources, say, statements_of
from .present import Present
from .queries import query
from .reading import Reading
from .rebuild import Differences, Progress, differences, rebuild, silent
from .resources import Resources
from .rows import session_of
from .upkeep import UpkeepRound, UpkeepRules, upkeep_round

CONNECT_SECONDS: Final = 10.0

_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """An event that the database itself refuses and always will; ``index`` is its place in the
    batch."""

    index: int
    error: MalformedEvent


@dataclass(frozen=True)
class IngestResult:
    """How many events were ``received``, and the ids of those that were not there before.

    What is ``refused`` was not stored; everything else of the batch was.
    """

    received: int
    new_ids: frozenset[UUID]
    refused: tuple[Refusal, ...] = ()

    @property
    def new(self) -> int:
        return len(self.new_ids)


@dataclass(frozen=True)
class PoolSize:
    """Connections to the database: in use, at rest, and how many there may be."""

    used: int
    idle: int
    most: int


class Store:
    """An open database. Made by :func:`.opening.open_store`.

    Every method raises DatabaseUnavailable while the database is away and works again by itself
    when it is back.
    """

    def __init__(self, dsn: str, pool: asyncpg.Pool, capabilities: Capabilities) -> None:
        self._dsn = dsn
        self._pool = pool
        self._max_attempts = pool.get_max_size() + 1
        self.capabilities = capabilities
        self.present = Present(self._fetch)
        self.resources = Resources(self._fetch)
        self.reading = Reading(self._fetch)

    async def ingest(self, events: Sequence[Event]) -> IngestResult:
        """Store the events and bring their sessions up to date, in one transaction.

        It is committed when this returns. Events that are already there count as received and
        not as new. Events whose values the database refuses are left out and reported, the
        others are stored.
        """
        if not events:
            return IngestResult(0, frozenset())
        try:
            return IngestResult(len(events), await self._ingest(events))
        except _Unstorable:
            log.warning("the database refuses values of a batch; storing its events one by one")
        new_ids: frozenset[UUID] = frozenset()
        refused = []
        for index, event in enumerate(events):
            try:
                new_ids |= await self._ingest([event])
            except _Unstorable as error:
                refused.append(Refusal(index, error.as_malformed()))
        return IngestResult(len(events), new_ids, tuple(refused))

    async def _ingest(self, events: Sequence[Event]) -> frozenset[UUID]:
        return await self._run(lambda connection: _stored(connection, events))

    async def sessions_of_user(
        self, hub: str, username: str, since: datetime, until: datetime, *, limit: int
    ) -> list[Session]:
        """At most ``limit`` sessions of a user that overlap ``[since, until)``, newest first."""
        rows = await self._fetch("sessions_of_user", hub, username, since, until, limit)
        return [session_of(row) for row in rows]

    async def sessions_to_check(
        self,
        hub: str,
        shown: Sequence[tuple[str, str, datetime]],
        ended_since: datetime,
    ) -> list[CheckedSession]:
        """The open sessions of a Hub and the ended ones that a check may have to correct.

        Those are the ones that start within a second of a server that the Hub shows now
        (user, server name, start), and those whose end was concluded and lies after
        ``ended_since``. Simulated ones are left out. In no particular order.
        """
        columns = [list(column) for column in zip(*shown, strict=True)] or [[], [], []]
        rows = await self._fetch("sessions_to_check", hub, *columns, ended_since)
        return [checked_session(row) for row in rows]

    async def activity_of_user(
        self, hub: str, username: str, since: datetime, until: datetime
    ) -> dict[UUID, Activity]:
        """How active a user's sessions were that overlap ``[since, until)``, by session."""
        rows = await self._fetch("activity_of_user", hub, username, since, until)
        return {row["session_id"]: activity(row) for row in rows}

    async def record_activity(self, measured: Sequence[Activity]) -> None:
        """Keep what a check measured; what a later check measured is never overwritten.

        Of sessions that are not there nothing is kept.
        """
        if measured:
            await self._fetch("record_activity", *activity_columns(measured))

    async def record_observations(
        self, hub: str, at: datetime, seen: Sequence[Observation]
    ) -> None:
        """Keep what a check saw running at one moment; the same moment again adds nothing.

        What no longer runs is told by its absence, so a check that saw nothing counts too.
        """
        columns = observation_columns(seen)

        async def record(connection: asyncpg.Connection) -> None:
            try:
                async with writing_for(connection, [hub]):
                    await connection.execute(query("record_observations"), at, hub, *columns)
            except asyncpg.CharacterNotInRepertoireError as error:
                log.warning("what a check saw is not kept, no row can hold it: %s", error)

        await self._run(record)

    async def record_memberships(
        self, hub: str, groups: Mapping[str, Iterable[str]], at: datetime
    ) -> None:
        """Bring the memberships of a Hub's groups up to what was seen ``at`` this moment.

        ``groups`` are all groups with all their members. One that is gone ends at ``at``, a new
        one begins there; nothing is written where nothing changed.
        """
        columns = membership_columns(groups)

        async def record(connection: asyncpg.Connection) -> None:
            async with writing_for(connection, [hub]):
                await connection.execute(query("end_memberships"), hub, *columns, at)
                await connection.execute(query("begin_memberships"), hub, *columns, at)

        await self._run(record)

    async def add_memberships(
        self, hub: str, groups: Mapping[str, Iterable[str]], since: datetime, until: datetime
    ) -> None:
        """Add that these were the groups' members in ``[since, until)``.

        What touches a membership that is known becomes one with it, so that nobody is in a group
        twice at once; a later check ends it only if it is still open. The same again adds nothing.
        """
        if since >= until:
            return
        columns = membership_columns(groups)

        async def add(connection: asyncpg.Connection) -> None:
            async with writing_for(connection, [hub]):
                await connection.execute(query("add_memberships"), hub, *columns, since, until)

        await self._run(add)

    async def record_people(self, statements: Sequence[Statement]) -> None:
        """Keep what sources said of people, all of it or nothing; the same again adds nothing."""
        if not statements:
            return

        async def record(connection: asyncpg.Connection) -> None:
            async with writing_for(connection, (told.hub for told in statements)):
                await say(connection, statements)

        await self._run(record)

    async def people(self, hub: str) -> list[Person]:
        """Everyone who had a session in the Hub or of whom a source told, by name."""
        return [Person(**dict(row)) for row in await self._fetch("people_of_hub", hub)]

    async def hubs(self) -> list[str]:
        """The Hubs that had a session or of whose users a source told, by name."""
        return [row["hub"] for row in await self._fetch("hubs")]

    async def people_sources(self) -> list[str]:
        """The sources that tell of people, the one whose word counts most first."""
        return [row["source"] for row in await self._fetch("people_sources")]

    async def order_people_sources(self, sources: Sequence[str]) -> None:
        """Let the word of the first source count most; every history follows at once."""

        async def order(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                hubs = [row["hub"] for row in await connection.fetch(query("people_told_of"))]
                await lock_hubs(connection, hubs)
                await order_sources(connection, sources)

        await self._run(order)

    async def upkeep(self, rules: UpkeepRules, now: datetime) -> UpkeepRound:
        """Do a portion of what the database needs from time to time, and say what is left."""
        return await self._run(lambda connection: upkeep_round(connection, rules, now))

    async def rebuild(self, now: datetime, progress: Progress = silent) -> int:
        """Sessions and usage anew from events, in one transaction; gives how many sessions.

        Who writes meanwhile waits.
        """
        return await self._run(lambda connection: rebuild(connection, now, progress))

    async def verify(self, now: datetime, progress: Progress = silent) -> Differences:
        """What is stored and is not what events and sessions give, computed anew; read-only."""
        return await self._run(lambda connection: differences(connection, now, progress))

    def pool_size(self) -> PoolSize:
        """The connections as they are now; asks nobody."""
        size, idle = self._pool.get_size(), self._pool.get_idle_size()
        return PoolSize(used=size - idle, idle=idle, most=self._pool.get_max_size())

    async def ping(self) -> None:
        """Returns if the database answers."""
        await self._fetch("ping")

    async def close(self) -> None:
        """Waits for the statements that run, then closes all connections."""
        await self._pool.close()

    async def _fetch(self, name: str, *values: Any) -> list[asyncpg.Record]:
        """All rows; none for a value that no row can hold, such as a name with a NUL in it."""

        async def fetch(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            try:
                return list(await connection.fetch(query(name), *values))
            except asyncpg.CharacterNotInRepertoireError:
                return []

        return await self._run(fetch)

    async def _run(self, work: Callable[[asyncpg.Connection], Awaitable[_Result]]) -> _Result:
        """Do the work on a connection of the pool.

        After a restart of the server each pooled connection fails once; the work is then done
        again, which is safe because all of it may be done twice.
        """
        with translated(self._dsn):
            for _ in range(self._max_attempts - 1):
                try:
                    return await self._on_a_connection(work)
                except asyncio.TimeoutError:
                    # from Python 3.11 on an OSError too, but trying again takes as long again
                    raise
                except CONNECTION_LOST as error:
                    log.debug("a connection to the database was lost: %r", error)
            return await self._on_a_connection(work)

    async def _on_a_connection(
        self, work: Callable[[asyncpg.Connection], Awaitable[_Result]]
    ) -> _Result:
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            try:
                return await work(connection)
            except CONNECTION_LOST:
                # not given back to the pool, whatever state it thinks it is in
                connection.terminate()
                raise


class _Unstorable(Exception):
    """The values themselves are refused."""

    def as_malformed(self) -> MalformedEvent:
        return MalformedEvent("event", f"found values that the database refuses: {self}")


async def _stored(connection: asyncpg.Connection, events: Sequence[Event]) -> frozenset[UUID]:
    """Stores the events and folds the sessions of those that are new; gives their ids."""
    try:
        async with writing_for(connection, (event.hub for event in events)):
            batch = batch_of(events)
            await connection.execute(query("intern"), *batch.repeated, batch.filed_at)
            rows = await connection.fetch(query("insert_events"), *batch.found_by, *batch.rows)
            touched = {row["session_id"]: row["filed_at"] for row in rows}
            touched.pop(None, None)
            if touched:
                await connection.execute(query("fold_sessions"), [*touched], [*touched.values()])
            await say(connection, statements_of(events))
    except UNSTORABLE as error:
        raise _Unstorable(" ".join(str(error).split())) from error
    return frozenset(row["id"] for row in rows)
