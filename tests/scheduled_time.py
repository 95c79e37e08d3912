"""True time that passes only when a schedule says so, and the clocks of the machines in it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from builders import at


class Time:
    """``now`` is in seconds after T0; what is due is called on the way."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def later(self, seconds: float, call: Callable[[], None]) -> Any:
        """Calls once, unless what is returned is cancelled before."""
        state = {"wanted": True}

        def ring() -> None:
            if state["wanted"]:
                call()

        heapq.heappush(self._due, (self.now + seconds, next(self._order), ring))
        return SimpleNamespace(cancel=lambda: state.update(wanted=False))

    def pass_by(self, seconds: float) -> None:
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            when, _, call = heapq.heappop(self._due)
            self.now = max(self.now, when)
            call()
        self.now = max(self.now, until)


class Clock:
    """The clocks of one machine: a wall clock that can be set or stand still, and a monotonic one.

    ``ahead`` is how far the wall clock is before the true time.
    """

    def __init__(self, time: Time) -> None:
        self._time = time
        self._ahead = 0.0
        self._stands_at: float | None = None
        self._history = [(0.0, 0.0)]

    @property
    def ahead(self) -> float:
        if self._stands_at is not None:
            return self._stands_at - self._time.now
        return self._ahead

    def wall(self) -> datetime:
        return at(self._time.now + self.ahead)

    def monotonic(self) -> float:
        return self._time.now

    def step(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self._note()
        self._ahead = self.ahead + seconds
        if self._stands_at is not None:
            self._stands_at += seconds
        self._note()

    def stop(self) -> None:
        self._note()
        if self._stands_at is None:
            self._stands_at = self._time.now + self._ahead

    def go_on(self) -> None:
        """From where it stood."""
        self._ahead = self.ahead
        self._stands_at = None
        self._note()

    def put_right(self) -> None:
        self.go_on()
        self.step(-self._ahead)

    def _note(self) -> None:
        self._history.append((self._time.now, self.ahead))

    def shown_since(self, moment: float) -> list[float]:
        """How far it was ahead at the extremes since then: what any reading was wrong by."""
        before = [ahead for when, ahead in self._history if when < moment]
        return [
            *before[-1:],
            *(ahead for when, ahead in self._history if when >= moment),
            self.ahead,
        ]


def spread(clocks: list[Clock], since: float) -> timedelta:
    """By how much two readings of these clocks can disagree about one moment since then."""
    shown = [ahead for clock in clocks for ahead in clock.shown_since(since)]
    return timedelta(seconds=max(shown) - min(shown))
