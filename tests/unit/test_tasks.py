"""Facts about waiting and ending: no cancellation is lost, and what is ended has ended."""

from __future__ import annotations

import asyncio

import pytest

from jupyterhub_metrics import _tasks
from jupyterhub_metrics._tasks import end, within

LONG = 3600.0


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


async def fail() -> None:
    raise LookupError("lost")


async def test_within_gives_what_the_work_gives() -> None:
    assert await within(LONG, answer()) == 42
    with pytest.raises(LookupError, match="lost"):
        await within(LONG, fail())


async def test_what_takes_longer_has_ended_when_that_is_told() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.set()

    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, work())
    assert ended.is_set()


@pytest.mark.parametrize("steps", range(4))
async def test_a_cancellation_that_meets_the_result_is_not_lost(steps: int) -> None:
    """So many turns of the loop before the work is done, and as it is done."""

    async def work() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()

    async def wait() -> None:
        await within(LONG, work())
        raise AssertionError("it went on")

    waiting = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_task_that_forgets_to_end_is_asked_again(monkeypatch) -> None:
    monkeypatch.setattr(_tasks, "CANCEL_AGAIN_SECONDS", 0.01)
    asked = 0

    async def forget() -> None:
        nonlocal asked
        while asked < 3:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                asked += 1

    tasks = [asyncio.create_task(work) for work in (forget(), fail(), answer())]
    await asyncio.sleep(0)
    await end(tasks)
    assert asked == 3
    assert all(task.done() for task in tasks)


async def test_nothing_is_ended_at_once() -> None:
    await end([])
