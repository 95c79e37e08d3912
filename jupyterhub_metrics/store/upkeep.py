"""What a database needs from time to time, a little of it in each round.

Called by ``service.upkeeper`` through the store. What is behind is told by the age of the data
itself, never by what a scheduler says of its jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from .queries import query

PARTITIONS_AHEAD: Final = timedelta(days=100)
"""Longer than a quarter of a year: the next partition is always there."""

SETTLED_AFTER: Final = timedelta(days=4)
"""How long after a chunk of events has closed it is compressed: the last sessions that started in
it have ended by then."""


@dataclass(frozen=True)
class UpkeepRules:
    """How long observations are kept; None for ever."""

    keep_observations: timedelta | None = timedelta(days=400)


@dataclass(frozen=True)
class Duty:
    """Something to do.

    ``due`` gives the moment before which all must have been done, None if nothing ever is.
    ``work`` names the statement that does a portion of it, given that moment, and gives how many
    pieces it has done; ``behind`` the one that gives from when on something is still to be done.
    """

    name: str
    due: Callable[[UpkeepRules, datetime], datetime | None]
    work: str
    behind: str


def _older_than(now: datetime, age: timedelta | None) -> datetime | None:
    return None if age is None else now - age


DUTIES: Final = (
    Duty(
        "event_partitions",
        lambda rules, now: now + PARTITIONS_AHEAD,
        "make_event_partitions",
        "event_partitions_due_from",
    ),
    Duty(
        "event_compression",
        lambda rules, now: now - SETTLED_AFTER,
        "compress_events",
        "event_compression_due_from",
    ),
    Duty(
        "observation_retention",
        lambda rules, now: _older_than(now, rules.keep_observations),
        "drop_observations",
        "observations_due_from",
    ),
)
"""In the order in which a round does them."""


@dataclass(frozen=True)
class UpkeepRound:
    """How many pieces each duty has done, and how far it still is behind, in seconds; 0 where
    nothing is left to do."""

    done: Mapping[str, int]
    lag_seconds: Mapping[str, float]


async def upkeep_round(
    connection: asyncpg.Connection, rules: UpkeepRules, now: datetime
) -> UpkeepRound:
    """A portion of every duty, each in a transaction of its own."""
    done: dict[str, int] = {}
    lag: dict[str, float] = {}
    for duty in DUTIES:
        due = duty.due(rules, now)
        done[duty.name] = 0
        lag[duty.name] = 0.0
        if due is None:
            continue
        if await connection.fetchval(query(duty.behind), due) is None:
            continue
        done[duty.name] = await connection.fetchval(query(duty.work), due)
        behind = await connection.fetchval(query(duty.behind), due)
        if behind is not None:
            lag[duty.name] = max(0.0, (due - behind).total_seconds())
    return UpkeepRound(done, lag)
