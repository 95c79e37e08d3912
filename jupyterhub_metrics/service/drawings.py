"""What pages draw without a script: a calendar of days and a timeline of sessions. Pure.

Called by :mod:`.usage_page`. Colours are the stylesheet's. Marks, of which there are hundreds, are
turned into SVG here: a template takes several times as long.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from ..model import Session
from ..store import DrawnSession
from .periods import in_zone
from .wording import duration_in_words

CALENDAR_WEEKS: Final = 53
DAY_UNITS: Final = 14
MAX_LANES: Final = 12
TIMELINE_UNITS: Final = 1000
_LEVELS: Final = (0.0, 3600.0, 4 * 3600.0, 8 * 3600.0)
"""Seconds above which a day is drawn one step darker."""


class Day(NamedTuple):
    """One day; ``level`` is 0 (nothing) to 4. ``week`` and ``weekday`` count from 0, Monday."""

    day: date
    seconds: float
    week: int
    weekday: int
    level: int
    words: str


@dataclass(frozen=True)
class Calendar:
    """A year by weeks, the last with the period's last day. ``months`` are labels by week;
    ``marks`` is a square for each day, in SVG."""

    days: tuple[Day, ...]
    months: tuple[tuple[int, str], ...]
    marks: Markup
    words: str


def calendar_since(until: datetime, zone: str) -> datetime:
    """When the calendar begins that ends at ``until``."""
    return in_zone(_first_monday(_last_day(until, zone)), zone)


def calendar_of(seconds_by_day: Mapping[date, float], until: datetime, zone: str) -> Calendar:
    """The calendar that ends at ``until``; a day that is missing has no seconds."""
    last = _last_day(until, zone)
    empty = _empty_calendar(last)
    first = empty.days[0].day
    days, marks = list(empty.days), list(empty.squares)
    for day, seconds in seconds_by_day.items():
        number = (day - first).days
        if seconds and 0 <= number < len(days):
            days[number] = used = _day(first, number, seconds)
            marks[number] = _square(used)
    most = max(days, key=_seconds_of)
    told = f"; the most on {most.day.isoformat()}, {_amount(most.seconds)}" if most.seconds else ""
    words = f"Hours by day from {first.isoformat()} to {last.isoformat()}{told}"
    # numbers and words of ours
    return Calendar(tuple(days), empty.months, Markup("".join(marks)), words)  # noqa: S704


class _Empty(NamedTuple):
    """What all calendars that end on the same day have in common."""

    days: tuple[Day, ...]
    squares: tuple[str, ...]
    months: tuple[tuple[int, str], ...]


@lru_cache(maxsize=32)
def _empty_calendar(last: date) -> _Empty:
    first = _first_monday(last)
    days = tuple(_day(first, number, 0.0) for number in range((last - first).days + 1))
    months = tuple(
        (day.week, day.day.strftime("%b")) for day in days if day.day.day <= 7 and not day.weekday
    )
    return _Empty(days, tuple(map(_square, days)), months)


def _day(first: date, number: int, seconds: float) -> Day:
    day = first + timedelta(days=number)
    week, weekday = divmod(number, 7)
    words = f"{day.isoformat()}: {_amount(seconds)}"
    return Day(day, seconds, week, weekday, _level(seconds), words)


def _square(day: Day) -> str:
    _, _, week, weekday, level, words = day
    return (
        f'<rect x="{week * DAY_UNITS}" y="{16 + weekday * DAY_UNITS}" width="12" height="12" '
        f'rx="2" class="jhm-l{level}"><title>{words}</title></rect>'
    )


class Bar(NamedTuple):
    """A session in the timeline, in thousandths of its length."""

    begins: float
    width: float
    kind: str
    words: str


def marks_of(bars: Sequence[Bar]) -> Markup:
    """A bar for each session, in SVG."""
    return Markup(  # noqa: S704 - what others named is escaped
        "".join(
            f'<rect x="{bar.begins}" y="1" width="{bar.width}" height="8" '
            f'class="jhm-bar-{bar.kind}"><title>{escape(bar.words)}</title></rect>'
            for bar in bars
        )
    )


@dataclass(frozen=True)
class Timeline:
    """Sessions by server, ``ticks`` at the beginnings of days. ``hidden`` lanes are not drawn."""

    lanes: tuple[tuple[str, tuple[Bar, ...]], ...]
    ticks: tuple[float, ...]
    hidden: int
    words: str

    @property
    def tick_marks(self) -> Markup:
        """A line for each, in SVG."""
        return Markup(  # noqa: S704 - numbers of ours
            "".join(f'<line x1="{tick}" x2="{tick}" y1="0" y2="10"/>' for tick in self.ticks)
        )


def timeline_of(
    sessions: Sequence[Session | DrawnSession],
    names: Sequence[str],
    since: datetime,
    until: datetime,
    zone: str,
    now: datetime,
) -> Timeline:
    """``names`` are what the sessions' servers are called, in the order of ``sessions``."""
    length = (until - since).total_seconds()
    local = ZoneInfo(zone)

    def place(moment: datetime) -> float:
        share = (moment - since).total_seconds() / length
        return round(min(max(share, 0.0), 1.0) * TIMELINE_UNITS, 2)

    lanes: dict[str, list[Bar]] = {}
    for session, name in sorted(
        zip(sessions, names, strict=True), key=lambda pair: pair[0].started_at
    ):
        begins = place(session.started_at)
        ends = place(min(session.ended_at or now, until))
        lanes.setdefault(name, []).append(
            Bar(
                begins, max(ends - begins, 1.5), session.state, _session_words(session, name, local)
            )
        )
    drawn = sorted(lanes.items())[:MAX_LANES]
    days = (until - since).days
    every = max(1, days // 31)
    first = since.astimezone(local).date()
    ticks = [place(in_zone(first + timedelta(days=n), zone)) for n in range(1, days + 1, every)]
    return Timeline(
        lanes=tuple((name, tuple(bars)) for name, bars in drawn),
        ticks=tuple(tick for tick in ticks if 0 < tick < TIMELINE_UNITS),
        hidden=len(lanes) - len(drawn),
        words=f"{len(sessions)} sessions on {len(lanes)} servers; the table below lists them",
    )


def _session_words(session: Session | DrawnSession, name: str, zone: ZoneInfo) -> str:
    began = session.started_at.astimezone(zone).isoformat(" ", "minutes")[:16]
    if session.ended_at is None:
        return f"{name}, {session.state} since {began}"
    if session.state == "failed":
        return f"{name}, did not start at {began}"
    length = (session.ended_at - session.started_at).total_seconds()
    return f"{name}, from {began} for {duration_in_words(length)}"


def _amount(seconds: float) -> str:
    return duration_in_words(seconds) if seconds else "nothing"


def _seconds_of(day: Day) -> float:
    return day.seconds


def _level(seconds: float) -> int:
    return bisect_left(_LEVELS, seconds)


def _last_day(until: datetime, zone: str) -> date:
    return (until - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date()


def _first_monday(last: date) -> date:
    monday = last - timedelta(days=last.weekday())
    return monday - timedelta(weeks=CALENDAR_WEEKS - 1)
