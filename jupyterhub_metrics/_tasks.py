"""Waits and ends of tasks that lose no cancellation.

``asyncio.wait_for`` before Python 3.12 forgets a cancellation that comes in the moment in which
what it waits for is done, and the task goes on as if nobody had asked it to end
(https://github.com/python/cpython/issues/86296). Standard library only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

_Result = TypeVar("_Result")

CANCEL_AGAIN_SECONDS = 2.0
"""What an end may take before a task is asked again: some library may have forgotten."""


async def within(seconds: float, work: Coroutine[Any, Any, _Result]) -> _Result:
    """What ``work`` returns, or raises. Raises asyncio.TimeoutError where it takes longer.

    However this ends, ``work`` has ended too.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        await end([task])


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels the tasks until each has ended; what one failed with is its awaiter's business."""
    every = list(tasks)
    waiting = set(every)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*every, return_exceptions=True)
