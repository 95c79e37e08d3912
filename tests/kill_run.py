"""Plays many schedules of lives and deaths on several Hubs at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kill_judge import NO_INTERVAL, Verdict
from kill_plan import schedule_of
from kill_stack import KillStack

SCHEDULES_OF_A_HUB = 10
"""A fresh Hub after so many: its log, its users and what is compared grow with each."""


@dataclass
class Total:
    """What some schedules came to; ``closest`` as of a verdict."""

    schedules: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    intervals: int = 0
    closest: tuple[float, float] = NO_INTERVAL


async def run_schedules(
    seed: int, numbers: Iterable[int], *, stacks: int, told: Callable[[str], None] = lambda _: None
) -> Total:
    """Plays the schedules on so many Hubs at the same time, each with a database within its
    service or, by turns, beside it.

    ``told`` is given a line for each. Raises AssertionError at the first that goes wrong.
    """
    left = list(numbers)
    left.reverse()
    total = Total()

    async def play(own_database: bool) -> None:
        while left:
            stack = KillStack(own_database=own_database)
            verdict = Verdict()
            try:
                await stack.start()
                for _ in range(min(SCHEDULES_OF_A_HUB, len(left))):
                    if not left:
                        break
                    schedule = schedule_of(seed, left.pop())
                    verdict = await stack.run(schedule)
                    total.schedules += 1
                    told(str(schedule))
                verdict = await stack.judge_again()
            finally:
                await stack.close()
            total.kills += stack.kills
            total.sessions += verdict.compared
            total.intervals += verdict.intervals
            total.closest = max(total.closest, verdict.closest, key=lambda one: one[0] - one[1])

    players = [
        asyncio.create_task(play(bool(number % 2)), name=f"kill-stack-{number}")
        for number in range(stacks)
    ]
    try:
        await asyncio.gather(*players)
    finally:
        for player in players:
            player.cancel()
        await asyncio.gather(*players, return_exceptions=True)
    return total
