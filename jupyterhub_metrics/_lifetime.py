"""Processes that end with their parent, however that ends, where the system is Linux.

Elsewhere nothing of the kind can be asked for, and whoever calls this has to look by itself.
Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

# linux/prctl.h
_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """For ``preexec_fn``: the child gets the signal when the thread that started it ends.

    It runs after a change of user, which would clear the request.
    """
    if sys.platform != "linux":
        return None
    # loaded before the fork: afterwards only the request itself is safe
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def request() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return request


def ask_to_end_with_parent(number: signal.Signals) -> None:
    """Asks Linux to send the signal to this process when its parent dies.

    The request is forgotten when this process changes its user, and comes too late for a parent
    that is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
