"""Ports that no other test of this machine was promised, in this process or in one beside it.

Between the moment a test takes a port and the moment its server listens there, and again while
that server is restarted, nobody holds the port; another that took it then would end both.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import tempfile
from functools import cache
from pathlib import Path

# below those that the system gives to outgoing connections, which might take one back
_FIRST, _COUNT = 20_000, 12_000
_taken: set[int] = set()


def free_port() -> int:
    """One that is free, and that ``free_port`` gives to nobody else while this process runs."""
    for _ in range(1000):
        port = _FIRST + secrets.randbelow(_COUNT)
        if port not in _taken and _claim(port) and _is_free(port):
            return port
    raise AssertionError("no port is free")


def _claim(port: int) -> bool:
    """Locks the port's byte of a file that all processes share, until this one ends."""
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    # a process does not lock itself out
    _taken.add(port)
    return True


@cache
def _claims() -> int:
    path = Path(tempfile.gettempdir()) / f"jhm-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
