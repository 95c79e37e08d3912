"""The service ends with the Hub that started it, however that dies.

A Hub that is killed runs no clean-up: its services live on, hold the port of their successors and
keep a secret that the next Hub has replaced. Called by ``service.app``.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys

log = logging.getLogger(__name__)

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
WATCH_SECONDS = 1.0


def ask_kernel_for_sigterm() -> bool:
    """Whether the kernel will send SIGTERM to this process when its parent dies.

    Only Linux can, and it forgets the wish when this process changes its user; hence the watch
    in :func:`parent_gone` besides.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) == 0)


async def parent_gone(parent_pid: int, *, seconds: float = WATCH_SECONDS) -> None:
    """Returns once ``parent_pid`` is no longer this process' parent; looks every ``seconds``."""
    # no event tells of it on every system
    while os.getppid() == parent_pid:  # noqa: ASYNC110
        await asyncio.sleep(seconds)
    log.info("The process that started this service, %s, has ended: stopping", parent_pid)
