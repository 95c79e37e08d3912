"""What PostgreSQL writes about its running server, and how to end one.

Format: https://www.postgresql.org/docs/current/storage-file-layout.html (``postmaster.pid``): one
value a line: process id, data folder, start time, port, socket folder, listening address, shared
memory, status. Called by :mod:`.embedded`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import DatabaseUnavailable

FAST_SECONDS = 30.0
IMMEDIATE_SECONDS = 10.0


@dataclass(frozen=True)
class Postmaster:
    """The server process of one cluster, as ``postmaster.pid`` tells it."""

    pid: int
    socket_folder: str
    ready: bool


def read_postmaster(cluster: Path) -> Postmaster | None:
    """What ``postmaster.pid`` says, whether or not that process still lives; None if it is not
    there or only half written."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 8 or not lines[0].strip().isdigit():
        return None
    return Postmaster(int(lines[0]), lines[4], lines[7].strip() == "ready")


def running_postmaster(cluster: Path) -> Postmaster | None:
    """The server that runs on this cluster now.

    A process id alone proves nothing, it may have been given to another process since: the
    process must be a ``postgres`` that was started on this very folder.
    """
    noted = read_postmaster(cluster)
    if noted is None:
        return None
    arguments = _arguments(noted.pid)
    if arguments and Path(arguments[0]).name == "postgres" and str(cluster) in arguments:
        return noted
    return None


def _arguments(pid: int) -> list[str]:
    if Path("/proc/self/cmdline").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [os.fsdecode(part) for part in raw.split(b"\0")]
    asked = subprocess.run(
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.split()


def end_postmaster(cluster: Path) -> bool:
    """End the server that a killed service left on this cluster; whether there was one.

    Asks for a fast shutdown (no data is lost), then for an immediate one (recovered at the next
    start). Blocks until it is gone. Raises DatabaseUnavailable if it does not go.
    """
    left = running_postmaster(cluster)
    if left is None:
        return False
    for request, patience in (
        (signal.SIGINT, FAST_SECONDS),
        (signal.SIGQUIT, IMMEDIATE_SECONDS),
    ):
        with contextlib.suppress(ProcessLookupError):
            os.kill(left.pid, request)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if running_postmaster(cluster) is None:
                return True
            time.sleep(0.02)
    raise DatabaseUnavailable(
        f"found process {left.pid} serving {cluster}, left by a service that was killed, and it "
        "does not end; end it by hand, then start again"
    )


def disown_postmaster(cluster: Path) -> None:
    """Let a new child of ours start although ``postmaster.pid`` is there.

    For when it is known that no server runs on this cluster. PostgreSQL refuses to start while
    the noted number belongs to any process of its account, as it often does in a container, where
    numbers repeat. It does not ask that of its own parent, so ours is noted in its place; the rest
    stays, because by it PostgreSQL finds processes that still use the old server's memory.
    """
    note = cluster / "postmaster.pid"
    try:
        _, *rest = note.read_text().splitlines()
    except FileNotFoundError:
        return
    except ValueError:
        # empty after a power cut; it says nothing, and PostgreSQL wants it gone
        note.unlink()
        return
    note.write_text("\n".join([str(os.getpid()), *rest]) + "\n")
