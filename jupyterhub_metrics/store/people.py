"""What sources say of people, and the order in which their word counts.

Called by :mod:`.store`, and spoken by the sources that know people. Values and statements on one
connection; no pool.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from ..model import PERSON_FIELDS, Event
from .queries import query

PEOPLE_SOURCES: Final = ("file", "graph", "auth_state", "pod")
"""Who tells of people, in the order in which their word counts unless it was changed."""


@dataclass(frozen=True)
class Statement:
    """What one source said of one user at one moment.

    ``fields`` are by the names of ``model.PERSON_FIELDS``. One that is None was said to be
    unknown; one that is absent was not spoken of, and stays what this source said before.
    """

    hub: str
    username: str
    source: str
    said_at: datetime
    fields: Mapping[str, str | None]


@dataclass(frozen=True)
class Person:
    """One user as known now; what is unknown is None."""

    username: str
    email: str | None = None
    full_name: str | None = None
    department: str | None = None
    job_title: str | None = None


def statements_of(events: Iterable[Event]) -> list[Statement]:
    """What the events say of their users: the facts that the recorder took from auth state."""
    statements = []
    for event in events:
        fields = {
            name: event.facts[name] for name in PERSON_FIELDS if event.facts.get(name) is not None
        }
        if fields:
            statements.append(
                Statement(event.hub, event.username, "auth_state", event.occurred_at, fields)
            )
    return statements


async def say(connection: asyncpg.Connection, statements: Sequence[Statement]) -> None:
    """Keep what was said and bring the history up to it, within the caller's transaction.

    The caller holds the locks of the Hubs, so that each history sees all that was said.
    """
    rows = [
        (told.hub, told.username, name, told.source, value or "", told.said_at)
        for told in statements
        for name, value in told.fields.items()
    ]
    if not rows:
        return
    columns = [list(column) for column in zip(*rows, strict=True)]
    usernames: dict[str, list[str]] = defaultdict(list)
    for row in await connection.fetch(query("say_people"), *columns):
        usernames[row["hub"]].append(row["username"])
    for hub, names in usernames.items():
        await _fold(connection, hub, names)


async def order_sources(connection: asyncpg.Connection, sources: Sequence[str]) -> None:
    """Let the word of the first source count most, and bring every history up to it.

    The caller holds the locks of all Hubs.
    """
    await connection.execute(query("rank_people_sources"), list(sources))
    for row in await connection.fetch(query("people_told_of")):
        await _fold(connection, row["hub"], row["usernames"])


async def _fold(connection: asyncpg.Connection, hub: str, usernames: Sequence[str]) -> None:
    for step in ("trim_people", "fold_people", "own_servers"):
        await connection.execute(query(step), hub, list(usernames))
