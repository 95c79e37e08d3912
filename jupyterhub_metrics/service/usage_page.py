"""What one user's page shows, made from usage, sessions and a clock. Pure.

Called by ``handlers.usage``. Hours are cut at the period's boundaries, so that two months never
count the same second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from ..model import Session
from ..store import DayRow, DrawnSession, SeenSession
from .drawings import Calendar, Timeline, calendar_of, timeline_of
from .figures import Amounts, Figure, figures_of
from .page_period import Period
from .session_rows import Row, Running, row_of, running_of, server_of

ROWS: Final = 50
"""Sessions in a page's table at most; the others are on the next page."""

MAX_DRAWN: Final = 500
"""Sessions in the timeline at most; the page then says that it draws the newest."""


@dataclass(frozen=True)
class UsagePage:
    """Everything the page says. ``next_place`` is where the table goes on, None at its end."""

    username: str
    own: bool
    period: Period
    amounts: Amounts
    figures: tuple[Figure, ...]
    running: tuple[Running, ...]
    calendar: Calendar
    timeline: Timeline
    drawn_all: bool
    rows: tuple[Row, ...]
    next_place: tuple[datetime, str] | None

    @property
    def simulated(self) -> bool:
        return any(row.simulated for row in self.rows)


def usage_page(
    username: str,
    viewer: str,
    period: Period,
    amounts: Amounts,
    before: Amounts,
    days: Sequence[DayRow],
    running: Sequence[SeenSession],
    drawn: Sequence[Session | DrawnSession],
    listed: Sequence[SeenSession],
    *,
    hidden: bool,
) -> UsagePage:
    """The page of ``username`` (or of its pseudonym) as ``viewer`` sees it.

    ``before`` is what the period is compared with; ``days`` is usage by day of the period's zone
    from the calendar's beginning; ``drawn`` are the newest sessions of the period, at most
    ``MAX_DRAWN``, ``listed`` those of the table and one more if there are more. ``hidden``: without
    names of servers and people.
    """
    zone, now = period.zone, period.now
    shown = listed[:ROWS]
    last = shown[-1].session if len(listed) > ROWS else None
    local = ZoneInfo(zone)
    seconds_by_day = {row.bucket.astimezone(local).date(): row.seconds for row in days}
    return UsagePage(
        username=username,
        own=username == viewer,
        period=period,
        amounts=amounts,
        figures=figures_of(amounts, before),
        running=tuple(running_of(seen, now, hidden=hidden, username=username) for seen in running),
        calendar=calendar_of(seconds_by_day, period.drawn_until, zone),
        timeline=timeline_of(
            drawn,
            [server_of(session, hidden=hidden) for session in drawn],
            period.since,
            period.until,
            zone,
            now,
        ),
        drawn_all=len(drawn) < MAX_DRAWN,
        rows=tuple(
            row_of(
                seen,
                viewer,
                period.since,
                period.until,
                now,
                hidden=hidden,
                username=username,
            )
            for seen in shown
        ),
        next_place=None if last is None else (last.started_at, str(last.id)),
    )
