"""What sessions used, beside what they asked for. Called by the service, through the store.

Measured by samplers, joined to sessions when read: nothing here is billed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import asyncpg

from .queries import Fetch


@dataclass(frozen=True)
class Measured:
    """What was measured of one session, by samplers of nodes or else by its own server.

    None where it is not known. ``…_last`` is the newest sample, taken at ``sampled_until``.
    """

    source: str
    sampled_from: datetime
    sampled_until: datetime
    memory_peak_bytes: int | None
    memory_mean_bytes: float | None
    memory_last_bytes: int | None
    cpu_peak_cores: float | None
    cpu_mean_cores: float | None
    cpu_last_cores: float | None


_MEASURED_FIELDS: Final = tuple(field.name for field in fields(Measured))[1:]


@dataclass(frozen=True)
class Overasking:
    """What sessions of one profile and image asked for and what they used of it.

    Means are weighted by the time that was measured, ``hours``; ``p95`` is the 95th percentile of
    the sessions' peaks. None where it is not known.
    """

    hub: str
    profile: str | None
    image_name: str | None
    sessions: int
    hours: float | None
    memory_requested_bytes: float | None
    memory_mean_bytes: float | None
    memory_peak_p95_bytes: float | None
    memory_peak_bytes: int | None
    memory_unused_gib_hours: float | None
    cpu_requested_cores: float | None
    cpu_mean_cores: float | None
    cpu_peak_p95_cores: float | None
    cpu_peak_cores: float | None


class Resources:
    """Writes into the store's own database; every method raises DatabaseUnavailable."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def record(
        self, hub: str, username: str, server_name: str, samples: Sequence[dict[str, Any]]
    ) -> int | None:
        """Add what a user's own server says of itself to its open session.

        ``samples`` are objects as ``docs/service.md`` has them. Gives how many were new; None if
        no session of the server is open.
        """
        told = json.dumps(list(samples))
        rows = await self._fetch("record_server_samples", hub, username, server_name, told)
        taken: int | None = rows[0]["taken"] if rows else None
        return taken


def measured_of(row: asyncpg.Record) -> Measured | None:
    """What was measured of the session of a row of ``sessions_as_measured``; None for nothing."""
    if row["measured_source"] is None:
        return None
    return Measured(row["measured_source"], *(row[name] for name in _MEASURED_FIELDS))
