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
    days, marks = list(empty.days), list(empty.marks)
    first, busiest, most = days[0].day, 0, 0.0
    for day, seconds in seconds_by_day.items():
        number = (day - first).days
        if not seconds or not 0 <= number < len(days):
            continue
        words, level = f"{day.isoformat()}: {duration_in_words(seconds)}", _level(seconds)
        days[number] = Day(day, seconds, *divmod(number, 7), level, words)
        marks[number] = f'{empty.squares[number]}{level}"><title>{words}</title></rect>'
        if seconds > most or (seconds == most and number < busiest):
            busiest, most = number, seconds
    told = f"; the most on {days[busiest].words.replace(':', ',', 1)}" if most else ""
    words = f"Hours by day from {first.isoformat()} to {last.isoformat()}{told}"
    # numbers and words of ours
    return Calendar(tuple(days), empty.months, Markup("".join(marks)), words)  # noqa: S704


class _Empty(NamedTuple):
    """What all calendars that end on the same day have in common: days without use, their marks,
    and how a mark of the day begins."""

    days: tuple[Day, ...]
    marks: tuple[str, ...]
    squares: tuple[str, ...]
    months: tuple[tuple[int, str], ...]


@lru_cache(maxsize=32)
def _empty_calendar(last: date) -> _Empty:
    first = _first_monday(last)
    days = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        days.append(Day(day, 0.0, *divmod(number, 7), 0, f"{day.isoformat()}: nothing"))
    squares = [
        f'<rect x="{day.week * DAY_UNITS}" y="{16 + day.weekday * DAY_UNITS}" width="12" '
        'height="12" rx="2" class="jhm-l'
        for day in days
    ]
    marks = [
        f'{square}0"><title>{day.words}</title></rect>'
        for square, day in zip(squares, days, strict=True)
    ]
    months = [
        (day.week, day.day.strftime("%b")) for day in days if day.day.day <= 7 and not day.weekday
    ]
    return _Empty(tuple(days), tuple(marks), tuple(squares), tuple(months))


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
    local, length = ZoneInfo(zone), until - since

    def place(moment: datetime) -> float:
        return _place((moment - since) / length)

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
    return Timeline(
        lanes=tuple((name, tuple(bars)) for name, bars in drawn),
        ticks=_ticks(since, until, zone),
        hidden=len(lanes) - len(drawn),
        words=f"{len(sessions)} sessions on {len(lanes)} servers; the table below lists them",
    )


def _place(share: float) -> float:
    return round(min(max(share, 0.0), 1.0) * TIMELINE_UNITS, 2)


@lru_cache(maxsize=32)
def _ticks(since: datetime, until: datetime, zone: str) -> tuple[float, ...]:
    """Where days begin: of all of them, or, in a long time, of about thirty."""
    days = (until - since).days
    first = since.astimezone(ZoneInfo(zone)).date()
    begins = (
        in_zone(first + timedelta(days=number), zone)
        for number in range(1, days + 1, max(1, days // 31))
    )
    places = (_place((moment - since) / (until - since)) for moment in begins)
    return tuple(place for place in places if 0 < place < TIMELINE_UNITS)


def _session_words(session: Session | DrawnSession, name: str, zone: ZoneInfo) -> str:
    began = session.started_at.astimezone(zone).isoformat(" ", "minutes")[:16]
    if session.ended_at is None:
        return f"{name}, {session.state} since {began}"
    if session.state == "failed":
        return f"{name}, did not start at {began}"
    length = (session.ended_at - session.started_at).total_seconds()
    return f"{name}, from {began} for {duration_in_words(length)}"


def _level(seconds: float) -> int:
    return bisect_left(_LEVELS, seconds)


def _last_day(until: datetime, zone: str) -> date:
    return (until - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date()


def _first_monday(last: date) -> date:
    monday = last - timedelta(days=last.weekday())
    return monday - timedelta(weeks=CALENDAR_WEEKS - 1)
