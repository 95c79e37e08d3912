"""What the page "My usage" shows, made from sessions and a clock. Pure.

Called by ``handlers.page``. The month is the calendar month in UTC; hours are cut at its
boundaries, so that two months never count the same second.
"""

from __future__ import annotations

from calendar import month_name
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from uuid import UUID

from ..model import Session
from .wording import duration_in_words, end_in_words, hours_in_words

MAX_ROWS = 500
MAX_SESSIONS = 20_000
"""More sessions of one user in one month are not added up; the page then says so."""


@dataclass(frozen=True)
class Running:
    """A server that starts or runs now; ``facts`` are those that are known, with their labels."""

    server: str
    started_at: datetime
    starting: bool
    for_words: str
    facts: tuple[tuple[str, str], ...]
    simulated: bool


@dataclass(frozen=True)
class Row:
    """A session of the month, newest first. Times are None where they are not known.

    ``ended_after`` and ``ended_before`` are there only for an end that nobody saw.
    """

    server: str
    started_at: datetime
    ready_words: str | None
    ended_at: datetime | None
    ended_after: datetime | None
    ended_before: datetime | None
    duration_words: str | None
    whole_words: str | None
    end_words: str
    state: str
    simulated: bool


@dataclass(frozen=True)
class UsagePage:
    """Everything the page says. ``since`` and ``until`` bound the month, half-open."""

    username: str
    own: bool
    now: datetime
    since: datetime
    until: datetime
    hours_words: str
    session_count: int
    failed_count: int
    incomplete: bool
    running: tuple[Running, ...]
    rows: tuple[Row, ...]
    hidden_count: int

    @property
    def month(self) -> str:
        return f"{month_name[self.since.month]} {self.since.year}"

    @property
    def simulated(self) -> bool:
        return any(row.simulated for row in self.rows)


def month_of(now: datetime) -> tuple[datetime, datetime]:
    """The calendar month in UTC that ``now`` lies in, as ``[since, until)``."""
    utc = now.astimezone(timezone.utc)
    since = utc.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = (since.year + 1, 1) if since.month == 12 else (since.year, since.month + 1)
    return since, since.replace(year=year, month=month)


def usage_page(
    username: str,
    viewer: str,
    sessions: Sequence[Session],
    now: datetime,
    last_activity: Mapping[UUID, datetime] | None = None,
) -> UsagePage:
    """The page of ``username`` as ``viewer`` sees it.

    ``sessions`` are those that overlap the month of ``now``, newest first; at most
    ``MAX_SESSIONS``, of which the newest ``MAX_ROWS`` become rows. ``last_activity`` is the last
    activity that a check saw, by session.
    """
    since, until = month_of(now)
    counted = [session for session in sessions if session.state != "failed"]
    open_sessions = [session for session in counted if session.ended_at is None]
    seconds = sum(session.seconds_between(since, until, now) for session in counted)
    shown = sessions[:MAX_ROWS]
    active = last_activity or {}
    return UsagePage(
        username=username,
        own=username == viewer,
        now=now,
        since=since,
        until=until,
        hours_words=hours_in_words(seconds),
        session_count=len(counted),
        failed_count=len(sessions) - len(counted),
        incomplete=len(sessions) >= MAX_SESSIONS,
        running=tuple(_running(session, now) for session in open_sessions),
        rows=tuple(
            _row(session, viewer, since, until, now, active.get(session.id)) for session in shown
        ),
        hidden_count=len(sessions) - len(shown),
    )


def _server(session: Session) -> str:
    return session.display_name or session.server_name or "default server"


def _running(session: Session, now: datetime) -> Running:
    known = (
        ("Profile", session.profile),
        ("Image", session.image),
        ("Node", session.node),
    )
    return Running(
        server=_server(session),
        started_at=session.started_at,
        starting=session.state == "starting",
        for_words=duration_in_words((now - session.started_at).total_seconds()),
        facts=tuple((label, value) for label, value in known if value),
        simulated=session.simulated,
    )


def _row(
    session: Session,
    viewer: str,
    since: datetime,
    until: datetime,
    now: datetime,
    last_activity_at: datetime | None,
) -> Row:
    waiting = session.waiting_seconds()
    seen = session.ended_after == session.ended_before
    duration, whole = None, None
    if session.state in ("running", "ended"):
        in_month = session.seconds_between(since, until, now)
        duration = duration_in_words(in_month)
        if session.seconds(now) > in_month:
            whole = duration_in_words(session.seconds(now))
    return Row(
        server=_server(session),
        started_at=session.started_at,
        ready_words=None if waiting is None else duration_in_words(waiting),
        ended_at=session.ended_at,
        ended_after=None if seen else session.ended_after,
        ended_before=None if seen else session.ended_before,
        duration_words=duration,
        whole_words=whole,
        end_words=end_in_words(session, viewer, last_activity_at),
        state=session.state,
        simulated=session.simulated,
    )
