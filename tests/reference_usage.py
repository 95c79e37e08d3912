"""Usage out of sessions, written down a second time, for tests to compare with.

It follows ``docs/usage.md`` rule by rule and shares no code with the store. Amounts are whole
microseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from jupyterhub_metrics.model import Session

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)

Key = tuple[datetime, str, str, str | None, str | None, str | None]
"""Bucket, hub, username, profile, image, node."""


@dataclass
class Amounts:
    running: int = 0
    waiting: int = 0
    starts: int = 0
    failures: int = 0


def reference_usage(
    sessions: Iterable[Session],
    since: datetime,
    until: datetime,
    bucket_of: Callable[[datetime], datetime],
) -> dict[Key, Amounts]:
    """Usage in ``[since, until)``; ``bucket_of`` gives the bucket of a moment, and no bucket
    begins within a quarter of an hour."""
    found: dict[Key, Amounts] = defaultdict(Amounts)

    def amounts(session: Session, moment: datetime) -> Amounts:
        return found[
            (
                bucket_of(moment),
                session.hub,
                session.username,
                session.profile,
                session.image,
                session.node,
            )
        ]

    for session in sessions:
        if since <= session.started_at < until:
            amounts(session, session.started_at).starts += 1
            if session.state == "failed":
                amounts(session, session.started_at).failures += 1
        if session.state not in ("running", "ended"):
            continue
        end = min(session.ended_at or until, until)
        ready = min(session.ready_at or since, end)
        for begins, ends in quarters(max(session.started_at, since), end):
            amounts(session, begins).running += (ends - begins) // MICROSECOND
        for begins, ends in quarters(max(session.started_at, since), ready):
            amounts(session, begins).waiting += (ends - begins) // MICROSECOND
    return dict(found)


def quarters(since: datetime, until: datetime) -> Iterable[tuple[datetime, datetime]]:
    """``[since, until)`` cut at every quarter of an hour, where every zone's hours begin."""
    quarter = timedelta(minutes=15)
    while since < until:
        ends = min(EPOCH + ((since - EPOCH) // quarter + 1) * quarter, until)
        yield since, ends
        since = ends
