"""What a database needs from time to time, a little of it in each round.

Called by ``service.upkeeper`` through the store. What is behind is told by the age of the data
itself, never by what a scheduler says of its jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from .queries import query

PARTITIONS_AHEAD: Final = timedelta(days=100)
"""Longer than a quarter of a year: the next partition is always there."""

SETTLED_AFTER: Final = timedelta(days=4)
"""How long after a chunk has closed it is compressed: the last sessions that started in it have
ended by then."""

CLOSED_AFTER: Final = timedelta(hours=1)
"""How long after a day its usage is counted: the checks and deliveries of its last minutes have
come by then. What comes later still counts, at a little more cost."""


HOUR_COUNTED_AFTER: Final = timedelta(minutes=5)
"""How long after an hour it is counted: most of what happened in it has been told by then."""


@dataclass(frozen=True)
class UpkeepRules:
    """How long observations are kept; None for ever."""

    keep_observations: timedelta | None = timedelta(days=400)

    @classmethod
    def of_days(cls, observation_days: int) -> UpkeepRules:
        """These days; 0 is for ever."""
        return cls(timedelta(days=observation_days) if observation_days else None)

    @property
    def observation_days(self) -> int:
        """In days; 0 is for ever."""
        return 0 if self.keep_observations is None else self.keep_observations.days


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
        "compression",
        lambda rules, now: now - SETTLED_AFTER,
        "compress_chunks",
        "compression_due_from",
    ),
    Duty(
        "hourly_stats",
        lambda rules, now: now - HOUR_COUNTED_AFTER,
        "count_hours",
        "hours_uncounted_from",
    ),
    Duty(
        "observation_retention",
        lambda rules, now: _older_than(now, rules.keep_observations),
        "drop_observations",
        "observations_due_from",
    ),
    Duty("usage_days", lambda rules, now: now - CLOSED_AFTER, "close_usage_day", "usage_open_from"),
    Duty("usage_summaries", lambda rules, now: now, "summarise_usage", "usage_due_from"),
    Duty("resource_sums", lambda rules, now: now, "sum_up_resources", "resources_due_from"),
)
"""All of them; a round begins with the one that is furthest behind."""

ENOUGH_SECONDS: Final = 0.005
"""What has taken longer than this ends a round, so that nobody waits long for any of them."""


@dataclass(frozen=True)
class UpkeepRound:
    """How many pieces each duty has done, and how far it still is behind, in seconds; 0 where
    nothing is left to do."""

    done: Mapping[str, int]
    lag_seconds: Mapping[str, float]


async def upkeep_round(
    connection: asyncpg.Connection, rules: UpkeepRules, now: datetime
) -> UpkeepRound:
    """A portion of some duties, each in a transaction of its own; of all, where they are quick.

    A round that has done nothing had nothing to do. None waits for the disk: what a crash of the
    database undoes is due again.
    """
    done = {duty.name: 0 for duty in DUTIES}
    behind = {
        duty: (due - since, due)
        for duty in DUTIES
        if (due := duty.due(rules, now)) is not None
        and (since := await connection.fetchval(query(duty.behind), due)) is not None
    }
    began = time.monotonic()
    for duty in sorted(behind, key=lambda duty: behind[duty][0], reverse=True):
        async with connection.transaction():
            await connection.execute(query("commit_before_it_is_on_disk"))
            done[duty.name] = await connection.fetchval(query(duty.work), behind[duty][1])
        if time.monotonic() - began > ENOUGH_SECONDS and any(done.values()):
            break
    return UpkeepRound(done, await upkeep_lag(connection, rules, now))


async def upkeep_lag(
    connection: asyncpg.Connection, rules: UpkeepRules, now: datetime
) -> dict[str, float]:
    """How far each duty is behind, in seconds; 0 where nothing is left to do."""
    lag: dict[str, float] = {}
    for duty in DUTIES:
        due = duty.due(rules, now)
        behind = None if due is None else await connection.fetchval(query(duty.behind), due)
        lag[duty.name] = (
            0.0 if due is None or behind is None else max(0.0, (due - behind).total_seconds())
        )
    return lag
