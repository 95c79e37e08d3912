"""The processes of a server without a container, real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from kernel_trees import write_tree

from jupyterhub_metrics.sampler.containers import use_between
from jupyterhub_metrics.sampler.processes import ProcessTree

BUSY = """
import subprocess, sys, time
kept = bytearray(60_000_000)
for page in range(0, len(kept), 4096):
    kept[page] = 1
child = "import time\\nend = time.process_time() + 0.4\\nwhile time.process_time() < end: pass"
subprocess.run([sys.executable, "-S", "-c", child])
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_tree_is_what_its_processes_use_those_that_ended_too() -> None:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        tree = ProcessTree(process.pid)
        before = tree.read()
        assert process.stdout is not None
        process.stdout.readline()
        after = tree.read()
        assert before is not None
        assert after is not None
        seen = psutil.Process(process.pid)
        times = seen.cpu_times()
        spent = times.user + times.system + times.children_user + times.children_system
        assert after.counters["cpu"] == pytest.approx(spent, rel=0.02, abs=0.03)
        assert after.counters["cpu"] > 0.4
        memory = after.gauges["rss"]
        assert memory == pytest.approx(seen.memory_info().rss, rel=0.25)
        assert memory > 60_000_000
        assert use_between(before, after).cpu_cores is not None
        process.communicate()
    assert tree.read() is None


def test_the_sampler_itself_does_not_count() -> None:
    everything = ProcessTree(os.getpid()).read()
    assert everything is not None
    assert ProcessTree(os.getpid(), without=[os.getpid()]).read() is None


def stat_line(pid: int, parent: int, user: int, *, state: str = "S", children: int = 0) -> str:
    return f"{pid} (a (very) odd name) {state} {parent} 1 1 0 -1 0 1 1 1 1 {user} 0 {children} 0 " \
        f"20 0 1 0 500{pid} 1000 25 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n"  # fmt: skip


def test_time_moves_to_the_parent_and_counts_once(tmp_path: Path) -> None:
    tree = ProcessTree(1, proc=tmp_path, seconds=time.monotonic)

    def cpu(**lines: str) -> float:
        for path in tmp_path.iterdir():
            (path / "stat").unlink()
            path.rmdir()
        write_tree(tmp_path, {f"{name[1:]}/stat": line for name, line in lines.items()})
        reading = tree.read()
        assert reading is not None
        return reading.counters["cpu"]

    assert cpu(p1=stat_line(1, 0, 100), p2=stat_line(2, 1, 300)) == 4.0
    # it has ended and nobody has waited for it yet
    ended = stat_line(2, 1, 400, state="Z")
    assert cpu(p1=stat_line(1, 0, 100), p2=ended) == 5.0
    # now its time is its parent's
    assert cpu(p1=stat_line(1, 0, 150, children=400)) == 5.5
    # a new process with its number begins anew
    fresh = stat_line(2, 1, 20).replace("5002", "9999")
    assert cpu(p1=stat_line(1, 0, 150, children=400), p2=fresh) == pytest.approx(5.7)


def test_all_that_can_be_seen_is_a_pod_that_shares_its_processes(tmp_path: Path) -> None:
    lines = {"1": stat_line(1, 0, 0), "7": stat_line(7, 0, 100), "9": stat_line(9, 7, 50)}
    write_tree(tmp_path, {f"{pid}/stat": line for pid, line in lines.items()})
    reading = ProcessTree(None, without=[7], proc=tmp_path).read()
    assert reading is not None
    assert (reading.counters["cpu"], reading.gauges["processes"]) == (0.0, 1)
    reading = ProcessTree(None, proc=tmp_path).read()
    assert reading is not None
    assert reading.counters["cpu"] == 1.5
