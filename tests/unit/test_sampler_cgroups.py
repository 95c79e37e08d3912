"""Containers by their control groups: version 2, version 1, both, and what goes wrong with them.

The trees are written from the kernel's documentation; real groups are in
``integration/test_sampler_real_cgroups.py``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kernel_trees import write_tree, write_v1, write_v2

from jupyterhub_metrics.sampler.cgroups import CgroupReader, find_mounts
from jupyterhub_metrics.sampler.containers import ContainerReading, container_sample, use_between

POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice"


class Steps:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Steps:
    return Steps()


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    root = tmp_path / "cgroup"
    write_tree(root, {"cgroup.controllers": "cpuset cpu io memory pids\n", "cgroup.procs": "1\n"})
    return root


def read(reader: CgroupReader, path: str) -> ContainerReading:
    reading = reader.read(path)
    assert reading is not None
    return reading


def sample(before: ContainerReading, after: ContainerReading) -> dict[str, object]:
    made = container_sample(
        before, after, sample_time=1, node_name="n", container_name="c", source="cgroup"
    )
    return {name: value for name, value in made.to_row().items() if value is not None}


def test_version_2_tells_everything(v2: Path, tmp_path: Path, clock: Steps) -> None:
    write_v2(v2, POD, memory_max="1073741824")
    reader = CgroupReader(v2, tmp_path, seconds=clock)
    before = read(reader, POD)
    clock.seconds += 2
    write_v2(
        v2, POD, usage_usec=1_500_000, throttled_usec=400_000, rbytes=3_000_000, oom_kill=1,
        memory_max="1073741824",
    )  # fmt: skip
    after = read(reader, POD)
    assert after.gauges == {
        "memory": 209_715_200,
        "working_set": 209_715_200 - 20_971_520,
        "rss": 104_857_600,
        "cache": 52_428_800,
        "shared": 10_485_760,
        "swap": 4096,
        "processes": 12,
    }
    assert (after.cpu_limit_cores, after.memory_limit_bytes) == (0.5, 2**30)
    use = use_between(before, after)
    assert use.cpu_cores == pytest.approx(0.25)
    assert use.cpu_user_cores == pytest.approx(0.1875)
    assert use.throttled == pytest.approx(0.2)
    assert (use.oom_kills, use.memory_bytes) == (1, 188_743_680)
    assert (use.pressure_cpu, use.pressure_io) == (0.0, None)
    assert after.counters["pressure_cpu"] == pytest.approx(0.25)
    assert sample(before, after) == pytest.approx(
        {
            "sample_time": 1,
            "node_flag": False,
            "node_name": "n",
            "master_flag": False,
            "container_name": "c",
            # a quarter of a core, of the half that it may use
            "cpu_total_pct": 50.0,
            "cpu_user_pct": 37.5,
            "cpu_system_pct": 12.5,
            "c_rss_mb": 100,
            "c_vsz_mb": 1024,
            "c_shared_mb": 10,
            "disk_read_mb_s": 1.0,
            "disk_write_mb_s": 0.0,
            "disk_read_iops": 0.0,
            "disk_write_iops": 0.0,
            "source": "cgroup",
            "interval_seconds": 2.0,
        }
    )


def test_the_narrowest_limit_of_all_parents_counts(v2: Path, tmp_path: Path) -> None:
    write_v2(v2, "a/b/c", cpu_max="max 100000", memory_max="max")
    write_v2(v2, "a/b", cpu_max="300000 100000", memory_max="2000")
    write_v2(v2, "a", cpu_max="150000 100000", memory_max="5000")
    reading = read(CgroupReader(v2, tmp_path), "a/b/c")
    assert (reading.cpu_limit_cores, reading.memory_limit_bytes) == (1.5, 2000)


def test_without_a_quota_the_percentage_is_of_all_processors(v2: Path, clock: Steps) -> None:
    write_v2(v2, "a", cpu_max="max 100000")
    reader = CgroupReader(v2, seconds=clock)
    before = read(reader, "a")
    clock.seconds += 1
    write_v2(v2, "a", cpu_max="max 100000", usage_usec=2_000_000)
    after = read(reader, "a")
    assert after.cpu_limit_cores is None
    assert sample(before, after)["cpu_total_pct"] == pytest.approx(100 / after.cpu_count)


def test_version_1_tells_what_it_has(tmp_path: Path, clock: Steps) -> None:
    write_v1(tmp_path, "docker/abc", cfs_quota=200_000)
    reader = CgroupReader(tmp_path, tmp_path, seconds=clock)
    before = read(reader, "docker/abc")
    clock.seconds += 1
    write_v1(tmp_path, "docker/abc", cfs_quota=200_000, usage_ns=2_000_000_000)
    after = read(reader, "docker/abc")
    assert after.counters == pytest.approx(
        {
            "cpu": 2.0,
            "cpu_user": 1.0,
            "cpu_system": 1.0,
            "throttled": 0.009,
            "oom_kills": 2,
            "read_bytes": 1000,
            "written_bytes": 2000,
            "reads": 10,
            "writes": 20,
        }
    )
    assert after.gauges["working_set"] == 104_857_600 - 20_971_520
    assert (after.gauges["rss"], after.gauges["shared"]) == (73_400_320, 2_097_152)
    assert (after.cpu_limit_cores, after.memory_limit_bytes) == (2.0, None)
    assert sample(before, after)["cpu_total_pct"] == pytest.approx(50.0)


def test_a_hybrid_host_has_each_controller_where_it_is(tmp_path: Path, clock: Steps) -> None:
    write_v1(tmp_path, "svc")
    write_tree(tmp_path, {"unified/cgroup.controllers": "io\n"})
    write_tree(tmp_path, {"unified/svc/io.stat": "8:0 rbytes=7 wbytes=8 rios=1 wios=2\n"})
    shutil.rmtree(tmp_path / "blkio")
    reading = read(CgroupReader(tmp_path, tmp_path, seconds=clock), "svc")
    assert reading.counters["read_bytes"] == 7
    assert reading.counters["cpu"] == 1.0
    assert "rss" in reading.gauges


def test_a_unified_hierarchy_without_controllers_is_systemds_own(tmp_path: Path) -> None:
    write_v1(tmp_path, "svc")
    write_tree(tmp_path, {"unified/cgroup.controllers": "\n"})
    assert find_mounts(tmp_path).v2 is None


def test_a_machine_without_control_groups_has_no_containers(tmp_path: Path) -> None:
    reader = CgroupReader(tmp_path)
    assert not reader.exists("docker/abc")
    assert reader.read("docker/abc") is None


def test_a_container_that_vanishes_is_gone_and_its_files_are_let_go(
    v2: Path, tmp_path: Path, clock: Steps
) -> None:
    write_v2(v2, "a")
    reader = CgroupReader(v2, tmp_path, seconds=clock)
    read(reader, "a")
    shutil.rmtree(v2 / "a")
    assert reader.read("a") is None
    reader.close()


def test_a_container_that_restarts_has_no_rates_at_first(
    v2: Path, tmp_path: Path, clock: Steps
) -> None:
    write_v2(v2, "a", usage_usec=9_000_000, rbytes=10)
    reader = CgroupReader(v2, tmp_path, seconds=clock)
    before = read(reader, "a")
    # a new folder of that name, made before the old one goes: they are never the same
    (v2 / "a").rename(v2 / "old")
    write_v2(v2, "a", usage_usec=9_500_000, rbytes=20)
    clock.seconds += 1
    after = read(reader, "a")
    assert before.run != after.run
    row = sample(before, after)
    assert "cpu_total_pct" not in row
    assert "disk_read_mb_s" not in row
    assert row["c_rss_mb"] == 100
    clock.seconds += 1
    write_v2(v2, "a", usage_usec=9_600_000, rbytes=20)
    assert sample(after, read(reader, "a"))["cpu_total_pct"] == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("file", "text", "lost"),
    [
        ("cpu.stat", "usage_usec many\nuser_usec 5\nsystem_usec 5\n", {"cpu_total_pct"}),
        ("cpu.stat", "", {"cpu_total_pct", "cpu_user_pct", "cpu_system_pct"}),
        ("memory.current", "max\n", {"c_rss_mb", "c_shared_mb"}),
        ("memory.stat", "\0\0\n", {"c_rss_mb", "c_shared_mb"}),
        ("io.stat", "8:0\n8:16 rbytes=x\n", set()),
        ("cpu.max", "soon\n", set()),
        ("cpu.pressure", "some of it\n", set()),
    ],
)
def test_what_a_file_does_not_tell_is_unknown(
    v2: Path, tmp_path: Path, clock: Steps, file: str, text: str, lost: set[str]
) -> None:
    write_v2(v2, "a")
    whole = CgroupReader(v2, tmp_path, seconds=clock)
    first = read(whole, "a")
    clock.seconds += 1
    complete = set(sample(first, read(whole, "a")))
    (v2 / "a" / file).write_text(text)
    reader = CgroupReader(v2, tmp_path, seconds=clock)
    before = read(reader, "a")
    clock.seconds += 1
    assert complete - set(sample(before, read(reader, "a"))) == lost


def test_the_network_is_the_containers_own_or_unknown(
    v2: Path, tmp_path: Path, clock: Steps
) -> None:
    write_v2(v2, POD)
    write_tree(v2, {f"{POD}/cri-1.scope/cgroup.procs": "77\n78\n"})
    header = "Inter-|\n face |\n"
    proc = tmp_path / "proc"
    write_tree(
        proc,
        {
            "77/net/dev": header
            + "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
            + "  eth0: 2000000 20 0 0 0 0 0 0 1000 10 0 1 0 0 0 0\n"
        },
    )
    for pid, name in (("1", "net:[1]"), ("77", "net:[2]")):
        (proc / pid / "ns").mkdir(parents=True, exist_ok=True)
        (proc / pid / "ns" / "net").symlink_to(name)
    assert read(CgroupReader(v2, proc, seconds=clock), POD).nets == {
        "eth0": {
            "rx_bytes": 2e6, "rx_pkts": 20, "rx_errs": 0, "rx_drops": 0,
            "tx_bytes": 1000, "tx_pkts": 10, "tx_errs": 0, "tx_drops": 1,
        }
    }  # fmt: skip
    (proc / "77" / "ns" / "net").unlink()
    (proc / "77" / "ns" / "net").symlink_to("net:[1]")
    assert read(CgroupReader(v2, proc, seconds=clock), POD).nets == {}
    # the node's first process may not be looked at: a thread of the kernel's own is in its network
    (proc / "1" / "ns" / "net").unlink()
    assert read(CgroupReader(v2, proc, seconds=clock), POD).nets == {}
    write_tree(proc, {"2/comm": "someone\n"})
    (proc / "2" / "ns").mkdir()
    (proc / "2" / "ns" / "net").symlink_to("net:[3]")
    assert read(CgroupReader(v2, proc, seconds=clock), POD).nets == {}
    write_tree(proc, {"2/comm": "kthreadd\n"})
    assert set(read(CgroupReader(v2, proc, seconds=clock), POD).nets) == {"eth0"}
