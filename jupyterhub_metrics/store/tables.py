"""The tables that a backup holds, how each is read and filled. Called by :mod:`.backup` and
:mod:`.restore`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from .archive import Tally
from .queries import query

ARCHIVED: Final = (
    "servers",
    "words",
    "fact_sets",
    "circumstances",
    "event_rows",
    "descriptions",
    "requests",
    "open_sessions",
    "ended_sessions",
    "polls",
    "observed_users",
    "observed_images",
    "observation_spans",
    "open_spans",
    "group_memberships",
    "usage_days",
    "usage_closed",
    "usage_months",
    "usage_summary",
    "usage_due",
    "people_sources",
    "people_said",
    "people_history",
    "server_owners",
    "user_starts",
    "pseudonym_key",
    "hourly_node_counts",
    "hourly_image_counts",
    "hourly_counted",
    "hourly_changed",
    "session_samples",
    "resource_sums",
    "resource_due",
)
"""All tables of the schema that are kept, small ones first. What a migration adds comes in
here."""

DROPPED: Final = ("hourly_node_rows", "hourly_image_rows")
"""What earlier schemas had besides. A backup of one is restored into it before later migrations
carry its rows over."""

FORGETTING: Final = frozenset({"rings", "monitor_samples_ring"})
"""Tables that forget by themselves and are in no backup; samplers make them again."""

STATE: Final = frozenset({"usage_closed", "hourly_counted", "people_sources", "pseudonym_key"})
"""Those that have rows in an empty database too."""


@dataclass(frozen=True)
class Table:
    """One table as this database has it; ``identity`` is the column that it numbers by itself."""

    name: str
    namespace: str
    columns: Sequence[str]
    identity: str | None
    read_statement: str
    count_statement: str
    insert_statement: str
    newest_statement: str | None
    analyze_statement: str

    async def count(self, connection: asyncpg.Connection) -> int:
        """The exact number of rows."""
        return int(await connection.fetchval(self.count_statement))

    async def read(
        self,
        connection: asyncpg.Connection,
        take: Callable[[bytes], None],
        advance: Callable[[int], None],
    ) -> Tally:
        """Hands all rows over as a stream, in the order that a backup has them; tells how many
        rows more are read."""
        tally = Tally()

        async def output(data: bytes) -> None:
            before = tally.rows
            tally.add(data)
            take(data)
            advance(tally.rows - before)

        await connection.copy_from_query(self.read_statement, output=output)
        return tally


async def archived_tables(connection: asyncpg.Connection) -> list[Table]:
    """Those of :data:`ARCHIVED` and :data:`DROPPED` that this database has."""
    rows = await connection.fetch(query("archived_tables"), [*ARCHIVED, *DROPPED])
    return [Table(**dict(row)) for row in rows]
