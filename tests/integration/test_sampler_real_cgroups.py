"""Real control groups under load by stress-ng: what is read is what the kernel counts, within 2 %.

Counters are read by the test itself just before and just after each reading, so that the comparison
holds on a machine that is busy with other things.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from real_cgroups import RealGroup

from jupyterhub_metrics.errors import SourceUnavailable
from jupyterhub_metrics.sampler.cgroups import CgroupReader
from jupyterhub_metrics.sampler.containers import ContainerReading, container_sample, use_between
from jupyterhub_metrics.sampler.finding import ContainerFinder
from jupyterhub_metrics.sampler.measuring import Measuring

pytestmark = [pytest.mark.needs("stress-ng"), pytest.mark.needs("cgroups")]


@pytest.fixture
def group() -> Iterator[RealGroup]:
    with RealGroup() as made:
        yield made


def anonymous_bytes(pid: int) -> int:
    """A process' own memory, its part of what it shares with others, by proc_pid_smaps(5)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss_Anon: +([0-9]+) kB$", text, re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def bracketed(
    reader: CgroupReader, group: RealGroup
) -> tuple[ContainerReading, tuple[float, float]]:
    """A reading, and what the kernel's counter said just before and just after it."""
    before = group.cpu_seconds()
    reading = reader.read(group.path)
    after = group.cpu_seconds()
    assert reading is not None
    assert before <= reading.counters["cpu"] <= after
    return reading, (before, after)


def test_processor_time_is_what_the_kernel_and_stress_ng_count(group: RealGroup) -> None:
    reader = CgroupReader()
    first = reader.read(group.path)
    assert first is not None
    command = ["stress-ng", "--cpu", "1", "--timeout", "4s", "--times"]
    with group.running(command) as stress:
        time.sleep(0.3)
        before, kernel_before = bracketed(reader, group)
        time.sleep(1.0)
        after, kernel_after = bracketed(reader, group)
        # the program itself, which its report leaves out: it has started, and only waits
        own = psutil.Process(stress.pid).cpu_times()
        told, _ = stress.communicate()
    use = use_between(before, after)
    assert use.cpu_cores is not None
    least, most = kernel_after[0] - kernel_before[1], kernel_after[1] - kernel_before[0]
    assert 0.98 * least <= use.cpu_cores * use.seconds <= 1.02 * most
    last = reader.read(group.path)
    assert last is not None
    spent = sum(float(found[1]) for found in re.finditer(r"([0-9.]+)s (?:user|system) time", told))
    whole = last.counters["cpu"] - first.counters["cpu"]
    assert spent > 0.05, told
    # both reports have hundredths of a second
    assert whole - own.user - own.system == pytest.approx(spent, rel=0.02, abs=0.05)
    reader.close()


def test_a_container_that_is_throttled_is_at_its_quota(group: RealGroup) -> None:
    group.limit_cpu(0.04)
    reader = CgroupReader()
    with group.running(["stress-ng", "--cpu", "1", "--timeout", "60s", "--quiet"]):
        deadline = time.monotonic() + 20
        before = reader.read(group.path)
        while before is None or before.counters["throttled"] == 0:
            assert time.monotonic() < deadline, "the quota is used up"
            time.sleep(0.05)
            before = reader.read(group.path)
        time.sleep(1.0)
        after = reader.read(group.path)
    assert after is not None
    assert after.cpu_limit_cores == 0.04
    use = use_between(before, after)
    row = container_sample(
        before, after, sample_time=1, node_name="n", container_name="c", source="cgroup"
    )
    assert use.cpu_cores is not None
    assert row.cpu_total_pct == pytest.approx(100 * use.cpu_cores / 0.04)
    # a period of its quota more or less
    assert row.cpu_total_pct < 125
    assert use.throttled is not None
    assert use.throttled > 0.2
    reader.close()


def test_memory_is_what_the_processes_hold(group: RealGroup) -> None:
    group.limit_memory(400 * 2**20)
    reader = CgroupReader()
    command = [
        "stress-ng",
        "--vm",
        "1",
        "--vm-bytes",
        "128M",
        "--vm-keep",
        "--vm-method",
        "zero-one",
    ]
    with group.running(command) as stress:
        deadline = time.monotonic() + 20
        while group.memory_bytes() < 128 * 2**20:
            assert time.monotonic() < deadline, "stress-ng fills its memory"
            time.sleep(0.05)
        time.sleep(0.3)
        held = psutil.Process(stress.pid)
        resident = sum(
            anonymous_bytes(process.pid) for process in [held, *held.children(recursive=True)]
        )
        reading = reader.read(group.path)
    assert reading is not None
    assert reading.memory_limit_bytes == 400 * 2**20
    assert reading.gauges["rss"] == pytest.approx(resident, rel=0.02)
    assert reading.gauges["working_set"] >= 0.98 * reading.gauges["rss"]
    assert reading.gauges["processes"] >= 2
    reader.close()


def test_an_oom_kill_is_counted(group: RealGroup) -> None:
    group.limit_memory(32 * 2**20)
    reader = CgroupReader()
    before = reader.read(group.path)
    assert before is not None
    filling = "kept = bytearray(200_000_000)\nfor page in range(0, len(kept), 4096): kept[page] = 1"
    with group.running(["python3", "-S", "-c", filling]) as filler:
        filler.wait(20)
    after = reader.read(group.path)
    assert after is not None
    assert use_between(before, after).oom_kills == 1
    reader.close()


def test_what_is_written_to_disk_is_counted(group: RealGroup, tmp_path: Path) -> None:
    reader = CgroupReader()
    group.count_io(tmp_path)
    before = reader.read(group.path)
    assert before is not None
    # past the page cache: who writes that out later is the kernel's choice
    size = 24 * 2**20
    write = [
        "dd", "if=/dev/zero", f"of={tmp_path}/written", "bs=1M", "count=24", "oflag=direct",
    ]  # fmt: skip
    with group.running(write) as writing:
        told, _ = writing.communicate()
        assert writing.returncode == 0, told
    after = reader.read(group.path)
    assert after is not None
    written = after.counters["written_bytes"] - before.counters.get("written_bytes", 0)
    assert written == pytest.approx(size, rel=0.02)
    assert after.counters["writes"] >= 24
    reader.close()


def test_a_group_that_goes_away_and_comes_back_is_another_one(group: RealGroup) -> None:
    finder = ContainerFinder()
    measuring = Measuring("n", containers=finder)
    with RealGroup(f"{group.path}/inner") as inner:
        first, source = measuring.read_container(inner.path)
        assert source == "cgroup"
    with pytest.raises(SourceUnavailable, match="found no running container"):
        measuring.read_container(inner.path)
    with RealGroup(f"{group.path}/inner"):
        second, _ = measuring.read_container(inner.path)
    assert first.run != second.run
    assert use_between(first, second).cpu_cores is None
    measuring.close()


def test_the_machines_own_rates_are_those_of_proc() -> None:
    measuring = Measuring("n")
    before = measuring.read_node()
    with subprocess.Popen(
        ["stress-ng", "--cpu", "1", "--io", "1", "--timeout", "1s", "--quiet"]
    ) as stress:
        stress.wait(20)
    after = measuring.read_node()
    row = measuring.node(before, after, "psutil")
    assert row.cpu_total_pct is not None
    assert row.cpu_total_pct > 20
    shares = [row.cpu_user_pct, row.cpu_nice_pct, row.cpu_system_pct, row.cpu_idle_pct]
    shares += [row.cpu_iowait_pct, row.cpu_irq_pct, row.cpu_softirq_pct, row.cpu_steal_pct]
    assert sum(share for share in shares if share is not None) == pytest.approx(100)
    grown = after.counters["ctx_switches"] - before.counters["ctx_switches"]
    seconds = after.seconds - before.seconds
    assert row.ctx_switches_s == pytest.approx(grown / seconds)
