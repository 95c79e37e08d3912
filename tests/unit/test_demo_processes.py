"""On Linux, the demo adopts orphans, ends every descendant, and keeps no zombies."""

from __future__ import annotations

import subprocess
import sys

ORPHAN = "import subprocess, sys; print(subprocess.Popen(['sleep', sys.argv[1]], stdout=2).pid)"


def told(script: str) -> str:
    """What a Python of its own prints; the tests' own process must not adopt anybody."""
    prepared = (
        "import asyncio, os, subprocess, sys, time\n"
        "from jupyterhub_metrics.demo.processes import *\n"
        "adopt_orphans()\n"
        "def orphan(seconds):\n"
        f"    command = [sys.executable, '-c', {ORPHAN!r}, seconds]\n"
        "    return int(subprocess.run(command, stdout=subprocess.PIPE).stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", prepared + script],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


def test_an_orphan_is_found_and_ended() -> None:
    script = """
pid = orphan('60')
assert descendants() == [pid], (pid, descendants())
print(asyncio.run(end_descendants(asyncio.Event())), descendants())
"""
    assert told(script) == "1 []"


def test_what_ignores_sigterm_is_killed_when_in_hurry() -> None:
    script = """
child = subprocess.Popen(['sh', '-c', 'trap "" TERM; echo; while :; do sleep 0.05; done'],
                         stdout=subprocess.PIPE)
child.stdout.readline()
async def end():
    hurry = asyncio.Event()
    hurry.set()
    await end_descendants(hurry, patience_seconds=60)
asyncio.run(end())
print(child.wait(), descendants())
"""
    assert told(script) == "-9 []"


def test_ended_orphans_are_let_go_and_the_child_is_left_to_its_owner() -> None:
    script = """
pid = orphan('0.01')
child = subprocess.Popen(['sleep', '60'])
while os.path.exists(f'/proc/{pid}'):
    reap_orphans(child.pid)
    time.sleep(0.01)
child.kill()
time.sleep(0.1)
reap_orphans(child.pid)
print(child.wait())
"""
    assert told(script) == "-9"
