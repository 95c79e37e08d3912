"""Keeps what a scrape was answered with for a moment, for others who ask the same.

Called by :mod:`.metrics`. However often somebody scrapes, little of it costs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

MAX_KEPT: Final = 8
"""Ways of asking whose answers are kept; callers can make up any number of them."""

Answer = tuple[bytes, Mapping[str, str]]


class RecentAnswers:
    """``max_age_seconds`` is how old an answer may be; 0: each is made anew."""

    def __init__(self, *, seconds: Callable[[], float] = monotonic) -> None:
        self.max_age_seconds = 0.0
        self._seconds = seconds
        self._kept: dict[tuple[str, str], tuple[float, Answer]] = {}

    def get(self, question: tuple[str, str], make: Callable[[], Answer]) -> Answer:
        """The answer of a moment ago, or one that is made now."""
        now = self._seconds()
        kept = {
            asked: answered
            for asked, answered in self._kept.items()
            if now - answered[0] < self.max_age_seconds
        }
        self._kept = kept
        if question in kept:
            return kept[question][1]
        made = make()
        if len(kept) < MAX_KEPT and self.max_age_seconds > 0:
            kept[question] = (now, made)
        return made

    def forget(self) -> None:
        """Something changed that everybody should see at once."""
        self._kept = {}
