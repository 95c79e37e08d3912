"""Rates from two readings of counters. Pure; every reader's rates come from here.

The seconds between two readings are those of a monotonic clock, which stands still while the
machine is suspended, as its counters do: what happened before and after a suspension is not spread
over the time in between.
"""

from __future__ import annotations

from collections.abc import Mapping

WRAP_BITS = (32, 64)
"""Widths at which counters start anew from 0."""

Counters = Mapping[str, float]


def increase(before: float | None, after: float | None, *, wraps: bool = False) -> float | None:
    """How much a counter grew; None if it is not known.

    A counter that went down was reset, and how much it grew meanwhile is not known. With
    ``wraps`` one that was within the last eighth of 32 or 64 bits and is within the first eighth
    now has wrapped; without, it never does, as the kernel's own 64-bit counters of a container.
    """
    if before is None or after is None:
        return None
    if after >= before:
        return after - before
    if wraps:
        for bits in WRAP_BITS:
            size = 2.0**bits
            if 7 * size / 8 <= before <= size and after < size / 8:
                return after - before + size
    return None


def per_second(
    before: float | None, after: float | None, seconds: float, *, wraps: bool = False
) -> float | None:
    """A counter's growth by time; None if it is not known or no time went by."""
    grown = increase(before, after, wraps=wraps)
    return None if grown is None or seconds <= 0 else grown / seconds


def shares(before: Counters, after: Counters) -> dict[str, float]:
    """Each counter's part in the growth of all, in percent; empty if nothing grew.

    A counter that went back a little counts as one that stood still: the kernel's times of idle
    processors do so.
    """
    grown = {
        name: max(value - before[name], 0.0) for name, value in after.items() if name in before
    }
    whole = sum(grown.values())
    return {name: 100 * part / whole for name, part in grown.items()} if whole > 0 else {}
