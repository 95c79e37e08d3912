"""The service ends with the Hub that started it, however that dies.

A Hub that is killed runs no clean-up: its services live on, hold the port of their successors and
keep a secret that the next Hub has replaced. Linux is asked for a signal then (``_lifetime``); the
watch here also serves other systems. Called by ``service.server``.
"""

from __future__ import annotations

import asyncio
import logging
import os

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0


async def parent_gone(parent_pid: int, *, seconds: float = WATCH_SECONDS) -> None:
    """Returns once ``parent_pid`` is no longer this process' parent; looks every ``seconds``."""
    # no event tells of it on every system
    while os.getppid() == parent_pid:  # noqa: ASYNC110
        await asyncio.sleep(seconds)
    log.info("The process that started this service, %s, has ended: stopping", parent_pid)
