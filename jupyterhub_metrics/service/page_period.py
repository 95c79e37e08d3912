"""The time that a page shows, from its address, and the addresses of the times beside it. Pure.

Called by the page handlers. A page shows a month unless ``since`` or ``until`` say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from ..store import Window
from .api.parameters import SINCE, UNTIL, ZONE, Parameter, window_of
from .periods import Month, in_zone, read_month

MONTH: Final = Parameter(
    "month", "A month in the zone. Default: this month.", {"type": "string"}, read_month
)
PERIOD_PARAMETERS: Final = (MONTH, SINCE, UNTIL, ZONE)


@dataclass(frozen=True)
class Period:
    """``[since, until)`` with the time before it to compare with; ``month`` None: any window."""

    since: datetime
    until: datetime
    zone: str
    month: Month | None
    before: tuple[datetime, datetime]
    given: Mapping[str, str]
    now: datetime

    @property
    def window(self) -> Window:
        return Window(self.since, self.until, self.zone)

    @property
    def words(self) -> str:
        """The month, or the two moments."""
        if self.month is not None:
            return self.month.words
        return f"{self._local(self.since)} to {self._local(self.until)}"

    @property
    def before_words(self) -> str:
        """What it is compared with."""
        if self.month is not None:
            return self.month.previous.first_day.strftime("%B")
        return "Before"

    @property
    def first_day(self) -> str:
        return self._day(self.since)

    @property
    def end_day(self) -> str:
        return self._day(self.until)

    @property
    def is_current(self) -> bool:
        """Whether it is not over."""
        return self.until > self.now

    @property
    def drawn_until(self) -> datetime:
        """The end of what there is to draw: of the period, or of today."""
        today = self.now.astimezone(ZoneInfo(self.zone)).date()
        return min(self.until, in_zone(today + timedelta(days=1), self.zone))

    def link(self, **changes: str | None) -> str:
        """The page's own address with some arguments changed, or, where None, left out."""
        merged = {**self.given, **changes}
        kept = {name: value for name, value in merged.items() if value}
        return f"?{urlencode(kept)}" if kept else "?"

    def month_link(self, month: Month) -> str:
        """The same page for another month."""
        return self.link(month=month.text, since=None, until=None, cursor=None)

    @property
    def time_arguments(self) -> dict[str, str]:
        """The same time for the REST API."""
        zone = {"zone": self.zone} if self.zone != "UTC" else {}
        return {"since": self._text(self.since), "until": self._text(self.until), **zone}

    @property
    def carried(self) -> dict[str, str]:
        """The same time for another page of ours; nothing where that is its default."""
        names = ("month", "since", "until", "zone")
        return {name: self.given[name] for name in names if self.given.get(name)}

    def _text(self, moment: datetime) -> str:
        day = moment.astimezone(ZoneInfo(self.zone)).date()
        return day.isoformat() if in_zone(day, self.zone) == moment else _rfc3339(moment)

    def _day(self, moment: datetime) -> str:
        return moment.astimezone(ZoneInfo(self.zone)).date().isoformat()

    def _local(self, moment: datetime) -> str:
        local = moment.astimezone(ZoneInfo(self.zone))
        at_midnight = in_zone(local.date(), self.zone) == moment
        return local.strftime("%Y-%m-%d" if at_midnight else "%Y-%m-%d %H:%M")


def period_of(values: Mapping[str, Any], given: Mapping[str, str], now: datetime) -> Period:
    """The period that the arguments describe. Raises BadRequest."""
    zone = values.get("zone", "UTC")
    if "since" in values or "until" in values:
        window = window_of({**values, "zone": zone, "step": None}, now)
        length = window.until - window.since
        before = (window.since - length, window.since)
        return Period(window.since, window.until, zone, None, before, given, now)
    first_day: date | None = values.get("month")
    month = Month.at(now, zone) if first_day is None else Month(first_day, zone)
    before = (month.previous.since, month.since)
    return Period(month.since, month.until, zone, month, before, given, now)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
