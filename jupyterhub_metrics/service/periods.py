"""Which time a question is about: moments, days and months in any zone. Pure.

Called by the API and the pages. Windows are half-open, ``[since, until)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

FIRST_YEAR, LAST_YEAR = 2000, 2199
LONGEST: Final = timedelta(days=3660)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTH: Final = re.compile(r"(\d{4})-(\d{2})")


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """The names of all IANA time zones on this machine."""
    return frozenset(name for name in available_timezones() if name not in ("localtime", "Factory"))


def read_zone(text: str) -> str:
    """The name of an IANA time zone. Raises ValueError."""
    if text not in known_zones():
        raise ValueError(f"found {_shown(text)}; expected an IANA time zone, as Europe/Berlin")
    return text


def read_moment(text: str) -> date | datetime:
    """A day (``2026-11-22``), or a moment with its offset (RFC 3339). Raises ValueError."""
    try:
        if _DAY.fullmatch(text):
            found: date | datetime = date.fromisoformat(text)
        else:
            found = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
            if found.tzinfo is None:
                raise ValueError(text)
            found = found.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ValueError(
            f"found {_shown(text)}; expected a day, as 2026-11-22, or a moment with its offset, "
            "as 2026-11-22T08:00:00Z"
        ) from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError(f"found the year {found.year}; expected {FIRST_YEAR} to {LAST_YEAR}")
    return found


def read_month(text: str) -> date:
    """The first day of a month (``2026-11``). Raises ValueError."""
    match = _MONTH.fullmatch(text)
    if match is None or not text.isascii():
        raise ValueError(f"found {_shown(text)}; expected a month, as 2026-11")
    year, month = int(match[1]), int(match[2])
    if not FIRST_YEAR <= year <= LAST_YEAR or not 1 <= month <= 12:
        raise ValueError(
            f"found {_shown(text)}; expected a month of {FIRST_YEAR} to {LAST_YEAR}, as 2026-11"
        )
    return date(year, month, 1)


def in_zone(moment: date | datetime, zone: str) -> datetime:
    """The moment itself, or when the day begins in the zone; in UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=ZoneInfo(zone))
    return moment.astimezone(timezone.utc)


@dataclass(frozen=True)
class Month:
    """A calendar month in a zone."""

    first_day: date
    zone: str

    @classmethod
    def at(cls, now: datetime, zone: str) -> Month:
        return cls(now.astimezone(ZoneInfo(zone)).date().replace(day=1), zone)

    @property
    def since(self) -> datetime:
        return in_zone(self.first_day, self.zone)

    @property
    def until(self) -> datetime:
        return self.next.since

    @property
    def previous(self) -> Month:
        return Month((self.first_day - timedelta(days=1)).replace(day=1), self.zone)

    @property
    def next(self) -> Month:
        return Month((self.first_day + timedelta(days=31)).replace(day=1), self.zone)

    @property
    def text(self) -> str:
        """As it stands in addresses, ``2026-11``."""
        return self.first_day.strftime("%Y-%m")

    @property
    def words(self) -> str:
        return self.first_day.strftime("%B %Y")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
