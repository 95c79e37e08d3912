"""Facts about the ports of tests: none is given twice, in one process or in two."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ports
import pytest

ANOTHER = """
import sys
sys.path.insert(0, sys.argv[1])
import ports
print(ports.free_port(), flush=True)
sys.stdin.read()
"""


def test_none_is_given_twice() -> None:
    given = [ports.free_port() for _ in range(300)]
    assert len(set(given)) == 300


def test_none_is_given_that_another_process_was_given(monkeypatch) -> None:
    arguments = [sys.executable, "-c", ANOTHER, str(Path(ports.__file__).parent)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as another:
        assert another.stdout is not None
        anothers = int(another.stdout.readline())
        monkeypatch.setattr(ports, "_FIRST", anothers)
        monkeypatch.setattr(ports, "_COUNT", 1)
        with pytest.raises(AssertionError, match="no port is free"):
            ports.free_port()
        another.communicate()
    # with the end of a process its ports are free again
    assert ports.free_port() == anothers
