"""Whatever the demo starts ends with it: the Hub, its proxy, its services, every user's server.

Called by :mod:`.running`. The guarantee is Linux's, where a process can adopt the orphans among its
descendants; elsewhere what an abruptly killed Hub leaves behind has no parent to be found by.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(child: int) -> None:
    """Let go of adopted processes that have ended; ``child`` is another's to wait for."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == child:
                return
            os.waitpid(ended.si_pid, 0)


def descendants() -> list[int]:
    """Process ids of all that this process started, directly or not, zombies left out."""
    children: dict[int, list[int]] = {}
    for pid, parent in _living():
        children.setdefault(parent, []).append(pid)
    found, front = [], [os.getpid()]
    while front:
        offspring = children.get(front.pop(), [])
        found.extend(offspring)
        front.extend(offspring)
    return found


def _living() -> list[tuple[int, int]]:
    if sys.platform != "linux":
        listed = subprocess.run(
            ["/bin/ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False
        )
        pairs = [line.split() for line in listed.stdout.splitlines()]
        return [(int(pid), int(parent)) for pid, parent in pairs]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        # proc_pid_stat(5): the name in parentheses may hold anything, also a parenthesis
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found.append((int(entry.name), int(parent)))
    return found


async def end_descendants(hurry: asyncio.Event, *, patience_seconds: float = 8.0) -> int:
    """SIGTERM to all that is left, SIGKILL to what stays; how many there were.

    ``hurry`` skips the patience. Nothing of ours runs when it returns.
    """
    left = descendants()
    _signal(left, signal.SIGTERM)
    deadline = time.monotonic() + patience_seconds
    while descendants():
        if hurry.is_set() or time.monotonic() > deadline:
            # again and again: what is killed may have started something meanwhile
            _signal(descendants(), signal.SIGKILL)
        await asyncio.sleep(0.05)
    return len(left)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
