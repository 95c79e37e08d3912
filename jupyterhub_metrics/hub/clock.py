"""The time of a session's moments: the wall clock, which for one session never runs backwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from .._clock import utc_now


class SessionClock:
    """Moments of one session, in UTC, each at or after the one before.

    When the wall clock stands behind the last moment (it was set back), the time since that
    moment comes from the monotonic clock, so that a session keeps its true length.
    """

    def __init__(
        self,
        not_before: datetime,
        *,
        wall: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._latest = not_before
        self._latest_monotonic = monotonic()
        self.stepped_back = False

    def now(self) -> datetime:
        wall, monotonic = self._wall(), self._monotonic()
        if wall < self._latest:
            self.stepped_back = True
            passed = max(0.0, monotonic - self._latest_monotonic)
            wall = self._latest + timedelta(seconds=passed)
        self._latest, self._latest_monotonic = wall, monotonic
        return wall
