"""What is asked of :mod:`.reading`, and the rows that it gives. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

from ..model import Session
from .resources import Measured

Dimension = Literal["user", "group", "server", "profile", "image", "node", "hub"]
SummarisedDimension = Literal["hub", "node", "image", "profile"]
Step = Literal["hour", "day", "week", "month"]

STEPS: Final[dict[Step, str]] = {
    "hour": "1 hour",
    "day": "1 day",
    "week": "7 days",
    "month": "1 month",
}


@dataclass(frozen=True)
class Window:
    """``[since, until)``, and in which zone and steps it is divided; no step: not at all."""

    since: datetime
    until: datetime
    zone: str = "UTC"
    step: Step | None = None


@dataclass(frozen=True)
class UsageRow:
    """Usage of one bucket by one value of the dimension; None where it is not known.

    ``bucket`` is the beginning of the window where that is not divided. ``users`` are those with
    a server that ran. Hours are of what was requested.
    """

    bucket: datetime
    hub: str
    value: str | None
    users: int
    seconds: float
    waiting_seconds: float
    active_seconds: float | None
    gib_hours: float | None
    core_hours: float | None
    gpu_hours: float | None
    starts: int
    failures: int


class DayRow(NamedTuple):
    """One user's usage of one day; hours of resources are None also where they were not asked.
    There are hundreds on a page, and a frozen dataclass takes ten times as long to be made."""

    bucket: datetime
    seconds: float
    active_seconds: float | None
    gib_hours: float | None
    core_hours: float | None
    gpu_hours: float | None
    starts: int
    failures: int


@dataclass(frozen=True)
class SecondsRow:
    """How long servers ran in one bucket, by one value of a dimension."""

    bucket: datetime
    value: str | None
    seconds: float


@dataclass(frozen=True)
class UserRow:
    """One user's usage in a window, and its place in the order that was asked for."""

    hub: str
    username: str
    seconds: float
    active_seconds: float | None
    gib_hours: float | None
    core_hours: float | None
    gpu_hours: float | None
    starts: int
    failures: int
    person_id: int
    sort_key: float
    full_name: str | None
    department: str | None
    total: int


@dataclass(frozen=True)
class UserOrder:
    """``column`` is one of ``USER_ORDERS``; ``search`` is a part of a name, or None for all who
    used something."""

    column: str = "seconds"
    descending: bool = True
    search: str | None = None


USER_ORDERS: Final = (
    "username",
    "seconds",
    "active_seconds",
    "gib_hours",
    "core_hours",
    "gpu_hours",
    "starts",
    "failures",
)


@dataclass(frozen=True)
class SeenSession:
    """A session with what checks and samplers measured of it; ``total`` counts all that were asked
    for."""

    session: Session
    active_seconds: float | None
    last_activity_at: datetime | None
    total: int | None = None
    measured: Measured | None = None


@dataclass(frozen=True)
class DrawnSession:
    """What a drawing shows of a session."""

    server_name: str
    display_name: str | None
    state: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class KnownServer:
    """A server that a user has had; the default one's name is empty. ``open``: starts or runs."""

    server_name: str
    open: bool


@dataclass(frozen=True)
class KnownGroup:
    """A group that somebody is in now."""

    hub: str
    group_name: str
    members: int


@dataclass(frozen=True)
class HowSeen:
    """Of one Hub's sessions: how many, how many concluded in some part, how many unseen ends."""

    hub: str
    sessions: int
    inferred: int
    unseen_ends: int


@dataclass(frozen=True)
class PseudonymKey:
    """The key of pseudonyms, as the two padded blocks of HMAC-SHA-256 (RFC 2104)."""

    inner_pad: bytes
    outer_pad: bytes


SessionPlace = tuple[datetime, UUID]
"""Start and id of the last session of the page before."""
