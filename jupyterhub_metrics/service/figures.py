"""Amounts of usage as people read them, beside those of the time before. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..store import DayRow, UsageRow
from .wording import hours_in_words

UNKNOWN: Final = "\u2013"


@dataclass(frozen=True)
class Amounts:
    """Usage added up; None where nothing of it is known."""

    seconds: float = 0.0
    active_seconds: float | None = None
    gib_hours: float | None = None
    core_hours: float | None = None
    gpu_hours: float | None = None
    starts: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Figure:
    """One number with its label, and the same for the time before."""

    label: str
    words: str
    before_words: str


def added_up(rows: Iterable[UsageRow | DayRow]) -> Amounts:
    """The sum; what is unknown of some counts for nothing, what is unknown of all stays so."""
    rows = list(rows)

    def total(name: str) -> float | None:
        known = [value for row in rows if (value := getattr(row, name)) is not None]
        return sum(known) if known else None

    return Amounts(
        seconds=sum(row.seconds for row in rows),
        active_seconds=total("active_seconds"),
        gib_hours=total("gib_hours"),
        core_hours=total("core_hours"),
        gpu_hours=total("gpu_hours"),
        starts=sum(row.starts for row in rows),
        failures=sum(row.failures for row in rows),
    )


def figures_of(now: Amounts, before: Amounts) -> tuple[Figure, ...]:
    """What a page shows first."""
    return (
        Figure("Hours", hours_in_words(now.seconds), hours_in_words(before.seconds)),
        Figure("Active hours", _active(now.active_seconds), _active(before.active_seconds)),
        Figure("GPU-hours", amount_in_words(now.gpu_hours), amount_in_words(before.gpu_hours)),
        Figure("Core-hours", amount_in_words(now.core_hours), amount_in_words(before.core_hours)),
        Figure("GiB-hours", amount_in_words(now.gib_hours), amount_in_words(before.gib_hours)),
        Figure("Starts", f"{now.starts:,}", f"{before.starts:,}"),
        Figure("Failed starts", f"{now.failures:,}", f"{before.failures:,}"),
    )


def amount_in_words(hours: float | None) -> str:
    """Hours of something with one decimal; a dash where it is not known."""
    return UNKNOWN if hours is None else hours_in_words(hours * 3600)


def _active(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else hours_in_words(seconds)
